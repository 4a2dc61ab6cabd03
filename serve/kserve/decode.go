package kserve

import (
	"encoding/binary"
	"math"
	"time"

	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/serve/number"
	"github.com/lineshaft/lineshaft/serve/port"
	"github.com/lineshaft/lineshaft/serve/scan"
	"github.com/lineshaft/lineshaft/serve/tensor"
)

// This file reads the JSON of an inference request, and the binary tensors that follow it.
//
// Data is read straight into the tensor when its datatype and shape stand before it, as all known clients write them;
// else it is passed over and read at the object's end. It may be flat, or nested as the shape says: a list that is too
// short, too long or ragged is found where it stands. Memory is bounded by the body: no tensor is made before so many
// elements can have come, each of which takes two bytes there.

const (
	maxRank    = 32
	maxInputs  = 1024
	maxClasses = 1 << 20
	maxStrings = 64 << 20 // bytes of the list of an input's strings, where nobody counts memory
)

type decoder struct {
	scan.Scanner
	port *port.Port // counts memory beyond the body's; nil: nobody does
	held int64      // bytes of it
}

// header reads the JSON of a request into q.
func (d *decoder) header(q *request, body []byte) error {
	d.Reset(body)
	d.Op = "kserve.decode"
	q.begin()
	if d.Next() != '{' {
		return d.Fault("the request must be a JSON object such as {\"inputs\": [{\"name\": …}]}, not %s", d.What())
	}
	var seen keys
	err := d.Object(func(key []byte) error {
		switch string(key) {
		case "id":
			return d.once(&seen, 0, func() error { return d.text(&q.id) })
		case "parameters":
			return d.once(&seen, 1, func() error { return d.parameters(q) })
		case "inputs":
			return d.once(&seen, 2, func() error {
				return d.List(func(n int) error {
					if n == maxInputs {
						return d.Fault("more than %d inputs", maxInputs)
					}
					return d.input(q.add())
				})
			})
		case "outputs":
			return d.once(&seen, 3, func() error {
				return d.List(func(n int) error {
					if n == maxInputs {
						return d.Fault("more than %d outputs", maxInputs)
					}
					return d.output(q)
				})
			})
		}
		return d.Skip()
	})
	if err == nil {
		err = d.End()
	}
	if err != nil {
		return err
	}
	if !seen.has(2) {
		return d.Fault("\"inputs\" is missing")
	}
	for i := range q.outputs { // "parameters" may stand after "outputs"
		if o := &q.outputs[i]; o.at < 0 {
			o.binary = q.binary
		}
	}
	return nil
}

// keys are those of an object that have been read.
type keys uint32

func (k keys) has(n int) bool { return k&(1<<n) != 0 }

// once reads the value of a key that may stand only once.
func (d *decoder) once(seen *keys, n int, read func() error) error {
	if seen.has(n) {
		return d.Fault("the key stands twice")
	}
	*seen |= 1 << n
	return read()
}

func (d *decoder) text(to *string) error {
	b, err := d.Text()
	*to = string(b)
	return err
}

// whole reads a parameter that is a whole number up to limit.
func (d *decoder) whole(limit int64) (int64, error) {
	n, err := d.Uint()
	if err == nil && n > limit {
		return 0, d.Fault("%d is more than %d", n, limit)
	}
	return n, err
}

func (d *decoder) parameters(q *request) error {
	return d.Object(func(key []byte) (err error) {
		switch string(key) {
		case "binary_data_output":
			q.binary, err = d.Bool()
		case "priority":
			q.priority, err = d.Uint()
		case "timeout":
			var micros int64
			micros, err = d.whole(math.MaxInt64 / 1000)
			q.timeout = time.Duration(micros) * time.Microsecond
		default:
			err = d.Skip()
		}
		return err
	})
}

var errSharedMemory = errs.Errorf("kserve.decode", errs.Unsupported, "tensors in shared memory are not taken here: send them in the request")

