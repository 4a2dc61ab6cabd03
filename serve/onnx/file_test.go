//go:build linux

package onnx_test

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/internal/testkit/onnxfile"
	"github.com/lineshaft/lineshaft/serve/onnx"
	"github.com/lineshaft/lineshaft/serve/tensor"
)

func read(b []byte) (onnx.Header, error) { return onnx.Read(bytes.NewReader(b), int64(len(b))) }

func TestInputsThatAreWeightsAreNoInputs(t *testing.T) {
	f := onnxfile.MLP(4, 3, 2)
	f.Inputs = append(f.Inputs, onnxfile.Port{Name: "w0", Type: onnxfile.Float, Dims: []any{4, 3}}, onnxfile.Port{Name: "words", Type: onnxfile.String})
	h, err := read(f.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	if len(h.Inputs) != 2 || h.Inputs[0].Name != "pixels" || !slices.Equal(h.Inputs[0].Shape, []int{tensor.Any, 4}) || h.Inputs[1].Type != tensor.Bytes || h.Inputs[1].Shape != nil {
		t.Errorf("%+v", h.Inputs)
	}
	if h.IR != 8 || h.Producer != "lineshaft" || h.Opsets[""] != 17 || h.Nodes != 4 {
		t.Errorf("%+v", h)
	}
}

// around is a model whose graph and whose own fields are extended.
func around(graph, model func(onnxfile.Message) onnxfile.Message) []byte {
	g := onnxfile.Message{}.Put(11, port("x")).Put(12, port("y"))
	m := onnxfile.Message{}.Int(1, 8).Put(8, onnxfile.Message{}.Int(2, 17))
	if graph != nil {
		g = graph(g)
	}
	m = m.Put(7, g)
	if model != nil {
		m = model(m)
	}
	return m
}

func port(name string) []byte {
	return onnxfile.Message{}.Text(1, name).Put(2, onnxfile.Message{}.Put(1, onnxfile.Message{}.Int(1, 1)))
}

func TestFilesThatCannotBeServedAreRefusedWithTheReason(t *testing.T) {
	type m = onnxfile.Message
	deep := m{}
	for range 40 {
		deep = m{}.Put(1, m{}.Put(5, m{}.Put(6, deep)))
	}
	outside := m{}.Text(8, "w").Put(13, m{}.Text(1, "location").Text(2, "../../etc/passwd")).Int(14, 1)
	good := small()
	for name, c := range map[string]struct {
		file []byte
		kind errs.Kind
		says string
	}{
		"nothing":           {nil, errs.Invalid, "no graph"},
		"a Keras file":      {[]byte("\x89HDF\r\n\x1a\n and so on"), errs.Invalid, "no ONNX file"},
		"text":              {[]byte("<html>not found</html>"), errs.Invalid, "no ONNX file"},
		"cut off":           {good[:len(good)-30], errs.Invalid, "damaged"},
		"no version":        {m{}.Put(7, m{}).Put(8, m{}.Int(2, 1)), errs.Invalid, "version"},
		"no opset":          {m{}.Int(1, 8).Put(7, m{}), errs.Invalid, "opset"},
		"no outputs":        {m{}.Int(1, 8).Put(7, m{}).Put(8, m{}.Int(2, 17)), errs.Invalid, "no outputs"},
		"two graphs":        {around(nil, func(x m) m { return x.Put(7, m{}) }), errs.Invalid, "damaged"},
		"a length too long": {around(nil, func(x m) m { return append(x, 0x12, 0xff, 0xff, 0xff, 0xff, 0x0f) }), errs.Invalid, "damaged"},
		"an endless number": {around(nil, func(x m) m { return append(append(x, 0x08), bytes.Repeat([]byte{0xff}, 20)...) }), errs.Invalid, "damaged"},
		"a group":           {around(nil, func(x m) m { return append(x, 0x0b) }), errs.Invalid, "damaged"},
		"weights elsewhere": {around(func(g m) m { return g.Put(5, outside) }, nil), errs.Invalid, "another file"},
		"in an attribute":   {around(func(g m) m { return g.Put(1, m{}.Put(5, m{}.Put(5, outside))) }, nil), errs.Invalid, "another file"},
		"in a graph within": {around(func(g m) m { return g.Put(1, m{}.Put(5, m{}.Put(6, m{}.Put(5, outside)))) }, nil), errs.Invalid, "another file"},
		"sparse, elsewhere": {around(func(g m) m { return g.Put(15, m{}.Put(1, outside)) }, nil), errs.Invalid, "another file"},
		"graphs too deep":   {around(func(g m) m { return append(g, deep...) }, nil), errs.Invalid, "deep"},
		"a map":             {around(func(g m) m { return g.Put(12, m{}.Text(1, "p").Put(2, m{}.Put(5, m{}))) }, nil), errs.Unsupported, "zipmap"},
		"no type":           {around(func(g m) m { return g.Put(11, m{}.Text(1, "p")) }, nil), errs.Unsupported, "no stated type"},
		"complex":           {around(func(g m) m { return g.Put(11, m{}.Text(1, "p").Put(2, m{}.Put(1, m{}.Int(1, 14)))) }, nil), errs.Unsupported, "type 14"},
		"two of a name":     {around(func(g m) m { return g.Put(11, port("x")) }, nil), errs.Invalid, `"x"`},
		"a name of 5 KB":    {around(func(g m) m { return g.Put(11, port(strings.Repeat("x", 5000))) }, nil), errs.Invalid, "damaged"},
		"a name of no text": {around(func(g m) m { return g.Put(11, port("\xff\xfe")) }, nil), errs.Invalid, "damaged"},
	} {
		if _, err := read(c.file); err == nil || !errs.Is(err, c.kind) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v (%v)", name, err, errs.KindOf(err))
		}
	}
	if _, err := onnx.Read(bytes.NewReader(good), 3<<30); !errs.Is(err, errs.TooLarge) {
		t.Errorf("3 GiB: %v", err)
	}
	if _, err := onnx.Read(failing{}, 1000); err == nil || errs.Is(err, errs.Invalid) {
		t.Errorf("a disk that fails is no fault of the file: %v", err)
	}
}

