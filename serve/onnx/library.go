package onnx

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"

	"github.com/lineshaft/lineshaft/internal/errs"
)

// Release is the ONNX Runtime that Install takes: the one that was tested.
const Release = "1.32.0"

// wheel is a package of the Python index that carries the library, with the digests that it and the library must have.
type wheel struct {
	file string // in the index
	size int64
	sum  string // SHA-256 of the package
	lib  string // SHA-256 of the library in it
}

// wheels are the packages by platform; whatever Python they are for, the library is the same.
func wheels(platform string) (wheel, bool) {
	w, ok := map[string]wheel{
		"linux/amd64": {
			"onnxruntime-1.32.0-cp311-cp311-manylinux_2_28_x86_64.whl", 27_773_237,
			"5a34fc4dfeb5a7b4a74c95dcba1e773d722abda720b474edf1b0c419dc6d163d", "6c1585d1bbf45b0712ea4a21b705c5fcb4ba04ff2e30f1fbf81a49faf658638f",
		},
		"linux/arm64": {
			"onnxruntime-1.32.0-cp311-cp311-manylinux_2_28_aarch64.whl", 23195070,
			"2303372a85299b6757b0e11e1cbf13e410ddf7e10c37f4b37e99d1c90e7daf7c", "49852228a93995158b2a813d4df487d47a1b76b0eaa894507ef49e91b6d7954a",
		},
	}[platform]
	return w, ok
}

const (
	libraryName = "libonnxruntime.so." + Release
	howToGet    = "`lineshaft runtime install onnx` fetches it, or name one with `onnx-library:` in the configuration, LINESHAFT_ONNX_LIBRARY or --onnx-library"
)

// installed is where Install puts the library.
func installed(folder string) string {
	return filepath.Join(folder, "onnxruntime-"+Release, libraryName)
}

// find gives the path of the shared library: the one that is named, or the installed one, which must still be what was
// installed.
func (o *Options) find() (string, error) {
	const op = "onnx.library"
	if o.Library != "" {
		path, err := filepath.Abs(o.Library)
		if err != nil {
			return "", errs.E(op, errs.Invalid, err)
		}
		if info, err := os.Stat(path); err != nil || !info.Mode().IsRegular() {
			return "", errs.Errorf(op, errs.NotFound, "no ONNX Runtime at %s: onnx-library names the file libonnxruntime.so", path)
		}
		return path, nil
	}
	path, err := filepath.Abs(installed(o.Folder))
	if err != nil {
		return "", errs.E(op, errs.Invalid, err)
	}
	if o.Folder == "" {
		return "", errs.Errorf(op, errs.Unsupported, "ONNX models need the library ONNX Runtime, which is not here: %s", howToGet)
	}
	return path, verify(path)
}

// verify says whether an installed library is the pinned one.
func verify(path string) error {
	const op = "onnx.library"
	w, ok := wheels(runtime.GOOS + "/" + runtime.GOARCH)
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return errs.Errorf(op, errs.Unsupported, "ONNX models need the library ONNX Runtime, which is not here: %s", howToGet)
	}
	if err != nil {
		return errs.E(op, errs.Unavailable, err)
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return errs.E(op, errs.Unavailable, err)
	}
	if got := hex.EncodeToString(h.Sum(nil)); !ok || got != w.lib {
		return errs.Errorf(op, errs.Corrupt, "%s is not ONNX Runtime %s as it was published (SHA-256 %s); remove it and install it anew: `lineshaft runtime install onnx`", path, Release, got)
	}
	return nil
}
