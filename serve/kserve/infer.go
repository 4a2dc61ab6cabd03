package kserve

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/serve"
	"github.com/lineshaft/lineshaft/serve/tensor"
)

// maxAnswer bounds what one request may make a model write: a row of one number can ask for a million back.
const maxAnswer = 8 << 20 // elements

// room is a request on its way, with its buffers. It is used again for the next.
type room struct {
	head, raw, out []byte // of REST: the JSON, what follows it, the answer
	wire           wire   // of gRPC
	decoder        decoder
	request
	call serve.Call
	made []tensor.Tensor // outputs made of the model's: classes
}

// request is what was asked, whichever way it came.
type request struct {
	id       string
	priority int64         // 1 goes first; 0: none was given
	timeout  time.Duration // 0: none
	binary   bool          // outputs come as bytes unless they say otherwise
	final    bool          // a stream's answer says that it is the last of its request
	inputs   []input
	outputs  []output // none: all
}

// input is a tensor that came, under the name it came with.
type input struct {
	name   string
	tensor tensor.Tensor
	shape  []int         // memory of its shape
	room   tensor.Tensor // memory for one that is not a view of what came
	size   int64         // of binary data; -1: none follows

	contents []byte // of gRPC: the elements in the list of their type; nil: none
}

// output is one that is asked for.
type output struct {
	name    string
	binary  bool
	classes int // 0: the tensor itself
	at      int // among the model's
}

var rooms = sync.Pool{New: func() any { return new(room) }}

// keepRoom is the largest buffer that is kept for the next request.
const keepRoom = 4 << 20

func (r *room) put() {
	if cap(r.head) > keepRoom || cap(r.raw) > keepRoom || cap(r.out) > keepRoom {
		return
	}
	for i := range r.inputs {
		in := &r.inputs[i]
		in.name, in.tensor, in.contents = "", tensor.Tensor{}, nil
		if cap(in.room.Data) > keepRoom || cap(in.room.Strings) > keepRoom/24 {
			in.room = tensor.Tensor{}
		}
		clear(in.room.Strings[:cap(in.room.Strings)])
	}
	clear(r.call.In)
	for i := range r.call.Out {
		if cap(r.call.Out[i].Data) > keepRoom || r.call.Out[i].Strings != nil {
			r.call.Out[i] = tensor.Tensor{}
		}
	}
	clear(r.made)
	clear(r.wire.raws)
	rooms.Put(r)
}

// begin makes the request empty, and keeps its memory.
func (q *request) begin() {
	*q = request{inputs: q.inputs[:0], outputs: q.outputs[:0]}
}

// add makes room for another input.
func (q *request) add() *input {
	if n := len(q.inputs); n < cap(q.inputs) {
		q.inputs = q.inputs[:n+1]
	} else {
		q.inputs = append(q.inputs, input{})
	}
	in := &q.inputs[len(q.inputs)-1]
	in.name, in.tensor, in.shape, in.size, in.contents = "", tensor.Tensor{}, in.shape[:0], -1, nil
	return in
}

// run answers the request with a version; its outputs are then in r.call.Out, or r.made where classes were asked for.
func (r *room) run(ctx context.Context, lease serve.Lease) error {
	sig := lease.Signature()
	if err := r.bind(sig); err != nil {
		return err
	}
	if r.timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, r.timeout)
		defer cancel()
	}
	r.call.Priority = 0
	if r.priority > 0 {
		r.call.Priority = int(2 - min(r.priority, 1<<20)) // Triton's 1 is the most urgent; 2 is as urgent as none
	}
	if err := lease.Run(ctx, &r.call); err != nil {
		if r.timeout > 0 && errs.Is(err, errs.Timeout) {
			return errs.Errorf("kserve.infer", errs.Timeout, "not answered within the timeout of %v that the request set", r.timeout)
		}
		return err
	}
	return r.classify(sig)
}

