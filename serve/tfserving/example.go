package tfserving

import (
	"context"
	"encoding/binary"
	"math"
	"net/http"
	"slices"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/serve"
	"github.com/lineshaft/lineshaft/serve/number"
	"github.com/lineshaft/lineshaft/serve/rpc"
	"github.com/lineshaft/lineshaft/serve/tensor"
)

// This file answers classify and regress. A row comes as an example: features by name, each a flat list of values, which
// go to the inputs of those names; features that the model does not take are passed over, as in TensorFlow. A context's
// features are those of every example that does not bring its own.
//
// Our models have one signature, and it answers both where its outputs allow. Scores of classes are the output "scores",
// or the only one where it has a list of float32 for each row; their labels are the output "classes", or the numbers from
// 0. A value to regress is the output "outputs", or the only one where it has one float32 for each row.

const (
	classifyMethod = "tensorflow/serving/classify"
	regressMethod  = "tensorflow/serving/regress"
)

// maxRepeated bounds what a context is copied to, in bytes.
const maxRepeated = 64 << 20

// examples is a list of examples, as the inputs they fill.
type examples struct {
	request
	context columns // of one row, or none
	call    serve.Call
	outs    []tensor.Tensor
}

// complete ends the n'th example: what it lacks comes from the context.
func (e *examples) complete(n int) error {
	for i := range e.cols {
		c := &e.cols[i]
		if c.rows > n {
			continue
		}
		if i >= len(e.context) || e.context[i].rows == 0 {
			return errs.Errorf("tfserving.example", errs.Invalid, "examples[%d]: the feature %q is missing", n, c.spec.Name)
		}
		if err := c.repeat(&e.context[i]); err != nil {
			return errs.Errorf("tfserving.example", errs.Invalid, "context: %v", err)
		}
		if c.bytes() > maxRepeated {
			return errs.Errorf("tfserving.example", errs.TooLarge, "the context's feature %q, for every example, is more than %d bytes: send fewer examples at a time", c.spec.Name, maxRepeated)
		}
	}
	return nil
}

// admit says whether a model of this signature can be asked by examples.
func (e *examples) admit() error {
	for i := range e.cols {
		if e.cols[i].single() {
			return errs.Errorf("tfserving.example", errs.Unsupported, "the input %q has no rows, which examples cannot give: ask with predict", e.cols[i].spec.Name)
		}
	}
	return nil
}

// run computes what the examples are to be answered with.
func (e *examples) run(ctx context.Context, lease serve.Lease) error {
	e.cols.tensors(&e.call)
	e.call.Out = nil
	err := lease.Run(ctx, &e.call)
	e.outs = e.call.Out
	return err
}

// read takes the examples of a JSON body.
func (e *examples) read(body []byte, sig *serve.Signature) error {
	e.request = request{scanner: scanner{b: body}, cols: columns(nil).reset(sig)}
	if err := e.admit(); err != nil {
		return err
	}
	given, list := -1, -1
	err := e.whole(func(key string) (bool, error) {
		at := &given
		switch key {
		case "examples":
			at = &list
		case "context":
		default:
			return false, nil
		}
		if *at >= 0 {
			return true, e.fault("the key %q stands twice", key)
		}
		*at = e.at
		return true, e.skip(0)
	})
	if err != nil {
		return err
	}
	if list < 0 {
		return e.fault("the key \"examples\" is not there: send {\"examples\": [{\"feature\": [values]}]}")
	}
	if given >= 0 {
		e.at, e.key = given, "context"
		e.context = columns(nil).reset(sig)
		if err := e.example(e.context, 0); err != nil {
			return err
		}
	}
	e.at, e.key = list, "examples"
	if e.next() != '[' {
		return e.fault("%s where a list of examples is needed", e.what())
	}
	e.rows, err = e.list(func(n int) error {
		if err := e.example(e.cols, n); err != nil {
			return err
		}
		return e.complete(n)
	})
	return err
}