// input reads one element of "inputs".
func (d *decoder) input(in *input) error {
	var seen keys
	data := -1 // where it stands, when it stands too early
	err := d.Object(func(key []byte) error {
		switch string(key) {
		case "name":
			return d.once(&seen, 0, func() error { return d.text(&in.name) })
		case "shape":
			return d.once(&seen, 1, func() error { return d.shape(in) })
		case "datatype":
			return d.once(&seen, 2, func() error { return d.datatype(in) })
		case "parameters":
			return d.once(&seen, 3, func() error { return d.inputParameters(in) })
		case "data":
			return d.once(&seen, 4, func() error {
				if seen.has(1) && seen.has(2) {
					return d.data(in)
				}
				data = d.At
				return d.Skip()
			})
		}
		return d.Skip()
	})
	if err != nil {
		return err
	}
	for n, key := range []string{"name", "shape", "datatype"} {
		if !seen.has(n) {
			return d.Fault("%q is missing", key)
		}
	}
	switch {
	case in.size >= 0 && seen.has(4):
		return d.Fault("\"data\" and \"binary_data_size\" are both there: the data is either in the JSON or after it")
	case in.size < 0 && !seen.has(4):
		return d.Fault("neither \"data\" nor the parameter \"binary_data_size\" is there")
	case data >= 0:
		end := d.At
		d.At = data
		if err := d.data(in); err != nil {
			return err
		}
		d.At = end
	}
	return nil
}

func (d *decoder) shape(in *input) error {
	return d.List(func(n int) error {
		if n == maxRank {
			return d.Fault("more than %d dimensions", maxRank)
		}
		size, err := d.Uint()
		if err != nil {
			return err
		}
		in.shape = append(in.shape, int(min(size, math.MaxInt)))
		return nil
	})
}

func (d *decoder) datatype(in *input) error {
	name, err := d.Text()
	if err != nil {
		return err
	}
	if in.tensor.Type = typeOf(name); in.tensor.Type == 0 {
		return d.Fault("no datatype is called %q: they are BOOL, UINT8 to UINT64, INT8 to INT64, FP16, BF16, FP32, FP64 and BYTES", errs.Clip(string(name)))
	}
	return nil
}

func (d *decoder) inputParameters(in *input) error {
	return d.Object(func(key []byte) (err error) {
		switch string(key) {
		case "binary_data_size":
			in.size, err = d.Uint()
		case "shared_memory_region":
			return errSharedMemory
		default:
			err = d.Skip()
		}
		return err
	})
}

// output reads one element of "outputs".
func (d *decoder) output(q *request) error {
	o := output{at: -1} // -1: as the request says for all
	var seen keys
	err := d.Object(func(key []byte) error {
		switch string(key) {
		case "name":
			return d.once(&seen, 0, func() error { return d.text(&o.name) })
		case "parameters":
			return d.once(&seen, 1, func() error {
				return d.Object(func(key []byte) (err error) {
					switch string(key) {
					case "binary_data":
						o.at = 0
						o.binary, err = d.Bool()
					case "classification":
						var k int64
						k, err = d.whole(maxClasses)
						o.classes = int(k)
					case "shared_memory_region":
						return errSharedMemory
					default:
						err = d.Skip()
					}
					return err
				})
			})
		}
		return d.Skip()
	})
	if err == nil && !seen.has(0) {
		return d.Fault("\"name\" is missing")
	}
	q.outputs = append(q.outputs, o)
	return err
}

// data reads the elements of a tensor whose shape and type are known.
func (d *decoder) data(in *input) error {
	t := in.tensor.Type
	n, err := tensor.Elements(in.shape)
	if err != nil {
		return errs.Errorf(d.Op, errs.KindOf(err), "%s: %v", d.Where(), err)
	}
	if n > (len(d.B)-d.At)/2 {
		return d.Fault("the shape %s needs %d elements, and fewer follow", tensor.Text(in.shape), n)
	}
	if err := d.holdFor(t, n); err != nil {
		return err
	}
	in.room.Reset(t, in.shape...)
	in.tensor = in.room
	if d.Next() != '[' {
		return d.Fault("%s where a list is needed", d.What())
	}
	from := d.At
	d.At++
	nested := d.Next() == '[' && len(in.shape) > 1
	d.At = from
	w := writer{d: d, t: &in.tensor, size: t.Size()}
	if nested {
		return w.nested(in.shape)
	}
	return w.list(n)
}

