package tfserving

import (
	"context"
	"encoding/binary"
	"math"
	"strconv"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/serve"
	"github.com/lineshaft/lineshaft/serve/number"
	"github.com/lineshaft/lineshaft/serve/rpc"
	"github.com/lineshaft/lineshaft/serve/tensor"
)

// This file writes the results of classify and regress, as JSON and as messages.

// classes is how many there are.
func (o outcome) width(outs []tensor.Tensor) int {
	at := max(o.scores, o.classes)
	return outs[at].Shape[1]
}

func floatAt(t *tensor.Tensor, i int) float32 {
	return math.Float32frombits(binary.LittleEndian.Uint32(t.Data[4*i:]))
}

// class is the label and the score of a class, counted over all rows.
func (o outcome) class(outs []tensor.Tensor, width, i int, room []byte) (label []byte, score float32) {
	if o.classes >= 0 {
		label = outs[o.classes].Strings[i]
	} else {
		label = strconv.AppendInt(room, int64(i%width), 10)
	}
	if o.scores >= 0 {
		score = floatAt(&outs[o.scores], i)
	}
	return label, score
}

// appendRow writes a row's result as JSON: a number, or a list of [label, score].
func (o outcome) appendRow(b []byte, outs []tensor.Tensor, row int) []byte {
	if o.value >= 0 {
		return number.AppendFloat(b, float64(floatAt(&outs[o.value], row)), 32)
	}
	var room [20]byte
	b = append(b, '[')
	width := o.width(outs)
	for k := range width {
		if k > 0 {
			b = append(b, ',')
		}
		label, score := o.class(outs, width, row*width+k, room[:0])
		b = append(appendText(append(b, '['), label), ',')
		b = append(number.AppendFloat(b, float64(score), 32), ']')
	}
	return append(b, ']')
}

// appendResult writes a ClassificationResult or a RegressionResult.
func (o outcome) appendResult(b []byte, outs []tensor.Tensor, rows int) []byte {
	var room [20]byte
	var row, class []byte
	for r := range rows {
		row = row[:0]
		if o.value >= 0 {
			row = appendScore(row, 1, floatAt(&outs[o.value], r))
		} else {
			width := o.width(outs)
			for k := range width {
				label, score := o.class(outs, width, r*width+k, room[:0])
				class = class[:0]
				if len(label) > 0 {
					class = protowire.AppendBytes(protowire.AppendTag(class, 1, protowire.BytesType), label)
				}
				class = appendScore(class, 2, score)
				row = protowire.AppendBytes(protowire.AppendTag(row, 1, protowire.BytesType), class)
			}
		}
		b = protowire.AppendBytes(protowire.AppendTag(b, 1, protowire.BytesType), row)
	}
	return b
}

func appendScore(b []byte, field protowire.Number, v float32) []byte {
	bits := math.Float32bits(v)
	if bits == 0 {
		return b // proto3 leaves out what is zero
	}
	return protowire.AppendFixed32(protowire.AppendTag(b, field, protowire.Fixed32Type), bits)
}

// answerExamples computes one result of an Input.
func (s *calls) answerExamples(ctx context.Context, to spec, input []byte, find func(serve.Signature, string) (outcome, error)) (result []byte, by answered, err error) {
	lease, err := s.acquire(ctx, "predict", to)
	if err != nil {
		return nil, by, err
	}
	defer lease.Release()
	start := time.Now()
	result, err = resultOf(ctx, lease, to.model, input, find)
	lease.Observe(time.Since(start), err != nil)
	return result, answered{model: to.model, version: lease.Version(), signature: to.signature}, err
}

func resultOf(ctx context.Context, lease serve.Lease, model string, input []byte, find func(serve.Signature, string) (outcome, error)) ([]byte, error) {
	var e examples
	o, err := e.answer(ctx, lease, model, input, e.scan, find)
	if err != nil {
		return nil, err
	}
	return o.appendResult(nil, e.outs, e.rows), nil
}