// example reads the features of one example into columns of n rows.
func (e *examples) example(cols columns, n int) error {
	if e.next() != '{' {
		return e.fault("%s where an object of features is needed", e.what())
	}
	return e.object(func(key string) error {
		c := cols.find(key)
		if c == nil {
			return e.skip(0)
		}
		if c.rows > n {
			return e.fault("the feature %q stands twice", key)
		}
		c.rows++
		if e.next() != '[' {
			if err := e.element(c); err != nil {
				return err
			}
			return e.filled(c, 1)
		}
		k, err := e.features(c)
		if err != nil {
			return err
		}
		return e.filled(c, k)
	})
}

func (e *examples) filled(c *column, n int) error {
	if err := c.flat(n); err != nil {
		return e.fault("%v", err)
	}
	return nil
}

// features reads a flat list of values.
func (e *examples) features(c *column) (int, error) {
	e.at++
	for n := 0; ; n++ {
		if e.next() == ']' && n == 0 {
			e.at++
			return 0, nil
		}
		if err := e.element(c); err != nil {
			return 0, err
		}
		switch e.next() {
		case ',':
			e.at++
		case ']':
			e.at++
			return n + 1, nil
		default:
			return 0, e.fault("%s where ',' or ']' is needed", e.what())
		}
	}
}

// scan takes the examples of a tensorflow.serving.Input.
func (e *examples) scan(input []byte, sig *serve.Signature) error {
	e.request = request{cols: columns(nil).reset(sig)}
	if err := e.admit(); err != nil {
		return err
	}
	var list []byte
	contextual := false
	err := rpc.Fields(input, func(num protowire.Number, typ protowire.Type, b []byte, _ uint64) error {
		if typ == protowire.BytesType && (num == 1 || num == 2) {
			list, contextual = b, num == 2
		}
		return nil
	})
	if err != nil {
		return err
	}
	if contextual {
		err := rpc.Fields(list, func(num protowire.Number, typ protowire.Type, b []byte, _ uint64) error {
			if num != 2 || typ != protowire.BytesType {
				return nil
			}
			e.context = columns(nil).reset(sig)
			return scanExample(b, e.context, 0)
		})
		if err != nil {
			return err
		}
	}
	err = rpc.Fields(list, func(num protowire.Number, typ protowire.Type, b []byte, _ uint64) error {
		if num != 1 || typ != protowire.BytesType {
			return nil
		}
		if err := scanExample(b, e.cols, e.rows); err != nil {
			return errs.Errorf("tfserving.example", errs.KindOf(err), "examples[%d]: %v", e.rows, err)
		}
		e.rows++
		return e.complete(e.rows - 1)
	})
	if err == nil && e.rows == 0 {
		return errs.Errorf("tfserving.example", errs.Invalid, "Input is empty: send at least one example")
	}
	return err
}

// scanExample reads a tensorflow.Example into columns of n rows.
func scanExample(msg []byte, cols columns, n int) error {
	entry := func(b []byte) error {
		var name, feature []byte
		err := rpc.Fields(b, func(num protowire.Number, typ protowire.Type, b []byte, _ uint64) error {
			switch {
			case typ == protowire.BytesType && num == 1:
				name = b
			case typ == protowire.BytesType && num == 2:
				feature = b
			}
			return nil
		})
		c := cols.find(string(name))
		switch {
		case err != nil || c == nil:
			return err
		case c.rows > n:
			return errs.Errorf("tfserving.example", errs.Invalid, "the feature %q stands twice", errs.Clip(string(name)))
		}
		c.rows++
		return c.scanFeature(feature)
	}
	return rpc.Fields(msg, func(num protowire.Number, typ protowire.Type, b []byte, _ uint64) error {
		if num != 1 || typ != protowire.BytesType {
			return nil
		}
		return rpc.Fields(b, func(num protowire.Number, typ protowire.Type, b []byte, _ uint64) error {
			if num != 1 || typ != protowire.BytesType {
				return nil
			}
			return entry(b)
		})
	})
}

// scanFeature reads a tensorflow.Feature as one row.
func (c *column) scanFeature(msg []byte) error {
	before := c.elements()
	err := rpc.Fields(msg, func(kind protowire.Number, typ protowire.Type, b []byte, _ uint64) error {
		if typ != protowire.BytesType || kind < 1 || kind > 3 {
			return nil
		}
		return rpc.Fields(b, func(num protowire.Number, typ protowire.Type, b []byte, n uint64) error {
			if num != 1 {
				return nil
			}
			return c.scanValues(kind, typ, b, n)
		})
	})
	if err != nil {
		return err
	}
	return c.flat(c.elements() - before)
}

