// Package requestlog keeps a sample of what models were asked and answered, sealed on disk, for whoever may read it.
//
// It is handed tensors, so that it never sees a header, a token or an address. A request that is kept costs its copy;
// writing happens elsewhere, and what comes while that is behind is dropped and counted. Entries go to a segment in
// chunks, each sealed for its place (segment and number), so that none can be changed, moved or exchanged unseen; what a
// crash tore off at the end is left out when reading. Segments are removed by age and by the size of all of them, the
// oldest first.
//
//	l, err := requestlog.Open(requestlog.Options{Dir: dir, Seal: sealer, Share: 0.01})
//	go l.Run(ctx)
//	l.Add(requestlog.Entry{Model: "mnist", Version: 3, …})
//	entries, err := l.Read(ctx, "mnist", 20)
package requestlog

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lineshaft/lineshaft/internal/clock"
	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/internal/lasting"
	"github.com/lineshaft/lineshaft/internal/units"
	"github.com/lineshaft/lineshaft/serve/tensor"
)

const (
	segment  = 16 << 20    // bytes of a file
	chunk    = 256 << 10   // plain bytes of a chunk, about
	flush    = time.Second // what is not written waits no longer
	waiting  = 256         // entries before the writer
	largest  = 1 << 20     // bytes of an entry's tensors; larger ones are not kept
	suffix   = ".requests"
	maxChunk = 64 << 20
)

// Entry is one request with its answer.
type Entry struct {
	Time    time.Time `json:"time"`
	Model   string    `json:"model"`
	Version int64     `json:"version"`
	TookMs  float64   `json:"took_ms"`
	Error   string    `json:"error,omitempty"`
	In      []Tensor  `json:"in"`
	Out     []Tensor  `json:"out,omitempty"`
}

// Tensor is one input or output.
type Tensor struct {
	Name    string   `json:"name"`
	Type    string   `json:"type"`
	Shape   []int    `json:"shape"`
	Data    []byte   `json:"data,omitempty"` // little-endian, row-major
	Strings [][]byte `json:"strings,omitempty"`
}

// Sealer seals and opens chunks.
type Sealer interface {
	Seal(plain []byte, context string) ([]byte, error)
	Open(sealed []byte, context string) ([]byte, error)
}

// Options is what a Log works with.
type Options struct {
	Dir   string
	Seal  Sealer
	Share float64       // of the requests that are kept, up to 1; 0 keeps none
	Size  units.Bytes   // of all segments; 0: 1 GiB
	Age   time.Duration // of the oldest; 0: 7 days
	Clock clock.Clock
	Log   *slog.Logger
}

// Log keeps requests. Its methods may be called from any goroutine.
type Log struct {
	o       Options
	weight  uint64
	turn    atomic.Uint32
	dropped atomic.Int64
	queue   chan Entry

	mu   sync.Mutex // over the folder
	name string     // of the segment that is written; "" before the first
	size int64
	n    int // chunks in it
}

// Open makes a log over a folder, which is made where it is not there.
func Open(o Options) (*Log, error) {
	const op = "requestlog.Open"
	if o.Size <= 0 {
		o.Size = units.GiB
	}
	if o.Age <= 0 {
		o.Age = 7 * 24 * time.Hour
	}
	if !(o.Share >= 0 && o.Share <= 1) {
		return nil, errs.Errorf(op, errs.Invalid, "a share of %v of the requests cannot be kept: write a part from 0 to 1", o.Share)
	}
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return nil, errs.E(op, errs.Other, err)
	}
	return &Log{o: o, weight: uint64(o.Share * (1 << 32)), queue: make(chan Entry, waiting)}, nil
}

// Take says whether the next request is to be kept.
func (l *Log) Take() bool { return uint64(l.turn.Add(1)*2654435769) < l.weight }

// Dropped is how many entries were not kept because the writer was behind, or because they were too large.
func (l *Log) Dropped() int64 { return l.dropped.Load() }

// Add keeps an entry, whose memory is the log's from then on.
func (l *Log) Add(e Entry) {
	select {
	case l.queue <- e:
	default:
		l.dropped.Add(1)
	}
}

// Copy copies tensors for an entry; false, and a drop, where they are too large.
func (l *Log) Copy(all []tensor.Tensor, names []string) ([]Tensor, bool) {
	size := 0
	for i := range all {
		size += len(all[i].Data)
		for _, s := range all[i].Strings {
			size += len(s) + 24
		}
	}
	if size > largest {
		l.dropped.Add(1)
		return nil, false
	}
	out := make([]Tensor, len(all))
	for i := range all {
		t := &all[i]
		out[i] = Tensor{Name: strconv.Itoa(i + 1), Type: t.Type.String(), Shape: slices.Clone(t.Shape), Data: slices.Clone(t.Data)}
		if i < len(names) {
			out[i].Name = names[i]
		}
		for _, s := range t.Strings {
			out[i].Strings = append(out[i].Strings, slices.Clone(s))
		}
	}
	return out, true
}