// examplesCall makes the method that answers a ClassificationRequest or a RegressionRequest, which are alike.
func (s *calls) examplesCall(find func(serve.Signature, string) (outcome, error)) func(context.Context, []byte) (any, error) {
	return func(ctx context.Context, msg []byte) (any, error) {
		var to spec
		var input []byte
		err := rpc.Fields(msg, func(num protowire.Number, typ protowire.Type, b []byte, _ uint64) error {
			switch {
			case typ == protowire.BytesType && num == 1:
				return to.scan(b)
			case typ == protowire.BytesType && num == 2:
				input = b
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
		result, by, err := s.answerExamples(ctx, to, input, find)
		if err != nil {
			return nil, err
		}
		size := 2 + protowire.SizeBytes(len(result)) + protowire.SizeBytes(by.size())
		return rpc.Encode(size, func(b []byte) []byte {
			b = protowire.AppendBytes(protowire.AppendTag(b, 1, protowire.BytesType), result)
			b = protowire.AppendVarint(protowire.AppendTag(b, 2, protowire.BytesType), uint64(by.size()))
			return by.append(b)
		}), nil
	}
}

// maxTasks bounds a MultiInferenceRequest.
const maxTasks = 64

// multi answers PredictionService.MultiInference: one Input, several questions.
func (s *calls) multi(ctx context.Context, msg []byte) (any, error) {
	const op = "tfserving.multi"
	type task struct {
		to     spec
		method string
	}
	var tasks []task
	var input []byte
	err := rpc.Fields(msg, func(num protowire.Number, typ protowire.Type, b []byte, _ uint64) error {
		switch {
		case typ != protowire.BytesType:
		case num == 1 && len(tasks) == maxTasks:
			return errs.Errorf(op, errs.TooLarge, "a request has at most %d tasks", maxTasks)
		case num == 1:
			var t task
			err := rpc.Fields(b, func(num protowire.Number, typ protowire.Type, b []byte, _ uint64) error {
				switch {
				case typ == protowire.BytesType && num == 1:
					return t.to.scan(b)
				case typ == protowire.BytesType && num == 2:
					t.method = string(b)
				}
				return nil
			})
			tasks = append(tasks, t)
			return err
		case num == 2:
			input = b
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if len(tasks) == 0 {
		return nil, errs.Errorf(op, errs.Invalid, "Inference request must have at least one task")
	}
	var reply []byte
	for _, t := range tasks {
		find, field := findScores, protowire.Number(2)
		switch {
		case t.to.model != tasks[0].to.model:
			return nil, errs.Errorf(op, errs.Invalid, "All ModelSpecs in a MultiInferenceRequest must access the same model name: %q and %q do not", errs.Clip(tasks[0].to.model), errs.Clip(t.to.model))
		case t.method == regressMethod:
			find, field = findValues, 3
		case t.method != classifyMethod:
			return nil, errs.Errorf(op, errs.Unsupported, "Unsupported signature method_name: %q: %s and %s are", errs.Clip(t.method), classifyMethod, regressMethod)
		}
		result, by, err := s.answerExamples(ctx, t.to, input, find)
		if err != nil {
			return nil, err
		}
		one := protowire.AppendVarint(protowire.AppendTag(nil, 1, protowire.BytesType), uint64(by.size()))
		one = protowire.AppendBytes(protowire.AppendTag(by.append(one), field, protowire.BytesType), result)
		reply = protowire.AppendBytes(protowire.AppendTag(reply, 1, protowire.BytesType), one)
		if len(reply) > maxReply {
			return nil, errs.Errorf(op, errs.TooLarge, "the answer has more than %d bytes: ask fewer questions at a time", maxReply)
		}
	}
	return rpc.Encode(len(reply), func(b []byte) []byte { return append(b, reply...) }), nil
}

// maxReply bounds the answer to several questions.
const maxReply = 256 << 20