// scanValues reads what one field of a BytesList (kind 1), FloatList (2) or Int64List (3) holds.
func (c *column) scanValues(kind protowire.Number, typ protowire.Type, b []byte, n uint64) error {
	switch {
	case kind == 1 && typ == protowire.BytesType:
		if c.spec.Type != tensor.Bytes {
			return c.kindFault("bytes")
		}
		c.strings = append(c.strings, b)
	case kind == 2 && typ != protowire.VarintType:
		if len(b)%4 != 0 {
			return rpc.Broken()
		}
		for ; len(b) > 0; b = b[4:] {
			if err := c.addFloat(math.Float32frombits(binary.LittleEndian.Uint32(b))); err != nil {
				return err
			}
		}
	case kind == 3 && typ == protowire.VarintType:
		return c.addWhole(int64(n))
	case kind == 3 && typ == protowire.BytesType:
		for len(b) > 0 {
			v, k := protowire.ConsumeVarint(b)
			if k < 0 {
				return rpc.Broken()
			}
			b = b[k:]
			if err := c.addWhole(int64(v)); err != nil {
				return err
			}
		}
	default:
		return rpc.Broken()
	}
	return nil
}

func (c *column) kindFault(kind string) error {
	return errs.Errorf("tfserving.example", errs.Invalid, "the feature %q is a list of %s, and the input is of %s", c.spec.Name, kind, c.spec.Type)
}

func (c *column) addFloat(v float32) error {
	switch c.spec.Type {
	case tensor.Float32:
		c.x = append(c.x, v)
	case tensor.Float64:
		c.data = binary.LittleEndian.AppendUint64(c.data, math.Float64bits(float64(v)))
	case tensor.Float16:
		c.data = binary.LittleEndian.AppendUint16(c.data, tensor.ToFloat16(v))
	case tensor.BFloat16:
		c.data = binary.LittleEndian.AppendUint16(c.data, number.BFloat16(v))
	default:
		return c.kindFault("floats")
	}
	return nil
}

func (c *column) addWhole(v int64) error {
	switch c.spec.Type {
	case tensor.Bytes:
		return c.kindFault("integers")
	case tensor.Float64:
		c.data = binary.LittleEndian.AppendUint64(c.data, math.Float64bits(float64(v)))
		return nil
	case tensor.Float32, tensor.Float16, tensor.BFloat16:
		return c.addFloat(float32(v))
	}
	size := c.spec.Type.Size()
	at := len(c.data)
	c.data = append(c.data, make([]byte, size)...)
	one := tensor.Tensor{Type: c.spec.Type, Data: c.data[at:]}
	if _, err := putVarint(&one, 0, 1, uint64(v)); err != nil {
		return errs.Errorf("tfserving.example", errs.Invalid, "the feature %q: %d does not fit %s", c.spec.Name, v, c.spec.Type)
	}
	return nil
}

// serveExamples answers POST …:classify and …:regress.
func (h *handler) serveExamples(w http.ResponseWriter, req *http.Request, to target, verb string) error {
	if _, err := h.port.Authorize(req, "predict", to.model); err != nil {
		return err
	}
	held, err := h.port.Open(req)
	if err != nil {
		return err
	}
	defer h.port.Close(held)
	body, err := h.port.Read(req, nil, 0)
	if err != nil {
		return err
	}
	lease, err := h.o.Manager.Acquire(to.model, to.version, to.label)
	if err != nil {
		return err
	}
	defer lease.Release()
	start := time.Now()
	answer, err := examplesAnswer(req.Context(), lease, to.model, verb, body)
	lease.Observe(time.Since(start), err != nil)
	if err != nil {
		return err
	}
	w.Header()["Content-Type"] = jsonType
	_, _ = w.Write(answer) // the client may be gone
	return nil
}

