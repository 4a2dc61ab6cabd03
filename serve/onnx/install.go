package onnx

import (
	"archive/zip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"

	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/internal/units"
)

// Index is the package index that Install asks unless it is told another.
const Index = "https://pypi.org/simple"

const (
	mostListing = 64 << 20
	mostLibrary = 512 << 20
)

// Source is where Install gets the package from.
type Source struct {
	Index    string                        // a package index, as pip's --index-url; empty: Index
	File     string                        // a package that lies here already; nothing is fetched
	Platform string                        // "linux/arm64"; empty: this one
	Client   *http.Client                  // nil: http.DefaultClient
	Progress func(done, total units.Bytes) // nil: none
}

// Place is where Install would put the library, on a platform that it has one for.
func Place(folder string) (string, error) {
	if _, ok := wheels(runtime.GOOS + "/" + runtime.GOARCH); !ok {
		return "", unknown(runtime.GOOS + "/" + runtime.GOARCH)
	}
	return installed(folder), nil
}

func unknown(platform string) error {
	return errs.Errorf("onnx.Install", errs.Unsupported, "no package of ONNX Runtime is known for %s: linux/amd64 and linux/arm64 are; build the library and name it with onnx-library", platform)
}

// Install puts the pinned ONNX Runtime into the folder and gives its path. Package and library must have the SHA-256
// that this version of Lineshaft names, whatever index they come from. One that is there already stays as it is.
func Install(ctx context.Context, folder string, s Source) (library string, err error) {
	if s.Platform == "" {
		s.Platform = runtime.GOOS + "/" + runtime.GOARCH
	}
	w, ok := wheels(s.Platform)
	if !ok {
		return "", unknown(s.Platform)
	}
	if library = installed(folder); verify(library) == nil {
		return library, nil
	}
	return install(ctx, folder, s, w)
}

func install(ctx context.Context, folder string, s Source, w wheel) (library string, err error) {
	const op = "onnx.Install"
	library = installed(folder)
	if err := os.MkdirAll(filepath.Dir(library), 0o700); err != nil {
		return "", errs.E(op, errs.Unavailable, err)
	}
	f, err := open(ctx, w, s, filepath.Dir(library))
	if err != nil {
		return "", err
	}
	defer f.Close()
	if err := unpack(f, w, library); err != nil {
		return "", err
	}
	return library, nil
}

// open gives the package, checked; one that was fetched has no name any more and is gone when it is closed.
func open(ctx context.Context, w wheel, s Source, dir string) (*os.File, error) {
	const op = "onnx.Install"
	var f *os.File
	var err error
	if s.File != "" {
		if f, err = os.Open(s.File); err != nil {
			return nil, errs.E(op, errs.NotFound, err)
		}
	} else {
		if f, err = os.CreateTemp(dir, ".package-"); err != nil {
			return nil, errs.E(op, errs.Unavailable, err)
		}
		if err = os.Remove(f.Name()); err == nil {
			err = fetch(ctx, f, w, s)
		}
	}
	h := sha256.New()
	if err == nil {
		_, err = io.Copy(h, io.NewSectionReader(f, 0, w.size+1))
	}
	if got := hex.EncodeToString(h.Sum(nil)); err == nil && got != w.sum {
		err = errs.Errorf(op, errs.Corrupt, "this is not %s as it was published (SHA-256 %s, %s expected); nothing was installed", w.file, got, w.sum)
	}
	if err != nil {
		f.Close()
		return nil, errs.E(op, errs.Other, err)
	}
	return f, nil
}