// Run writes until ctx ends.
func (l *Log) Run(ctx context.Context) error {
	failing := lasting.New(l.o.Log, l.o.Clock, "requestlog: requests could not be kept")
	tick := time.NewTicker(flush)
	defer tick.Stop()
	var b bytes.Buffer
	write := func() {
		if err := l.write(b.Bytes()); err != nil {
			failing.Met(err)
		} else {
			failing.Over()
		}
		b.Reset()
	}
	for {
		select {
		case e := <-l.queue:
			line, err := json.Marshal(e)
			if err != nil {
				continue // tensors always encode
			}
			b.Write(append(line, '\n'))
			if b.Len() >= chunk {
				write()
			}
		case <-tick.C:
			write()
		case <-ctx.Done():
			write()
			return nil
		}
	}
}

// write seals a chunk and appends it; without anything to write it only removes what is old.
func (l *Log) write(plain []byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.trim(); err != nil || len(plain) == 0 {
		return err
	}
	if l.name == "" || l.size > segment {
		l.name, l.size, l.n = strconv.FormatInt(l.o.Clock.Now().UnixNano(), 10)+suffix, 0, 0
	}
	sealed, err := l.o.Seal.Seal(plain, place(l.name, l.n))
	if err != nil {
		return err
	}
	f, err := os.OpenFile(filepath.Join(l.o.Dir, l.name), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(append(binary.LittleEndian.AppendUint32(nil, uint32(len(sealed))), sealed...))
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		l.name = "" // what comes next must not stand behind a torn chunk
		return err
	}
	l.size, l.n = l.size+int64(len(sealed))+4, l.n+1
	return nil
}

func place(name string, n int) string { return "requests/" + name + "/" + strconv.Itoa(n) }

// segments lists the files, oldest first.
func (l *Log) segments() ([]os.FileInfo, error) {
	entries, err := os.ReadDir(l.o.Dir)
	if err != nil {
		return nil, err
	}
	var all []os.FileInfo
	for _, e := range entries {
		if info, err := e.Info(); err == nil && strings.HasSuffix(e.Name(), suffix) {
			all = append(all, info)
		}
	}
	slices.SortFunc(all, func(a, b os.FileInfo) int { return strings.Compare(padded(a.Name()), padded(b.Name())) })
	return all, nil
}

func padded(name string) string { return strings.Repeat("0", max(0, 40-len(name))) + name }

// trim removes the oldest segments that are too old or too much.
func (l *Log) trim() error {
	all, err := l.segments()
	if err != nil {
		return err
	}
	sum := int64(0)
	for _, s := range all {
		sum += s.Size()
	}
	for _, s := range all {
		if l.o.Clock.Now().Sub(s.ModTime()) < l.o.Age && sum <= int64(l.o.Size) {
			break
		}
		if err := os.Remove(filepath.Join(l.o.Dir, s.Name())); err != nil {
			return err
		}
		sum -= s.Size()
		if s.Name() == l.name {
			l.name = ""
		}
	}
	return nil
}

// Read gives the newest entries of a model, newest first.
func (l *Log) Read(ctx context.Context, model string, limit int) ([]Entry, error) {
	const op = "requestlog.Read"
	l.mu.Lock()
	all, err := l.segments()
	l.mu.Unlock()
	if err != nil {
		return nil, errs.E(op, errs.Other, err)
	}
	out := []Entry{}
	for _, s := range slices.Backward(all) {
		if ctx.Err() != nil {
			return nil, errs.E(op, errs.KindOf(ctx.Err()), ctx.Err())
		}
		entries, err := l.read(s.Name(), model)
		if os.IsNotExist(err) {
			continue // removed meanwhile
		}
		if err != nil {
			return out, err
		}
		for _, e := range slices.Backward(entries) {
			if len(out) == limit {
				return out, nil
			}
			out = append(out, e)
		}
	}
	return out, nil
}

// read opens a segment's entries of a model, oldest first.
func (l *Log) read(name, model string) (out []Entry, err error) {
	const op = "requestlog.read"
	f, err := os.Open(filepath.Join(l.o.Dir, name))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	for n := 0; ; n++ {
		sealed, err := next(f)
		if err != nil {
			return out, errs.E(op, errs.Other, err)
		}
		if sealed == nil {
			return out, nil
		}
		plain, err := l.o.Seal.Open(sealed, place(name, n))
		if err != nil {
			return out, errs.Errorf(op, errs.Corrupt, "chunk %d of the request log's segment %s does not open: it was damaged or changed", n, name)
		}
		for line := range bytes.Lines(plain) {
			var e Entry
			if json.Unmarshal(line, &e) == nil && (model == "" || e.Model == model) {
				out = append(out, e)
			}
		}
	}
}

// next reads a sealed chunk; nil at the end, be it torn.
func next(r io.Reader) ([]byte, error) {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, ended(err)
	}
	n := binary.LittleEndian.Uint32(head[:])
	if n > maxChunk {
		return nil, nil
	}
	var b bytes.Buffer // grows as bytes come: the length may be a lie
	if _, err := io.CopyN(&b, r, int64(n)); err != nil {
		return nil, ended(err)
	}
	return b.Bytes(), nil
}

// ended is nil for an end that comes early.
func ended(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return nil
	}
	return err
}
