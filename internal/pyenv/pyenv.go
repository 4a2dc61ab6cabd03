// Package pyenv makes Python environments with pinned packages, for the tests and benchmarks that hold Lineshaft beside
// Keras, PyTorch or another server. An environment is made once for each list of packages and kept in the user's cache,
// under lineshaft-test/venv-<hash of the list>; processes that want the same one wait for each other.
package pyenv

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/lineshaft/lineshaft/internal/errs"
)

// Keras is what this version of Lineshaft is held against; it runs on Python 3.11 to 3.13.
func Keras() []string {
	return []string{"keras==3.15.1", "tensorflow-cpu==2.21.0", "numpy==2.4.6", "h5py==3.14.0"}
}

// Torch is PyTorch as the package index has it.
func Torch() []string { return []string{"torch==2.15.0", "numpy==2.4.6"} }

// HiGHS is HiGHS's own program, of the version that Lineshaft carries as WebAssembly or near it.
func HiGHS() []string { return []string{"highsbox==1.15.1"} }

// Make gives the path of a Python that has the packages ("keras==3.15.1"), making its environment if need be. It needs
// python3 with venv, and pip's access to a package index.
func Make(ctx context.Context, packages ...string) (python string, err error) {
	const op = "pyenv.Make"
	for _, p := range packages {
		if !strings.Contains(p, "==") {
			return "", errs.Errorf(op, errs.Invalid, "package %q has no version: pin it as name==version", p)
		}
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", errs.Errorf(op, errs.Unavailable, "no cache folder for Python environments: %v; set HOME or XDG_CACHE_HOME", err)
	}
	list := strings.Join(slices.Sorted(slices.Values(packages)), "\n") + "\n"
	sum := sha256.Sum256([]byte(list))
	dir := filepath.Join(cache, "lineshaft-test", "venv-"+hex.EncodeToString(sum[:6]))
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return "", errs.E(op, errs.Unavailable, err)
	}
	unlock, err := lock(dir + ".lock")
	if err != nil {
		return "", errs.E(op, errs.Unavailable, err)
	}
	defer unlock()
	python = filepath.Join(dir, "bin", "python")
	done := filepath.Join(dir, "complete")
	if have, err := os.ReadFile(done); err == nil && string(have) == list {
		return python, nil
	}
	if err := os.RemoveAll(dir); err != nil {
		return "", errs.E(op, errs.Unavailable, err)
	}
	if err := run(ctx, "python3", "-m", "venv", dir); err != nil {
		return "", err
	}
	args := append([]string{"-m", "pip", "install", "--quiet", "--disable-pip-version-check"}, packages...)
	if err := run(ctx, python, args...); err != nil {
		return "", err
	}
	return python, errs.E(op, errs.Unavailable, os.WriteFile(done, []byte(list), 0o644))
}

func lock(path string) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		f.Close()
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	return func() { f.Close() }, nil // closing unlocks
}

func run(ctx context.Context, name string, args ...string) error {
	out, err := exec.CommandContext(ctx, name, args...).CombinedOutput()
	if err == nil {
		return nil
	}
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	return errs.Errorf("pyenv.Make", errs.Unavailable, "%s %s: %v\n%s\nthis needs python3 with venv, and pip's access to a package index",
		name, strings.Join(args, " "), err, strings.Join(lines[max(0, len(lines)-8):], "\n"))
}

// Package gives the path of a package's own file, without those that it needs: for what it carries rather than to run
// it. python is one that Make gave.
func Package(ctx context.Context, python, name string) (wheel string, err error) {
	const op = "pyenv.Package"
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", errs.E(op, errs.Unavailable, err)
	}
	dir := filepath.Join(cache, "lineshaft-test", "package-"+name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", errs.E(op, errs.Unavailable, err)
	}
	unlock, err := lock(dir + ".lock")
	if err != nil {
		return "", errs.E(op, errs.Unavailable, err)
	}
	defer unlock()
	for range 2 {
		found, err := filepath.Glob(filepath.Join(dir, "*.whl"))
		if err != nil || len(found) > 0 {
			return strings.Join(found, "\n"), errs.E(op, errs.Other, err)
		}
		if err := run(ctx, python, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps", "--only-binary", ":all:", "--dest", dir, name); err != nil {
			return "", err
		}
	}
	return "", errs.Errorf(op, errs.NotFound, "pip downloaded no file for %s", name)
}
