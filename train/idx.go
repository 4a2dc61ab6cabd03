package train

import (
	"bufio"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"io"

	"github.com/lineshaft/lineshaft/internal/errs"
)

// ReadIDX reads an array of bytes in the IDX format of the MNIST files (LeCun, Cortes and Burges), gzipped or not: two
// zero bytes, the type 8 (unsigned byte), the number of dimensions, the dimensions as big-endian 32-bit numbers, the
// data. More than limit bytes of data, or fewer or more than the dimensions say, are refused.
func ReadIDX(r io.Reader, limit int64) (dims []int, data []byte, err error) {
	const op = "train.ReadIDX"
	b := bufio.NewReader(r)
	if magic, err := b.Peek(2); err == nil && magic[0] == 0x1f && magic[1] == 0x8b {
		z, err := gzip.NewReader(b)
		if err != nil {
			return nil, nil, errs.Errorf(op, errs.Invalid, "not a whole gzip file: %v", err)
		}
		b = bufio.NewReader(z)
	}
	var head [4]byte
	if _, err := io.ReadFull(b, head[:]); err != nil {
		return nil, nil, errs.Errorf(op, errs.Invalid, "an IDX file begins with four bytes: %v", err)
	}
	if head[0] != 0 || head[1] != 0 || head[2] != 8 || head[3] == 0 || head[3] > 4 {
		return nil, nil, errs.Errorf(op, errs.Invalid, "not an IDX file of unsigned bytes in 1 to 4 dimensions: it begins with % x", head)
	}
	total := int64(1)
	for range head[3] {
		var d [4]byte
		if _, err := io.ReadFull(b, d[:]); err != nil {
			return nil, nil, errs.Errorf(op, errs.Invalid, "the dimensions of the IDX file are cut off: %v", err)
		}
		n := int64(binary.BigEndian.Uint32(d[:]))
		if n == 0 || total > limit/n {
			return nil, nil, errs.Errorf(op, errs.TooLarge, "the IDX file says it holds no data or more than %d bytes", limit)
		}
		total *= n
		dims = append(dims, int(n))
	}
	// Reading in pieces keeps a header that lies from taking memory that the file does not fill.
	for int64(len(data)) < total {
		piece := make([]byte, min(total-int64(len(data)), 1<<20))
		n, err := io.ReadFull(b, piece)
		data = append(data, piece[:n]...)
		if err != nil {
			return nil, nil, errs.Errorf(op, errs.Invalid, "the IDX file ends after %d of %d bytes: %v", len(data), total, err)
		}
	}
	if _, err := b.ReadByte(); !errors.Is(err, io.EOF) {
		return nil, nil, errs.Errorf(op, errs.Invalid, "the IDX file goes on after its %d bytes: %v", total, err)
	}
	return dims, data, nil
}
