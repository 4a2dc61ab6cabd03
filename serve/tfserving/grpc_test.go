package tfserving_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	reflectionpb "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/serve/tfserving"
	tfproto "github.com/lineshaft/lineshaft/serve/tfserving/proto"
)

func invoke(t testing.TB, conn *grpc.ClientConn, method string, req, resp proto.Message) error {
	t.Helper()
	return conn.Invoke(t.Context(), "/tensorflow.serving."+method, req, resp)
}

func predictRPC(t testing.TB, conn *grpc.ClientConn, model string, inputs map[string]*tfproto.TensorProto, filter ...string) (*tfproto.PredictResponse, error) {
	t.Helper()
	resp := &tfproto.PredictResponse{}
	return resp, invoke(t, conn, "PredictionService/Predict", &tfproto.PredictRequest{
		ModelSpec: &tfproto.ModelSpec{Name: model}, Inputs: inputs, OutputFilter: filter,
	}, resp)
}

func shape(dims ...int64) *tfproto.TensorShapeProto {
	s := &tfproto.TensorShapeProto{}
	for _, d := range dims {
		s.Dim = append(s.Dim, &tfproto.TensorShapeProto_Dim{Size: d})
	}
	return s
}

// listed has a tensor of every type with its values in the list of the type, two rows of two.
func listed() map[string]*tfproto.TensorProto {
	all := map[string]*tfproto.TensorProto{
		"bool":     {Dtype: tfproto.DataType_DT_BOOL, BoolVal: []bool{true, false, false, true}},
		"uint8":    {Dtype: tfproto.DataType_DT_UINT8, IntVal: []int32{0, 1, 254, 255}},
		"uint16":   {Dtype: tfproto.DataType_DT_UINT16, IntVal: []int32{0, 1, 2, math.MaxUint16}},
		"uint32":   {Dtype: tfproto.DataType_DT_UINT32, Uint32Val: []uint32{0, 1, 2, math.MaxUint32}},
		"uint64":   {Dtype: tfproto.DataType_DT_UINT64, Uint64Val: []uint64{0, 1, 2, math.MaxUint64}},
		"int8":     {Dtype: tfproto.DataType_DT_INT8, IntVal: []int32{0, -1, math.MinInt8, math.MaxInt8}},
		"int16":    {Dtype: tfproto.DataType_DT_INT16, IntVal: []int32{0, -1, math.MinInt16, math.MaxInt16}},
		"int32":    {Dtype: tfproto.DataType_DT_INT32, IntVal: []int32{0, -1, math.MinInt32, math.MaxInt32}},
		"int64":    {Dtype: tfproto.DataType_DT_INT64, Int64Val: []int64{0, -1, math.MinInt64, math.MaxInt64}},
		"float16":  {Dtype: tfproto.DataType_DT_HALF, HalfVal: []int32{0x3c00, 0xc000, 0, 0x7c00}},
		"bfloat16": {Dtype: tfproto.DataType_DT_BFLOAT16, HalfVal: []int32{0x3f80, 0xc000, 0, 0x7f80}},
		"float32":  {Dtype: tfproto.DataType_DT_FLOAT, FloatVal: []float32{1.5, -0.25, 3e38, float32(math.Inf(1))}},
		"float64":  {Dtype: tfproto.DataType_DT_DOUBLE, DoubleVal: []float64{1.5, -0.25, 1e300, math.Inf(-1)}},
		"bytes":    {Dtype: tfproto.DataType_DT_STRING, StringVal: [][]byte{[]byte("a"), {}, {0xff, 0}, bytes.Repeat([]byte("long "), 40)}},
	}
	for _, t := range all {
		t.TensorShape = shape(2, 2)
	}
	return all
}