// holdFor counts the memory that n elements take beyond that of the body.
func (d *decoder) holdFor(t tensor.Type, n int) error {
	size := t.Size()
	if t == tensor.Bytes {
		size = 24 // a slice
	}
	const free = 64 << 10
	if n*size < free {
		return nil
	}
	if d.port == nil {
		if t == tensor.Bytes && n*size > maxStrings {
			return errs.Errorf(d.Op, errs.TooLarge, "an input of %d strings is more than the %d that one may have here: send fewer rows at a time", n, maxStrings/size)
		}
		return nil
	}
	if err := d.port.Hold(int64(n * size)); err != nil {
		return err
	}
	d.held += int64(n * size)
	return nil
}

// writer puts the elements of JSON lists into a tensor.
type writer struct {
	d    *decoder
	t    *tensor.Tensor
	size int
	n    int // elements written
}

// nested reads lists within lists, as deep as shape is long.
func (w *writer) nested(shape []int) error {
	d := w.d
	if len(shape) == 1 {
		return w.list(shape[0])
	}
	if d.Next() != '[' {
		return d.Fault("%s where a list is needed: the shape is %s", d.What(), tensor.Text(w.t.Shape))
	}
	count := 0
	err := d.List(func(n int) error {
		if n == shape[0] {
			return w.length(n+1, shape[0])
		}
		count++
		return w.nested(shape[1:])
	})
	if err == nil && count < shape[0] {
		return w.length(count, shape[0])
	}
	return err
}

// list reads exactly n elements.
func (w *writer) list(n int) error {
	d := w.d
	if d.Next() != '[' {
		return d.Fault("%s where a list is needed: the shape is %s", d.What(), tensor.Text(w.t.Shape))
	}
	d.At++
	if d.Next() == ']' {
		if n > 0 {
			return w.length(0, n)
		}
		d.At++
		return nil
	}
	switch {
	case n == 0:
		return w.length(1, 0)
	case w.t.Type == tensor.Bytes:
		return w.strings(n)
	case w.t.Type == tensor.Float32:
		return w.floats(n)
	}
	return w.numbers(n)
}

// floats is numbers for the most frequent type. Nearly all the time of reading a request in JSON is spent in this loop.
func (w *writer) floats(n int) error {
	b, at := w.d.B, w.d.At
	dst := w.t.Data[4*w.n : 4*(w.n+n)]
	for i := 0; ; i++ {
		for at < len(b) && b[at] <= ' ' && scan.Space[b[at]] {
			at++
		}
		if len(b)-at > 4 && b[at] == '0' && b[at+1] == '.' && b[at+2] == '0' && b[at+3] == ',' && i < n {
			binary.LittleEndian.PutUint32(dst[4*i:], 0) // the most frequent number by far
			at += 4
			continue
		}
		v, end, ok := number.Float32(b, at)
		if end == at || !ok || i >= n {
			w.d.At = at
			return w.bad(i, n, end == at)
		}
		binary.LittleEndian.PutUint32(dst[4*i:], math.Float32bits(v))
		for at = end; at < len(b) && b[at] <= ' ' && scan.Space[b[at]]; {
			at++
		}
		if at < len(b) && b[at] == ',' {
			at++
			continue
		}
		w.d.At = at
		return w.end(i+1, n)
	}
}

func (w *writer) numbers(n int) error {
	d := w.d
	dst := w.t.Data[w.size*w.n : w.size*(w.n+n)]
	for i := 0; ; i++ {
		d.Next()
		if i >= n {
			return w.bad(i, n, false)
		}
		end, ok := number.Read(w.t.Type, dst[w.size*i:w.size*(i+1)], d.B, d.At)
		if !ok {
			return w.bad(i, n, end == d.At)
		}
		d.At = end
		if d.Next() == ',' {
			d.At++
			continue
		}
		return w.end(i+1, n)
	}
}

func (w *writer) strings(n int) error {
	d := w.d
	for i := 0; ; i++ {
		if i >= n || d.Next() != '"' {
			return w.bad(i, n, true)
		}
		text, err := d.Text()
		if err != nil {
			return err
		}
		w.t.Strings[w.n+i] = text
		if d.Next() == ',' {
			d.At++
			continue
		}
		return w.end(i+1, n)
	}
}

