package tfserving_test

import (
	"encoding/json"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	tfproto "github.com/lineshaft/lineshaft/serve/tfserving/proto"
)

func floats(v ...float32) *tfproto.Feature {
	return &tfproto.Feature{Kind: &tfproto.Feature_FloatList{FloatList: &tfproto.FloatList{Value: v}}}
}

func wholes(v ...int64) *tfproto.Feature {
	return &tfproto.Feature{Kind: &tfproto.Feature_Int64List{Int64List: &tfproto.Int64List{Value: v}}}
}

func texts(v ...string) *tfproto.Feature {
	l := &tfproto.BytesList{}
	for _, s := range v {
		l.Value = append(l.Value, []byte(s))
	}
	return &tfproto.Feature{Kind: &tfproto.Feature_BytesList{BytesList: l}}
}

// example makes one of names and features in turn.
func example(parts ...any) *tfproto.Example {
	m := map[string]*tfproto.Feature{}
	for i := 0; i < len(parts); i += 2 {
		m[parts[i].(string)] = parts[i+1].(*tfproto.Feature)
	}
	return &tfproto.Example{Features: &tfproto.Features{Feature: m}}
}

func exampleList(examples ...*tfproto.Example) *tfproto.Input {
	return &tfproto.Input{Kind: &tfproto.Input_ExampleList{ExampleList: &tfproto.ExampleList{Examples: examples}}}
}

func TestExamplesAreClassifiedByREST(t *testing.T) {
	p, _ := openEchoes(t)
	for _, c := range []struct{ path, body, want string }{
		{
			"scores:classify", `{"examples": [{"a": [0.25, 1], "b": ["x", "y"]}, {"b": [{"b64": "eg=="}, ""], "a": [0, -1.5], "other": {"is": ["skipped"]}}]}`,
			`{"results": [[["x", 0.25], ["y", 1.0]], [["z", 0.0], ["", -1.5]]]}`,
		},
		{
			"scores:classify", `{"examples": [{"a": [1, 2]}, {"a": [3, 4], "b": ["p", "q"]}], "context": {"b": ["x", "y"]}, "signature_name": "serving_default"}`,
			`{"results": [[["x", 1.0], ["y", 2.0]], [["p", 3.0], ["q", 4.0]]]}`,
		},
		{"three:classify", `{"examples": [{"x": [1, 2, 3]}]}`, `{"results": [[["0", 1.0], ["1", 2.0], ["2", 3.0]]]}`},
		{"value:regress", `{"examples": [{"x": 1}, {"x": [2.5]}]}`, `{"results": [1.0, 2.5]}`},
	} {
		code, text := p.ask(t, "POST", "/v1/models/"+c.path, c.body)
		if code != 200 {
			t.Errorf("%s: %d %s", c.body, code, text)
			continue
		}
		same(t, c.body, text, c.want)
	}
}

func TestBadExamplesAreRefusedInWords(t *testing.T) {
	p, _ := openEchoes(t)
	for _, c := range []struct{ path, body, says string }{
		{"three:classify", `{}`, `the key "examples" is not there`},
		{"three:classify", `{"examples": 7}`, `examples: "7" where a list of examples is needed`},
		{"three:classify", `{"examples": []}`, `the list is empty`},
		{"three:classify", `{"examples": [7]}`, `examples[0]: "7" where an object of features`},
		{"three:classify", `{"examples": [{"x": [1, 2, 3]}, {}]}`, `examples[1]: the feature "x" is missing`},
		{"three:classify", `{"examples": [{"x": [1, 2]}]}`, `the feature "x" has 2 values: a row of the input has the shape [3]`},
		{"three:classify", `{"examples": [{"x": [[1, 2, 3]]}]}`, `a list where a number is needed`},
		{"three:classify", `{"examples": [{"x": [1, 2, 3], "x": [1, 2, 3]}]}`, `the feature "x" stands twice`},
		{"three:classify", `{"examples": [{"x": ["a", 2, 3]}]}`, `a string where a number is needed`},
		{"three:classify", `{"examples": [{"x": [1, 2, 3]}], "examples": []}`, `stands twice`},
		{"three:classify", `{"signature_name": "other", "examples": []}`, `not found in signature def`},
		{"three:regress", `{"examples": [{"x": [1, 2, 3]}]}`, `model "three" has no signature for regress`},
		{"loose:classify", `{"examples": [{"x": [1, 2]}]}`, `model "loose" has no signature for classify`},
		{"scores:classify", `{"examples": [{"a": [1, 2]}], "context": {"b": ["x"]}}`, `has 1 values`},
		{"scores:classify", `{"examples": [{"a": [1, 2]}], "context": 3}`, `context: "3" where an object`},
	} {
		code, text := p.ask(t, "POST", "/v1/models/"+c.path, c.body)
		var got struct{ Error string }
		if err := json.Unmarshal([]byte(text), &got); err != nil || code != 400 || !strings.Contains(got.Error, c.says) {
			t.Errorf("%s\n\t%d %s\n\twant %s", c.body, code, text, c.says)
		}
	}
	huge := `{"context": {"x": [1` + strings.Repeat(",1", 20_000) + `]}, "examples": [{}` + strings.Repeat(`,{}`, 2000) + `]}`
	if code, text := p.ask(t, "POST", "/v1/models/wide:classify", huge); code != 413 || !strings.Contains(text, "fewer examples") {
		t.Errorf("%d %.200s", code, text)
	}
}