// contents has the same as tensor_content.
func contents(t testing.TB) map[string]*tfproto.TensorProto {
	t.Helper()
	all := listed()
	for name, p := range all {
		var b bytes.Buffer
		var err error
		narrow := func(to func(int32) any, list []int32) {
			for _, v := range list {
				if err == nil {
					err = binary.Write(&b, binary.LittleEndian, to(v))
				}
			}
		}
		switch name {
		case "bool":
			err = binary.Write(&b, binary.LittleEndian, p.BoolVal)
		case "uint8", "int8":
			narrow(func(v int32) any { return uint8(v) }, p.IntVal)
		case "uint16", "int16":
			narrow(func(v int32) any { return uint16(v) }, p.IntVal)
		case "int32":
			err = binary.Write(&b, binary.LittleEndian, p.IntVal)
		case "uint32":
			err = binary.Write(&b, binary.LittleEndian, p.Uint32Val)
		case "uint64":
			err = binary.Write(&b, binary.LittleEndian, p.Uint64Val)
		case "int64":
			err = binary.Write(&b, binary.LittleEndian, p.Int64Val)
		case "float16", "bfloat16":
			narrow(func(v int32) any { return uint16(v) }, p.HalfVal)
		case "float32":
			err = binary.Write(&b, binary.LittleEndian, p.FloatVal)
		case "float64":
			err = binary.Write(&b, binary.LittleEndian, p.DoubleVal)
		case "bytes":
			for _, s := range p.StringVal {
				b.Write(protowire.AppendVarint(nil, uint64(len(s))))
			}
			b.Write(bytes.Join(p.StringVal, nil))
		}
		if err != nil {
			t.Fatal(err)
		}
		all[name] = &tfproto.TensorProto{Dtype: p.Dtype, TensorShape: p.TensorShape, TensorContent: b.Bytes()}
	}
	return all
}

func TestEveryTypeComesAsAListOrAsContentAndGoesBackAsAList(t *testing.T) {
	_, conn := openEchoes(t)
	for what, inputs := range map[string]map[string]*tfproto.TensorProto{"lists": listed(), "content": contents(t)} {
		resp, err := predictRPC(t, conn, "all", inputs)
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		for name, want := range listed() {
			if got := resp.GetOutputs()[name+"_out"]; !proto.Equal(got, want) {
				t.Errorf("%s, %s: %v\nwant %v", what, name, got, want)
			}
		}
		if s := resp.GetModelSpec(); s.GetName() != "all" || s.GetVersion().GetValue() != 1 || s.GetSignatureName() != "serving_default" {
			t.Errorf("%v", s)
		}
	}
}

func TestAShortListGoesOnWithItsLastValue(t *testing.T) {
	_, conn := openEchoes(t)
	for what, c := range map[string]struct{ in, want []float32 }{
		"one": {[]float32{7}, slices.Repeat([]float32{7}, 6)}, "two": {[]float32{1, 2}, []float32{1, 2, 2, 2, 2, 2}}, "none": {nil, make([]float32, 6)},
	} {
		resp, err := predictRPC(t, conn, "three", map[string]*tfproto.TensorProto{"x": {Dtype: tfproto.DataType_DT_FLOAT, TensorShape: shape(2, 3), FloatVal: c.in}})
		if err != nil || !slices.Equal(resp.GetOutputs()["y"].GetFloatVal(), c.want) {
			t.Errorf("%s: %v %v", what, resp, err)
		}
	}
	resp, err := predictRPC(t, conn, "word", map[string]*tfproto.TensorProto{"word": {Dtype: tfproto.DataType_DT_STRING, TensorShape: shape(3), StringVal: [][]byte{[]byte("a"), []byte("b")}}})
	if got := resp.GetOutputs()["word_bytes"].GetStringVal(); err != nil || len(got) != 3 || string(got[2]) != "b" {
		t.Errorf("%q %v", got, err)
	}
}

func TestARequestOfManyFramesArrivesWhole(t *testing.T) {
	_, conn := openEchoes(t)
	rows := int64(100_000)
	content := make([]byte, rows*12)
	for i := range rows * 3 {
		binary.LittleEndian.PutUint32(content[4*i:], math.Float32bits(float32(i)))
	}
	resp, err := predictRPC(t, conn, "three", map[string]*tfproto.TensorProto{"x": {Dtype: tfproto.DataType_DT_FLOAT, TensorShape: shape(rows, 3), TensorContent: content}})
	if err != nil {
		t.Fatal(err)
	}
	for i, v := range resp.GetOutputs()["y"].GetFloatVal() {
		if v != float32(i) {
			t.Fatalf("value %d is %v", i, v)
		}
	}
}

