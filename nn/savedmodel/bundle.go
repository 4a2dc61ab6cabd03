package savedmodel

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"io"
	"io/fs"
	"math"
	"slices"

	"google.golang.org/protobuf/encoding/protowire"
)

// This file reads TensorFlow's tensor bundles: variables/variables.index, a sorted table in LevelDB's format of where each
// tensor lies, and variables/variables.data-00000-of-00001, the tensors one after another.

const (
	indexName  = "variables/variables.index"
	maxIndex   = 64 << 20
	maxTensor  = 1 << 31
	tableMagic = 0xdb4775248b80fb57
	footerSize = 48
	trailer    = 5 // of a block: how it is packed, and a check sum
)

// stored is a BundleEntryProto.
type stored struct {
	dtype        uint64
	shape        []int
	shard        uint64
	offset, size uint64
	sum          uint32
}

type bundle struct {
	fsys    fs.FS
	entries map[string]stored
	shards  uint64
}

// openBundle reads the index; a SavedModel without variables has none.
func openBundle(fsys fs.FS) (*bundle, error) {
	b := &bundle{fsys: fsys, entries: map[string]stored{}}
	table, err := readFile(fsys, indexName, maxIndex)
	if err != nil || table == nil {
		return b, err
	}
	if len(table) < footerSize || binary.LittleEndian.Uint64(table[len(table)-8:]) != tableMagic {
		return nil, bad("%s is not whole: it does not end as TensorFlow's tables do", indexName)
	}
	footer := table[len(table)-footerSize:]
	for range 2 { // the first handle is of a block that is not needed
		_, n := protowire.ConsumeVarint(footer)
		footer = footer[max(n, 0):]
	}
	index, err := block(table, footer)
	if err != nil {
		return nil, err
	}
	err = entries(index, func(_ string, handle []byte) error {
		data, err := block(table, handle)
		if err != nil {
			return err
		}
		return entries(data, b.add)
	})
	return b, err
}

// block finds the block that a handle (offset and size) names.
func block(table, handle []byte) ([]byte, error) {
	offset, n := protowire.ConsumeVarint(handle)
	if n < 0 {
		return nil, bad("%s is damaged", indexName)
	}
	size, n := protowire.ConsumeVarint(handle[n:])
	if whole := uint64(len(table)); n < 0 || offset > whole || size > whole || offset+size+trailer > whole {
		return nil, bad("%s is damaged: a block lies outside it", indexName)
	}
	b := table[offset : offset+size]
	if packed := table[offset+size]; packed != 0 {
		return nil, unsupported("%s is packed (%d), which TensorFlow's own writer does not do", indexName, packed)
	}
	sum := binary.LittleEndian.Uint32(table[offset+size+1:])
	if unmask(sum) != crc32.Checksum(table[offset:offset+size+1], crc32.MakeTable(crc32.Castagnoli)) {
		return nil, bad("%s is damaged: a check sum is wrong", indexName)
	}
	return b, nil
}

// unmask undoes what LevelDB does to check sums that are stored.
func unmask(sum uint32) uint32 {
	sum -= 0xa282ead8
	return sum>>17 | sum<<15
}

// entries walks over a block: keys share their beginning with the one before.
func entries(b []byte, f func(key string, value []byte) error) error {
	if len(b) < 4 {
		return bad("%s is damaged: a block is too short", indexName)
	}
	restarts := uint64(binary.LittleEndian.Uint32(b[len(b)-4:]))
	if 4*restarts+4 > uint64(len(b)) {
		return bad("%s is damaged: a block is too short", indexName)
	}
	b = b[:uint64(len(b))-4-4*restarts]
	var key []byte
	for len(b) > 0 {
		var v [3]uint64 // shared, not shared, value
		for i := range v {
			var n int
			if v[i], n = protowire.ConsumeVarint(b); n < 0 {
				return bad("%s is damaged", indexName)
			}
			b = b[n:]
		}
		if rest := uint64(len(b)); v[0] > uint64(len(key)) || v[1] > rest || v[2] > rest-v[1] {
			return bad("%s is damaged: a key lies outside its block", indexName)
		}
		key = append(key[:v[0]:v[0]], b[:v[1]]...)
		if err := f(string(key), b[v[1]:v[1]+v[2]]); err != nil {
			return err
		}
		b = b[v[1]+v[2]:]
	}
	return nil
}

