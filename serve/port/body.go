package port

import (
	"compress/gzip"
	"compress/zlib"
	"io"
	"net/http"
	"slices"

	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/internal/units"
)

// Open prepares the body of a request to be read, plain whatever it came as, and counts it to those in memory: each is
// within its limit, but a thousand at once are not. What it held is given back by Close.
func (p *Port) Open(r *http.Request) (held int64, err error) {
	if err := decoded(r); err != nil {
		return 0, err
	}
	held = r.ContentLength
	if held < 0 || held > int64(p.o.BodyLimit) {
		held = int64(p.o.BodyLimit)
	}
	if err := p.Hold(held); err != nil {
		return 0, err
	}
	return held, nil
}

// Hold counts n more bytes to those in memory: what a body becomes when it is decoded. They are given back by Close.
func (p *Port) Hold(n int64) error {
	if p.held.Add(n) > int64(p.o.InFlight) {
		p.held.Add(-n)
		return errs.Errorf("port.Hold", errs.Exhausted, "requests under way hold their limit of %s: try again, or send fewer rows at a time", p.o.InFlight)
	}
	return nil
}

// Close gives back what Open held.
func (p *Port) Close(held int64) { p.held.Add(-held) }

// Read appends to b what is left of a body of which before bytes have been read. Over the limit it is errs.TooLarge
// before more than the limit is held.
func (p *Port) Read(r *http.Request, b []byte, before int) ([]byte, error) {
	const op = "port.Read"
	if r.ContentLength > int64(p.o.BodyLimit) {
		return b, p.tooLarge(op)
	}
	start := len(b) - before
	if n := r.ContentLength - int64(before); n > 0 {
		b = slices.Grow(b, int(min(n, 1<<20)))
	}
	for {
		if int64(len(b)-start) == r.ContentLength {
			return b, nil
		}
		if len(b) == cap(b) {
			b = slices.Grow(b, 512)
		}
		n, err := r.Body.Read(b[len(b):cap(b)])
		b = b[:len(b)+n]
		switch {
		case len(b)-start > int(p.o.BodyLimit):
			return b, p.tooLarge(op)
		case err == io.EOF: // Read returns it bare
			return b, nil
		case err != nil:
			return b, notWhole(op, err)
		}
	}
}

// ReadN reads exactly n bytes of a body into b, whose contents are lost.
func (p *Port) ReadN(r *http.Request, b []byte, n int) ([]byte, error) {
	const op = "port.ReadN"
	if r.ContentLength > int64(p.o.BodyLimit) || n > int(p.o.BodyLimit) {
		return b, p.tooLarge(op)
	}
	b = slices.Grow(b[:0], min(n, 1<<20))
	for len(b) < n {
		if len(b) == cap(b) { // memory follows what has come
			b = slices.Grow(b, 512)
		}
		k, err := r.Body.Read(b[len(b):min(n, cap(b))])
		b = b[:len(b)+k]
		if err != nil && len(b) < n {
			return b, notWhole(op, err)
		}
	}
	return b, nil
}

func (p *Port) tooLarge(op string) error { return TooLarge(op, p.o.BodyLimit) }

// TooLarge says that a body is over its limit.
func TooLarge(op string, limit units.Bytes) error {
	return errs.Errorf(op, errs.TooLarge, "the body is larger than %s (body-limit in the configuration): send fewer rows at a time", limit)
}

func notWhole(op string, err error) error {
	return errs.Errorf(op, errs.Invalid, "the body did not arrive whole: %v", err)
}

// decoded lets the body be read plain, whatever it came as.
func decoded(r *http.Request) error {
	const op = "port.decoded"
	as := r.Header.Get("Content-Encoding")
	var z io.Reader
	var err error
	switch as {
	case "", "identity":
		return nil
	case "gzip", "x-gzip":
		z, err = gzip.NewReader(r.Body)
	case "deflate": // RFC 9110, 8.4.1.2: the zlib format
		z, err = zlib.NewReader(r.Body)
	default:
		return errs.Errorf(op, errs.Invalid, "the body comes in the encoding %q: send it plain, or with Content-Encoding: gzip", errs.Clip(as))
	}
	if err != nil {
		return errs.Errorf(op, errs.Invalid, "the header Content-Encoding says %s, and the body is none: %v", as, err)
	}
	r.Body, r.ContentLength = inflated{z, r.Body}, -1
	return nil
}

// inflated reads what a compressed body holds.
type inflated struct {
	io.Reader
	io.Closer
}