// fetch finds the package in the index and downloads it.
func fetch(ctx context.Context, to io.Writer, w wheel, s Source) error {
	const op = "onnx.Install"
	index := strings.TrimSuffix(s.Index, "/")
	if index == "" {
		index = Index
	}
	listing, err := url.Parse(index + "/onnxruntime/")
	if err != nil || listing.Host == "" {
		return errs.Errorf(op, errs.Invalid, "%q is no package index: name one as %s", s.Index, Index)
	}
	body, err := get(ctx, s.Client, listing, "application/vnd.pypi.simple.v1+json, text/html;q=0.5")
	if err != nil {
		return err
	}
	text, err := io.ReadAll(io.LimitReader(body, mostListing))
	body.Close()
	if err != nil {
		return errs.Errorf(op, errs.Unavailable, "%s: %w", listing.Redacted(), err)
	}
	link, err := find(text, w.file)
	if err != nil {
		return errs.Errorf(op, errs.NotFound, "%s has no %s (%w); name another index with --index, or a package that you have with --from", listing.Redacted(), w.file, err)
	}
	at, err := listing.Parse(link)
	if err != nil {
		return errs.E(op, errs.Invalid, err)
	}
	if body, err = get(ctx, s.Client, at, "*/*"); err != nil {
		return err
	}
	defer body.Close()
	_, err = io.Copy(to, io.LimitReader(&counting{r: body, total: w.size, say: s.Progress}, w.size+1))
	if err != nil {
		return errs.Errorf(op, errs.Unavailable, "%s: %w; try again", at.Redacted(), err)
	}
	return nil
}

func get(ctx context.Context, c *http.Client, at *url.URL, accept string) (io.ReadCloser, error) {
	const op = "onnx.Install"
	if c == nil {
		c = http.DefaultClient
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, at.String(), http.NoBody)
	if err != nil {
		return nil, errs.E(op, errs.Invalid, err)
	}
	r.Header.Set("Accept", accept)
	a, err := c.Do(r)
	if err != nil {
		return nil, errs.Errorf(op, errs.Unavailable, "%w; name another index with --index, or a package that you have with --from", err)
	}
	if a.StatusCode != http.StatusOK {
		a.Body.Close()
		return nil, errs.Errorf(op, errs.Unavailable, "%s answers %s", at.Redacted(), a.Status)
	}
	return a.Body, nil
}

var anchor = regexp.MustCompile(`(?i)<a\b[^>]*\bhref\s*=\s*["']([^"']+)["']`)

// find gives the link of a file in an index's listing, in either of its two forms.
func find(listing []byte, file string) (string, error) {
	var l struct {
		Files []struct {
			Filename string `json:"filename"`
			URL      string `json:"url"`
		} `json:"files"`
	}
	if json.Unmarshal(listing, &l) == nil {
		for _, f := range l.Files {
			if f.Filename == file {
				return f.URL, nil
			}
		}
		return "", errors.New("it lists other files")
	}
	for _, m := range anchor.FindAllSubmatch(listing, -1) {
		link := strings.ReplaceAll(string(m[1]), "&amp;", "&")
		if u, err := url.Parse(link); err == nil && path.Base(u.Path) == file {
			return link, nil
		}
	}
	return "", errors.New("it is no listing, or lists other files")
}

// counting tells how much has been read.
type counting struct {
	r           io.Reader
	done, total int64
	say         func(done, total units.Bytes)
}

func (c *counting) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.done += int64(n)
	if c.say != nil {
		c.say(units.Bytes(c.done), units.Bytes(c.total))
	}
	return n, err
}

// unpack writes the library of the package, whole or not at all.
func unpack(f *os.File, w wheel, library string) error {
	const op = "onnx.Install"
	z, err := zip.NewReader(f, w.size)
	if err != nil {
		return errs.E(op, errs.Corrupt, err)
	}
	in, err := z.Open("onnxruntime/capi/" + libraryName)
	if err != nil {
		return errs.E(op, errs.Corrupt, err)
	}
	defer in.Close()
	out, err := os.CreateTemp(filepath.Dir(library), ".library-")
	if err != nil {
		return errs.E(op, errs.Unavailable, err)
	}
	defer os.Remove(out.Name()) // where it was not renamed
	defer out.Close()
	h := sha256.New()
	_, err = io.Copy(io.MultiWriter(out, h), io.LimitReader(in, mostLibrary))
	if err == nil && hex.EncodeToString(h.Sum(nil)) != w.lib {
		return errs.Errorf(op, errs.Corrupt, "the library in %s is not the one that was published; nothing was installed", w.file)
	}
	for _, step := range []func() error{out.Sync, out.Close, func() error { return os.Chmod(out.Name(), 0o500) }, func() error { return os.Rename(out.Name(), library) }} {
		if err == nil {
			err = step()
		}
	}
	return errs.E(op, errs.Unavailable, err)
}
