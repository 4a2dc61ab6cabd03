// Package artifact names a sealed file, so that the packages that keep models and data sets and the one that stores
// bytes speak of the same thing.
package artifact

import "io"

// Info is what must be remembered of a sealed file to read it again.
type Info struct {
	Digest string // "sha256:" and 64 hex digits, of the plain bytes
	Size   int64  // plain bytes
	Key    string // the data key, wrapped under the server's key-encryption key
}

// ReaderAt reads the plain bytes of a sealed file in any order.
type ReaderAt interface {
	io.ReaderAt
	io.Closer
}

// Stream reads the plain bytes in order, size of them; closing it closes r.
func Stream(r ReaderAt, size int64) io.ReadCloser {
	return struct {
		io.Reader
		io.Closer
	}{io.NewSectionReader(r, 0, size), r}
}