func examplesAnswer(ctx context.Context, lease serve.Lease, model, verb string, body []byte) ([]byte, error) {
	find := findScores
	if verb == "regress" {
		find = findValues
	}
	var e examples
	result, err := e.answer(ctx, lease, model, body, e.read, find)
	if err != nil {
		return nil, err
	}
	b := []byte(`{"results":[`)
	for r := range e.rows {
		if r > 0 {
			b = append(b, ',')
		}
		b = result.appendRow(b, e.outs, r)
	}
	return append(b, "]}\n"...), nil
}

// answer computes the examples that read finds in body, and says which outputs answer them.
func (e *examples) answer(
	ctx context.Context, lease serve.Lease, model string, body []byte,
	read func([]byte, *serve.Signature) error, find func(serve.Signature, string) (outcome, error),
) (outcome, error) {
	if err := lease.Admit(ctx); err != nil {
		return outcome{}, err
	}
	sig := lease.Signature()
	o, err := find(sig, model)
	if err != nil {
		return o, err
	}
	if err := read(body, &sig); err != nil {
		return o, err
	}
	if err := e.run(ctx, lease); err != nil {
		return o, err
	}
	return o, o.check(e.outs, e.rows)
}

// outcome says which outputs answer classify or regress; -1 is none.
type outcome struct{ scores, classes, value int }

// findScores finds the outputs that classify answers with.
func findScores(sig serve.Signature, model string) (outcome, error) {
	o := outcome{scores: -1, classes: -1, value: -1}
	for i := range sig.Outputs {
		switch s := &sig.Outputs[i]; {
		case s.Name == "scores" && s.Type == tensor.Float32 && len(s.Shape) == 2:
			o.scores = i
		case s.Name == "classes" && s.Type == tensor.Bytes && len(s.Shape) == 2:
			o.classes = i
		}
	}
	if len(sig.Outputs) == 1 && sig.Outputs[0].Type == tensor.Float32 && len(sig.Outputs[0].Shape) == 2 {
		o.scores = 0
	}
	if o.scores < 0 && o.classes < 0 {
		return o, errs.Errorf("tfserving.classify", errs.Invalid, "model %q has no signature for classify: that needs an output \"scores\" of float32 or \"classes\" of strings, "+
			"or one output with a list of float32 for each row; ask with predict", errs.Clip(model))
	}
	return o, nil
}

// findValues finds the output that regress answers with.
func findValues(sig serve.Signature, model string) (outcome, error) {
	at := slices.IndexFunc(sig.Outputs, func(s tensor.Spec) bool { return s.Name == "outputs" })
	if at < 0 && len(sig.Outputs) == 1 {
		at = 0
	}
	if at >= 0 {
		if s := sig.Outputs[at]; s.Type == tensor.Float32 && (len(s.Shape) == 1 || len(s.Shape) == 2 && (s.Shape[1] == 1 || s.Shape[1] == tensor.Any)) {
			return outcome{scores: -1, classes: -1, value: at}, nil
		}
	}
	return outcome{}, errs.Errorf("tfserving.regress", errs.Invalid, "model %q has no signature for regress: that needs an output \"outputs\", or one output, "+
		"with one float32 for each row; ask with predict", errs.Clip(model))
}

// check holds the outputs against the examples.
func (o outcome) check(outs []tensor.Tensor, rows int) error {
	const op = "tfserving.example"
	width := -1
	for _, at := range []int{o.scores, o.classes, o.value} {
		if at < 0 {
			continue
		}
		shape := outs[at].Shape
		n := 1
		if len(shape) == 2 {
			n = shape[1]
		}
		switch {
		case len(shape) == 0 || len(shape) > 2 || shape[0] != rows || at == o.value && n != 1:
			return errs.Errorf(op, errs.Invalid, "the model answered %d examples with the shape %s: ask with predict", rows, tensor.Text(shape))
		case width >= 0 && n != width:
			return errs.Errorf(op, errs.Invalid, "the model answered with %d classes and %d scores: ask with predict", n, width)
		case n > 0 && rows > maxAnswer/n:
			return errs.Errorf(op, errs.TooLarge, "the answer has more than %d values: send fewer examples at a time", maxAnswer)
		}
		width = n
	}
	return nil
}