type failing struct{}

func (failing) ReadAt([]byte, int64) (int, error) { return 0, errors.New("disk on fire") }

// TestAFileOfManyWeightsNeedsLittleMemory reads a file that claims 1 GB of weights, of which nothing is looked at.
func TestAFileOfManyWeightsNeedsLittleMemory(t *testing.T) {
	head := onnxfile.Message{}.Int(1, 8).Put(8, onnxfile.Message{}.Int(2, 17))
	const weights = 1 << 30
	weight := append(onnxfile.Message{}.Text(8, "w"), onnxfile.Message{}.Int(9, weights)...)
	weight[len(weight)-6] |= 2 // bytes, of that length
	graph := append(onnxfile.Message{}.Put(11, port("x")).Put(12, port("y")), 5<<3|2)
	graph = appendVarint(graph, uint64(len(weight)+weights))
	graph = append(graph, weight...)
	head = appendVarint(append(head, 7<<3|2), uint64(len(graph)+weights))
	head = append(head, graph...)
	f := sparse{head}
	if h, err := onnx.Read(f, int64(len(head)+weights)); err != nil || len(h.Inputs) != 1 {
		t.Errorf("%+v, %v", h, err)
	}
}

func appendVarint(b []byte, v uint64) []byte {
	for v >= 0x80 {
		b, v = append(b, byte(v)|0x80), v>>7
	}
	return append(b, byte(v))
}

// sparse has zeros behind its head.
type sparse struct{ head []byte }

func (s sparse) ReadAt(p []byte, off int64) (int, error) {
	clear(p)
	if off < int64(len(s.head)) {
		copy(p, s.head[off:])
	}
	return len(p), nil
}

var _ io.ReaderAt = sparse{}

func FuzzRead(f *testing.F) {
	f.Add(small())
	f.Add(around(func(g onnxfile.Message) onnxfile.Message {
		return g.Put(1, onnxfile.Message{}.Put(5, onnxfile.Message{}.Put(6, onnxfile.Message{}.Put(15, onnxfile.Message{}.Put(1, onnxfile.Message{}.Text(8, "w"))))))
	}, nil))
	f.Add([]byte("\x08\x08\x3a\x02\x62\x00\x42\x02\x10\x11"))
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := read(b)
		if err != nil {
			if k := errs.KindOf(err); k != errs.Invalid && k != errs.Unsupported {
				t.Errorf("%v: %v", k, err)
			}
			return
		}
		for _, s := range append(h.Inputs, h.Outputs...) {
			if s.Name == "" || s.Type == 0 || len(s.Shape) > 16 {
				t.Errorf("%+v", s)
			}
			for _, d := range s.Shape {
				if d < tensor.Any {
					t.Errorf("%+v", s)
				}
			}
		}
	})
}

func FuzzAnswer(f *testing.F) {
	f.Add([]byte(message{}.u32(1).u32(1).u64(0).u64(8).u64(2)), uint8(1))
	f.Add([]byte(message{}.u32(8).u32(1).u64(0).u64(8).u64(2)), uint8(1))
	f.Add([]byte(message{}.u32(7).u32(0).u64(64).u64(8)), uint8(2))
	memory := make([]byte, 4096)
	memory[0] = 200
	f.Fuzz(func(t *testing.T, b []byte, n uint8) {
		out := make([]tensor.Tensor, n%8)
		if onnx.Answer(b, memory, out) != nil {
			return
		}
		for i := range out {
			if err := out[i].Check(); err != nil {
				t.Errorf("%+v: %v", out[i], err)
			}
		}
	})
}

func FuzzGreet(f *testing.F) {
	f.Add([]byte(greet()))
	f.Fuzz(func(t *testing.T, b []byte) {
		if in, out, err := onnx.Greet(b); err == nil && (in > 256 || out > 256) {
			t.Errorf("%d inputs, %d outputs", in, out)
		}
	})
}