// bind puts the inputs into the model's order and finds the outputs that are asked for.
func (r *room) bind(sig serve.Signature) error {
	const op = "kserve.bind"
	if n := len(sig.Inputs); cap(r.call.In) < n {
		r.call.In = make([]tensor.Tensor, n)
	} else {
		r.call.In = r.call.In[:n]
	}
	for i, spec := range sig.Inputs {
		in := r.find(spec.Name, i)
		if in == nil {
			return errs.Errorf(op, errs.Invalid, "the input %q is missing; the model takes %s", spec.Name, names(sig.Inputs))
		}
		if in.tensor.Type != spec.Type {
			return errs.Errorf(op, errs.Invalid, "the input %q is of %s, and %s came", spec.Name, datatype(spec.Type), datatype(in.tensor.Type))
		}
		r.call.In[i] = in.tensor
	}
	if len(r.inputs) != len(sig.Inputs) {
		for i := range r.inputs {
			name := r.inputs[i].name
			if !has(sig.Inputs, name) {
				return errs.Errorf(op, errs.Invalid, "the model has no input %q; it takes %s", errs.Clip(name), names(sig.Inputs))
			}
		}
		return errs.Errorf(op, errs.Invalid, "an input stands twice: %d came and the model takes %s", len(r.inputs), names(sig.Inputs))
	}
	if err := bounded(sig, r.call.In); err != nil {
		return err
	}
	if len(r.outputs) == 0 {
		for i, spec := range sig.Outputs {
			r.outputs = append(r.outputs, output{name: spec.Name, binary: r.binary, at: i})
		}
		return nil
	}
	for i := range r.outputs {
		o := &r.outputs[i]
		for o.at = 0; o.at < len(sig.Outputs) && sig.Outputs[o.at].Name != o.name; {
			o.at++
		}
		if o.at == len(sig.Outputs) {
			return errs.Errorf(op, errs.Invalid, "the model has no output %q; it gives %s", errs.Clip(o.name), names(sig.Outputs))
		}
		for _, before := range r.outputs[:i] {
			if before.at == o.at {
				return errs.Errorf(op, errs.Invalid, "the output %q is asked for twice", o.name)
			}
		}
	}
	return nil
}

// find looks for an input by name, where it stands in the model first.
func (r *room) find(name string, at int) *input {
	if at < len(r.inputs) && r.inputs[at].name == name {
		return &r.inputs[at]
	}
	for i := range r.inputs {
		if r.inputs[i].name == name {
			return &r.inputs[i]
		}
	}
	return nil
}

// bounded refuses rows that would be answered with more than one request may ask for.
func bounded(sig serve.Signature, in []tensor.Tensor) error {
	if !sig.Batched || len(in) == 0 || len(in[0].Shape) == 0 {
		return nil
	}
	size := 0
	for _, o := range sig.Outputs {
		size += max(1, o.RowSize())
	}
	if rows := in[0].Shape[0]; rows > maxAnswer/size {
		return errs.Errorf("kserve.bounded", errs.TooLarge, "%d rows would be answered with %d elements each, together more than %d: send fewer rows at a time", rows, size, maxAnswer)
	}
	return nil
}

func has(specs []tensor.Spec, name string) bool {
	for _, s := range specs {
		if s.Name == name {
			return true
		}
	}
	return false
}

// names lists what a model takes or gives: "x" (FP32 [?, 784]).
func names(specs []tensor.Spec) string {
	all := make([]string, 0, len(specs))
	for _, s := range specs {
		all = append(all, fmt.Sprintf("%q (%s %s)", s.Name, datatype(s.Type), tensor.Text(s.Shape)))
	}
	return strings.Join(all, ", ")
}

// result is the tensor that answers an output.
func (r *room) result(i int) *tensor.Tensor {
	if r.outputs[i].classes > 0 {
		return &r.made[i]
	}
	return &r.call.Out[r.outputs[i].at]
}