// end closes a list of which got elements were read.
func (w *writer) end(got, n int) error {
	d := w.d
	if d.Next() != ']' {
		d.Push(got - 1)
		return d.Fault("%s where ',' or ']' is needed", d.What())
	}
	if got < n {
		return w.length(got, n)
	}
	d.At++
	w.n += n
	return nil
}

// bad says why the i'th element, at which the scanner stands, was not taken.
func (w *writer) bad(i, n int, none bool) error {
	d := w.d
	if i >= n && d.Next() != ']' {
		return w.length(n+1, n)
	}
	d.Push(i)
	what := "a number"
	switch w.t.Type {
	case tensor.Bytes:
		what = "a string"
	case tensor.Bool:
		what = "true or false"
	}
	if none {
		return d.Fault("%s where %s is needed: the datatype is %s", d.What(), what, datatype(w.t.Type))
	}
	return d.Fault("%s is no %s", d.What(), datatype(w.t.Type))
}

// length says that a list has got elements, or more than it may have.
func (w *writer) length(got, want int) error {
	if got > want {
		return w.d.Fault("the list has more than %d elements: the shape is %s", want, tensor.Text(w.t.Shape))
	}
	return w.d.Fault("the list has %d elements and %d are needed: the shape is %s", got, want, tensor.Text(w.t.Shape))
}

// binaries gives the inputs that follow the JSON their bytes, in order: views, no copies.
func (d *decoder) binaries(q *request, raw []byte) error {
	const op = "kserve.binaries"
	at := int64(0)
	for i := range q.inputs {
		in := &q.inputs[i]
		if in.size < 0 {
			continue
		}
		if in.size > int64(len(raw))-at {
			return errs.Errorf(op, errs.Invalid, "the input %q says binary_data_size %d, and %d bytes are left after the JSON", errs.Clip(in.name), in.size, int64(len(raw))-at)
		}
		if err := d.view(in, raw[at:at+in.size:at+in.size]); err != nil {
			return err
		}
		at += in.size
	}
	if left := int64(len(raw)) - at; left > 0 {
		return errs.Errorf(op, errs.Invalid, "%d bytes after the JSON belong to no input: the sizes of the inputs' binary data add up to %d", left, at)
	}
	return nil
}

// view makes an input of its bytes.
func (d *decoder) view(in *input, b []byte) error {
	const op = "kserve.view"
	n, err := tensor.Elements(in.shape)
	if err != nil {
		return errs.Errorf(op, errs.KindOf(err), "the input %q: %v", errs.Clip(in.name), err)
	}
	in.tensor.Shape = in.shape
	if in.tensor.Type != tensor.Bytes {
		if want := n * in.tensor.Type.Size(); want != len(b) {
			return errs.Errorf(op, errs.Invalid, "the input %q of the shape %s of %s has %d bytes, and %d came", errs.Clip(in.name),
				tensor.Text(in.shape), datatype(in.tensor.Type), want, len(b))
		}
		in.tensor.Data = b
		return nil
	}
	// Each string comes after its length in four bytes.
	if n > len(b)/4 {
		return errs.Errorf(op, errs.Invalid, "the input %q of the shape %s has %d strings, and %d bytes are too few for them", errs.Clip(in.name), tensor.Text(in.shape), n, len(b))
	}
	if err := d.holdFor(tensor.Bytes, n); err != nil {
		return err
	}
	in.room.Reset(tensor.Bytes, in.shape...)
	in.tensor = in.room
	for i := range n {
		if len(b) < 4 {
			return errs.Errorf(op, errs.Invalid, "the input %q ends before the length of its string %d of %d", errs.Clip(in.name), i, n)
		}
		size := binary.LittleEndian.Uint32(b)
		if b = b[4:]; uint64(size) > uint64(len(b)) {
			return errs.Errorf(op, errs.Invalid, "the input %q: its string %d has %d bytes, and %d are left", errs.Clip(in.name), i, size, len(b))
		}
		in.tensor.Strings[i] = b[:size:size]
		b = b[size:]
	}
	if len(b) > 0 {
		return errs.Errorf(op, errs.Invalid, "the input %q: %d bytes follow the last of its %d strings", errs.Clip(in.name), len(b), n)
	}
	return nil
}