func TestExamplesAreClassifiedAndRegressedByGRPC(t *testing.T) {
	_, conn := openEchoes(t)
	spec := func(model string) *tfproto.ModelSpec { return &tfproto.ModelSpec{Name: model} }
	class := func(label string, score float32) *tfproto.Class { return &tfproto.Class{Label: label, Score: score} }
	var got tfproto.ClassificationResponse
	contextual := &tfproto.Input{Kind: &tfproto.Input_ExampleListWithContext{ExampleListWithContext: &tfproto.ExampleListWithContext{
		Examples: []*tfproto.Example{example("a", floats(0.25, 0)), example("a", wholes(3, -4), "b", texts("p", ""))}, Context: example("b", texts("x", "y")),
	}}}
	if err := invoke(t, conn, "PredictionService/Classify", &tfproto.ClassificationRequest{ModelSpec: spec("scores"), Input: contextual}, &got); err != nil {
		t.Fatal(err)
	}
	want := &tfproto.ClassificationResult{Classifications: []*tfproto.Classifications{
		{Classes: []*tfproto.Class{class("x", 0.25), class("y", 0)}}, {Classes: []*tfproto.Class{class("p", 3), class("", -4)}},
	}}
	if !proto.Equal(got.GetResult(), want) || got.GetModelSpec().GetName() != "scores" || got.GetModelSpec().GetVersion().GetValue() != 1 {
		t.Errorf("%v", &got)
	}
	var value tfproto.RegressionResponse
	if err := invoke(t, conn, "PredictionService/Regress", &tfproto.RegressionRequest{ModelSpec: spec("value"), Input: exampleList(example("x", floats(2.5)), example("x", floats(0)))}, &value); err != nil {
		t.Fatal(err)
	}
	if r := value.GetResult().GetRegressions(); len(r) != 2 || r[0].GetValue() != 2.5 || r[1].GetValue() != 0 {
		t.Errorf("%v", &value)
	}
	var multi tfproto.MultiInferenceResponse
	ask := &tfproto.MultiInferenceRequest{Tasks: []*tfproto.InferenceTask{
		{ModelSpec: spec("value"), MethodName: "tensorflow/serving/regress"}, {ModelSpec: spec("value"), MethodName: "tensorflow/serving/classify"},
	}, Input: exampleList(example("x", floats(2.5)))}
	if err := invoke(t, conn, "PredictionService/MultiInference", ask, &multi); err != nil {
		t.Fatal(err)
	}
	if r := multi.GetResults(); len(r) != 2 || r[0].GetRegressionResult().GetRegressions()[0].GetValue() != 2.5 || r[1].GetModelSpec().GetName() != "value" ||
		r[1].GetClassificationResult().GetClassifications()[0].GetClasses()[0].GetScore() != 2.5 {
		t.Errorf("%v", &multi)
	}
	ask.Tasks[1].ModelSpec = spec("three")
	if err := invoke(t, conn, "PredictionService/MultiInference", ask, &multi); status.Code(err) != codes.InvalidArgument {
		t.Errorf("another model: %v", err)
	}
	ask.Tasks = nil
	if err := invoke(t, conn, "PredictionService/MultiInference", ask, &multi); status.Code(err) != codes.InvalidArgument {
		t.Errorf("no tasks: %v", err)
	}
	ask.Tasks = []*tfproto.InferenceTask{{ModelSpec: spec("value"), MethodName: "x"}}
	if err := invoke(t, conn, "PredictionService/MultiInference", ask, &multi); status.Code(err) != codes.Unimplemented {
		t.Errorf("%v", err)
	}
}

func TestABadExampleByGRPCIsRefusedInWords(t *testing.T) {
	_, conn := openEchoes(t)
	for what, c := range map[string]struct {
		model string
		input *tfproto.Input
		says  string
	}{
		"no input":    {"three", nil, "Input is empty"},
		"empty":       {"three", exampleList(), "Input is empty"},
		"missing":     {"three", exampleList(example("x", floats(1, 2, 3)), example()), `examples[1]: the feature "x" is missing`},
		"short":       {"three", exampleList(example("x", floats(1))), `has 1 values`},
		"strings":     {"three", exampleList(example("x", texts("a", "b", "c"))), `is a list of bytes, and the input is of float32`},
		"numbers":     {"scores", exampleList(example("a", floats(1, 2), "b", floats(1, 2))), `is a list of floats, and the input is of bytes`},
		"not a model": {"loose", exampleList(example("x", wholes(1, 2))), "no signature for classify"},
	} {
		err := invoke(t, conn, "PredictionService/Classify", &tfproto.ClassificationRequest{ModelSpec: &tfproto.ModelSpec{Name: c.model}, Input: c.input}, &tfproto.ClassificationResponse{})
		if status.Code(err) != codes.InvalidArgument || !strings.Contains(status.Convert(err).Message(), c.says) {
			t.Errorf("%s: %v", what, err)
		}
	}
}