func TestOutputsAreFiltered(t *testing.T) {
	_, conn := openEchoes(t)
	resp, err := predictRPC(t, conn, "all", listed(), "int8_out", "bytes_out")
	if err != nil || len(resp.GetOutputs()) != 2 || resp.GetOutputs()["int8_out"] == nil || resp.GetOutputs()["bytes_out"] == nil {
		t.Errorf("%v %v", resp, err)
	}
	if _, err := predictRPC(t, conn, "three", three(), "z"); status.Convert(err).Message() != "output tensor alias not found in signature: z Outputs expected to be in the set {y}." {
		t.Errorf("%v", err)
	}
	if _, err := predictRPC(t, conn, "three", three(), "y", "y"); status.Code(err) != codes.InvalidArgument || !strings.Contains(err.Error(), "duplicate output tensor alias: y") {
		t.Errorf("%v", err)
	}
}

func three() map[string]*tfproto.TensorProto {
	return map[string]*tfproto.TensorProto{"x": {Dtype: tfproto.DataType_DT_FLOAT, TensorShape: shape(1, 3), FloatVal: []float32{1, 2, 3}}}
}

func TestABadPredictIsRefusedInWords(t *testing.T) {
	_, conn := openEchoes(t)
	float := func(edit func(*tfproto.TensorProto)) map[string]*tfproto.TensorProto {
		in := three()
		edit(in["x"])
		return in
	}
	for what, c := range map[string]struct {
		model string
		in    map[string]*tfproto.TensorProto
		code  codes.Code
		says  string
	}{
		"no such model": {"other", three(), codes.NotFound, "other"},
		"no model":      {"", three(), codes.InvalidArgument, "names no model"},
		"hidden":        {"hidden", three(), codes.PermissionDenied, "no grant to predict hidden"},
		"no input":      {"three", nil, codes.InvalidArgument, "input size does not match signature: 0!=1 len({}) != len({x}). Sent extra: {}. Missing but required: {x}."},
		"other input":   {"three", map[string]*tfproto.TensorProto{"z": three()["x"]}, codes.InvalidArgument, "Sent extra: {z}. Missing but required: {x}."},
		"more inputs":   {"three", map[string]*tfproto.TensorProto{"x": three()["x"], "z": three()["x"]}, codes.InvalidArgument, "2!=1"},
		"wrong type": {"three", float(func(p *tfproto.TensorProto) {
			p.Dtype, p.FloatVal, p.IntVal = tfproto.DataType_DT_INT32, nil, []int32{1}
		}), codes.InvalidArgument, "float32"},
		"wrong list":    {"three", float(func(p *tfproto.TensorProto) { p.FloatVal, p.DoubleVal = nil, []float64{1} }), codes.InvalidArgument, "list of another type"},
		"two lists":     {"three", float(func(p *tfproto.TensorProto) { p.DoubleVal = []float64{1} }), codes.InvalidArgument, "values of two types"},
		"no type":       {"three", float(func(p *tfproto.TensorProto) { p.Dtype = 0 }), codes.InvalidArgument, "has no type"},
		"complex":       {"three", float(func(p *tfproto.TensorProto) { p.Dtype = tfproto.DataType_DT_COMPLEX64 }), codes.InvalidArgument, "DT_COMPLEX64"},
		"wrong shape":   {"three", float(func(p *tfproto.TensorProto) { p.TensorShape = shape(1, 4) }), codes.InvalidArgument, "[?, 3]"},
		"no shape":      {"three", float(func(p *tfproto.TensorProto) { p.TensorShape = &tfproto.TensorShapeProto{UnknownRank: true} }), codes.InvalidArgument, "without a shape"},
		"unknown size":  {"three", float(func(p *tfproto.TensorProto) { p.TensorShape = shape(-1, 3) }), codes.InvalidArgument, "dimension of -1"},
		"no rows":       {"three", float(func(p *tfproto.TensorProto) { p.TensorShape, p.FloatVal = shape(0, 3), nil }), codes.InvalidArgument, "no rows"},
		"huge":          {"three", float(func(p *tfproto.TensorProto) { p.TensorShape, p.FloatVal = shape(1e9, 3), []float32{1} }), codes.ResourceExhausted, "elements"},
		"filled":        {"three", float(func(p *tfproto.TensorProto) { p.TensorShape, p.FloatVal = shape(3e8, 3), []float32{1} }), codes.ResourceExhausted, "memory"},
		"too many":      {"three", float(func(p *tfproto.TensorProto) { p.FloatVal = make([]float32, 4) }), codes.InvalidArgument, "more values than its shape [1, 3] has room for"},
		"short content": {"three", float(func(p *tfproto.TensorProto) { p.TensorContent = make([]byte, 11) }), codes.InvalidArgument, "needs 12 bytes"},
		"deep":          {"three", float(func(p *tfproto.TensorProto) { p.TensorShape = shape(make([]int64, 1000)...) }), codes.InvalidArgument, "more than 32 dimensions"},
		"strings":       {"word", map[string]*tfproto.TensorProto{"word": {Dtype: tfproto.DataType_DT_STRING, TensorShape: shape(2), TensorContent: []byte{5, 1, 'a'}}}, codes.InvalidArgument, "does not hold 2 strings"},
	} {
		if _, err := predictRPC(t, conn, c.model, c.in); status.Code(err) != c.code || !strings.Contains(status.Convert(err).Message(), c.says) {
			t.Errorf("%s: %v", what, err)
		}
	}
	narrow := listed()
	narrow["int8"].IntVal[2] = 128
	if _, err := predictRPC(t, conn, "all", narrow); status.Code(err) != codes.InvalidArgument || !strings.Contains(err.Error(), `the input "int8": the value 128 at 2 does not fit int8`) {
		t.Errorf("%v", err)
	}
	var raw wrapperspb.BytesValue // field 1 is no ModelSpec here
	raw.Value = []byte{0xff, 0xff}
	if err := invoke(t, conn, "PredictionService/Predict", &raw, &tfproto.PredictResponse{}); status.Code(err) != codes.InvalidArgument {
		t.Errorf("%v", err)
	}
	many := map[string]*tfproto.TensorProto{}
	for i := range 2000 {
		many[strings.Repeat("x", i)] = &tfproto.TensorProto{}
	}
	if _, err := predictRPC(t, conn, "three", many); status.Code(err) != codes.ResourceExhausted {
		t.Errorf("%v", err)
	}
}

