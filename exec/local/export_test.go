//go:build linux

package local

import (
	"bytes"
	"os"

	"github.com/lineshaft/lineshaft/internal/units"
)

// At makes an executor use one level of isolation instead of the strongest that works.
func At(o Options, level string) Options {
	o.level = level
	return o
}

// ABI is the kernel's version of Landlock.
func ABI() int { return landlockABI() }

// FirstID is the first user ID that a server which is root may give.
func FirstID() int { return firstID() }

// LogSize is how long a part of a log may become.
const LogSize = logSize

// Unpack reads an archive into a folder.
func Unpack(dir string, archive []byte, limit units.Bytes) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	u := unpacker{root: root, left: int64(limit), limit: limit, files: maxFiles}
	return u.unpack(".", bytes.NewReader(archive))
}