// add reads an entry; the one without a name is the header.
func (b *bundle) add(key string, value []byte) error {
	var e stored
	endian := uint64(0)
	err := fieldsOf(indexName, value, func(n protowire.Number, v uint64, m []byte) (err error) {
		switch {
		case key == "" && n == 1:
			b.shards = v
		case key == "" && n == 2:
			endian = v
		case key == "":
		case n == 1:
			e.dtype = v
		case n == 2:
			e.shape, err = shapeIn(m)
		case n == 3:
			e.shard = v
		case n == 4:
			e.offset = v
		case n == 5:
			e.size = v
		case n == 6:
			e.sum = uint32(v)
		}
		return err
	})
	switch {
	case err != nil:
		return err
	case endian != 0:
		return unsupported("the variables were written by a big-endian machine")
	case key != "":
		b.entries[key] = e
	}
	return nil
}

// read reads a tensor of numbers.
func (b *bundle) read(key string) (*array, error) {
	e, ok := b.entries[key]
	if !ok {
		return nil, bad("the variable %q is not in %s", key, indexName)
	}
	n, ok := elements(e.shape, maxTensor/4)
	if e.dtype != typeFloat || !ok || e.size != 4*uint64(n) {
		return nil, unsupported("the variable %q is of a type that is not known here (DataType %d, shape %v)", key, e.dtype, e.shape)
	}
	name := shardName(e.shard, b.shards)
	f, err := b.fsys.Open(name)
	if err != nil {
		return nil, bad("the variables are not whole: %v", err)
	}
	defer f.Close()
	at, ok := f.(io.ReaderAt)
	if info, err := f.Stat(); !ok || err != nil || e.offset > uint64(info.Size()) || e.size > uint64(info.Size())-e.offset {
		return nil, bad("the variable %q lies outside %s", key, name)
	}
	raw := make([]byte, e.size)
	if _, err := at.ReadAt(raw, int64(e.offset)); err != nil {
		return nil, bad("%s cannot be read: %v", name, err)
	}
	if unmask(e.sum) != crc32.Checksum(raw, crc32.MakeTable(crc32.Castagnoli)) {
		return nil, bad("the variable %q in %s is damaged: its check sum is wrong", key, name)
	}
	a := &array{shape: slices.Clone(e.shape), floats: make([]float32, n)}
	for i := range a.floats {
		a.floats[i] = math.Float32frombits(binary.LittleEndian.Uint32(raw[4*i:]))
	}
	return a, nil
}

func shardName(shard, shards uint64) string {
	digits := func(n uint64) string {
		b := []byte("00000")
		for i := len(b) - 1; n > 0 && i >= 0; i-- {
			b[i] = byte('0' + n%10)
			n /= 10
		}
		return string(b)
	}
	return "variables/variables.data-" + digits(shard) + "-of-" + digits(max(shards, 1))
}

// readFile reads a file up to a limit; nil where there is none.
func readFile(fsys fs.FS, name string, limit int64) ([]byte, error) {
	f, err := fsys.Open(name)
	if err != nil {
		return nil, nil //nolint:nilerr // it is not there
	}
	defer f.Close()
	var b bytes.Buffer
	n, err := io.Copy(&b, io.LimitReader(f, limit+1))
	switch {
	case err != nil:
		return nil, bad("%s cannot be read: %v", name, err)
	case n > limit:
		return nil, bad("%s has more than %d bytes", name, limit)
	}
	return b.Bytes(), nil
}