func TestAVersionIsNamedByNumberOrLabel(t *testing.T) {
	_, conn := openEchoes(t)
	for what, c := range map[string]struct {
		spec *tfproto.ModelSpec
		code codes.Code
	}{
		"number":    {&tfproto.ModelSpec{VersionChoice: &tfproto.ModelSpec_Version{Version: wrapperspb.Int64(1)}}, codes.OK},
		"no such":   {&tfproto.ModelSpec{VersionChoice: &tfproto.ModelSpec_Version{Version: wrapperspb.Int64(2)}}, codes.NotFound},
		"zero":      {&tfproto.ModelSpec{VersionChoice: &tfproto.ModelSpec_Version{Version: wrapperspb.Int64(0)}}, codes.OK},
		"negative":  {&tfproto.ModelSpec{VersionChoice: &tfproto.ModelSpec_Version{Version: wrapperspb.Int64(-1)}}, codes.NotFound},
		"label":     {&tfproto.ModelSpec{VersionChoice: &tfproto.ModelSpec_VersionLabel{VersionLabel: "prod"}}, codes.OK},
		"no label":  {&tfproto.ModelSpec{VersionChoice: &tfproto.ModelSpec_VersionLabel{VersionLabel: "beta"}}, codes.InvalidArgument},
		"signature": {&tfproto.ModelSpec{SignatureName: "serving_default"}, codes.OK},
		"other":     {&tfproto.ModelSpec{SignatureName: "classify"}, codes.FailedPrecondition},
	} {
		c.spec.Name = "three"
		err := invoke(t, conn, "PredictionService/Predict", &tfproto.PredictRequest{ModelSpec: c.spec, Inputs: three()}, &tfproto.PredictResponse{})
		if status.Code(err) != c.code {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestMetadataDescribesEveryInputAndOutput(t *testing.T) {
	_, conn := openEchoes(t)
	resp := &tfproto.GetModelMetadataResponse{}
	ask := &tfproto.GetModelMetadataRequest{ModelSpec: &tfproto.ModelSpec{Name: "mixed"}, MetadataField: []string{"signature_def"}}
	if err := invoke(t, conn, "PredictionService/GetModelMetadata", ask, resp); err != nil {
		t.Fatal(err)
	}
	var m tfproto.SignatureDefMap
	if err := resp.GetMetadata()["signature_def"].UnmarshalTo(&m); err != nil {
		t.Fatal(err)
	}
	def := m.GetSignatureDef()["serving_default"]
	in, sr := def.GetInputs()["input"], def.GetInputs()["sr"]
	if in.GetDtype() != tfproto.DataType_DT_FLOAT || len(in.GetTensorShape().GetDim()) != 2 || in.GetTensorShape().GetDim()[1].GetSize() != -1 ||
		sr.GetDtype() != tfproto.DataType_DT_INT64 || len(sr.GetTensorShape().GetDim()) != 0 || len(def.GetOutputs()) != 2 {
		t.Errorf("%v", def)
	}
	for _, field := range [][]string{nil, {"other"}} {
		ask.MetadataField = field
		if err := invoke(t, conn, "PredictionService/GetModelMetadata", ask, resp); status.Code(err) != codes.InvalidArgument {
			t.Errorf("%v: %v", field, err)
		}
	}
}

func TestStatusNamesEveryVersion(t *testing.T) {
	_, conn := openEchoes(t)
	resp := &tfproto.GetModelStatusResponse{}
	if err := invoke(t, conn, "ModelService/GetModelStatus", &tfproto.GetModelStatusRequest{ModelSpec: &tfproto.ModelSpec{Name: "three"}}, resp); err != nil {
		t.Fatal(err)
	}
	if v := resp.GetModelVersionStatus(); len(v) != 1 || v[0].GetVersion() != 1 || v[0].GetState() != tfproto.ModelVersionStatus_AVAILABLE || v[0].GetStatus().GetErrorCode() != tfproto.Code_OK {
		t.Errorf("%v", v)
	}
	for _, ask := range []*tfproto.ModelSpec{{Name: "other"}, {Name: "three", VersionChoice: &tfproto.ModelSpec_Version{Version: wrapperspb.Int64(9)}}} {
		if err := invoke(t, conn, "ModelService/GetModelStatus", &tfproto.GetModelStatusRequest{ModelSpec: ask}, resp); status.Code(err) != codes.NotFound {
			t.Errorf("%v: %v", ask, err)
		}
	}
	ctx := metadata.AppendToOutgoingContext(t.Context(), "authorization", "Bearer none")
	err := conn.Invoke(ctx, "/tensorflow.serving.ModelService/GetModelStatus", &tfproto.GetModelStatusRequest{ModelSpec: &tfproto.ModelSpec{Name: "three"}}, resp)
	if status.Code(err) != codes.PermissionDenied {
		t.Errorf("%v", err)
	}
}

func TestAReloadHandsTheListOverAndItsFaultStandsInTheAnswer(t *testing.T) {
	var got []string
	_, conn := openEchoes(t, func(c *tfserving.Calls) {
		c.Reload = func(_ context.Context, models []*tfproto.ModelConfig) error {
			for _, m := range models {
				got = append(got, m.GetName())
			}
			if len(models) == 0 {
				return errs.Errorf("test", errs.NotFound, "nothing is there")
			}
			return nil
		}
	})
	list := func(models ...*tfproto.ModelConfig) *tfproto.ReloadConfigRequest {
		return &tfproto.ReloadConfigRequest{Config: &tfproto.ModelServerConfig{Config: &tfproto.ModelServerConfig_ModelConfigList{ModelConfigList: &tfproto.ModelConfigList{Config: models}}}}
	}
	for what, c := range map[string]struct {
		ask  *tfproto.ReloadConfigRequest
		code tfproto.Code
	}{
		"list":  {list(&tfproto.ModelConfig{Name: "three"}, &tfproto.ModelConfig{Name: "all"}), tfproto.Code_OK},
		"fault": {list(), tfproto.Code_NOT_FOUND}, "nothing": {&tfproto.ReloadConfigRequest{}, tfproto.Code_INVALID_ARGUMENT},
	} {
		resp := &tfproto.ReloadConfigResponse{}
		if err := invoke(t, conn, "ModelService/HandleReloadConfigRequest", c.ask, resp); err != nil || resp.GetStatus().GetErrorCode() != c.code {
			t.Errorf("%s: %v %v", what, resp, err)
		}
	}
	if !slices.Equal(got, []string{"three", "all"}) {
		t.Errorf("%v", got)
	}
	_, without := openEchoes(t)
	if err := invoke(t, without, "ModelService/HandleReloadConfigRequest", list(), &tfproto.ReloadConfigResponse{}); status.Code(err) != codes.Unimplemented {
		t.Errorf("%v", err)
	}
}

func TestMessagesMayBeCompressed(t *testing.T) {
	_, conn := openEchoes(t)
	in := &tfproto.TensorProto{Dtype: tfproto.DataType_DT_FLOAT, TensorShape: shape(20_000, 3), TensorContent: make([]byte, 240_000)}
	req := &tfproto.PredictRequest{ModelSpec: &tfproto.ModelSpec{Name: "three"}, Inputs: map[string]*tfproto.TensorProto{"x": in}}
	for range 3 {
		var resp tfproto.PredictResponse
		if err := conn.Invoke(t.Context(), "/tensorflow.serving.PredictionService/Predict", req, &resp, grpc.UseCompressor("gzip")); err != nil || len(resp.GetOutputs()["y"].GetFloatVal()) != 60_000 {
			t.Fatalf("%v, %d values", err, len(resp.GetOutputs()["y"].GetFloatVal()))
		}
	}
}

func TestReflectionDescribesTheServices(t *testing.T) {
	_, conn := openEchoes(t)
	stream, err := reflectionpb.NewServerReflectionClient(conn).ServerReflectionInfo(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, symbol := range []string{"tensorflow.serving.PredictionService", "tensorflow.serving.ModelService", "tensorflow.TensorProto"} {
		ask := &reflectionpb.ServerReflectionRequest{MessageRequest: &reflectionpb.ServerReflectionRequest_FileContainingSymbol{FileContainingSymbol: symbol}}
		if err := stream.Send(ask); err != nil {
			t.Fatal(err)
		}
		if r, err := stream.Recv(); err != nil || len(r.GetFileDescriptorResponse().GetFileDescriptorProto()) == 0 {
			t.Errorf("%s: %v %v", symbol, r, err)
		}
	}
}

func TestManyCallersAtOnceGetTheirOwnAnswers(t *testing.T) {
	_, conn := openEchoes(t)
	var callers sync.WaitGroup
	for n := range 16 {
		callers.Go(func() {
			for i := range 50 {
				want := []float32{float32(n), float32(i), 0.5}
				in := &tfproto.TensorProto{Dtype: tfproto.DataType_DT_FLOAT, TensorShape: shape(1, 3), FloatVal: want}
				resp, err := predictRPC(t, conn, "three", map[string]*tfproto.TensorProto{"x": in})
				if err != nil || !slices.Equal(resp.GetOutputs()["y"].GetFloatVal(), want) {
					t.Errorf("%v: %v %v", want, resp, err)
					return
				}
			}
		})
	}
	callers.Wait()
}
