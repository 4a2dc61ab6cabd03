package kserve_test

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net"
	"strconv"
	"strings"
	"testing"

	"github.com/lineshaft/lineshaft/serve/tensor"
)

func TestJSONInFlatAndNestedIsAnsweredFlat(t *testing.T) {
	s := open(t)
	for name, data := range map[string]string{"flat": `[1, 2.5, -3, 4e2, NaN, 0.0]`, "nested": `[[1, 2.5, -3], [4e2, NaN, 0.0]]`} {
		body := `{"id": "a\"b", "inputs": [{"name": "in0", "shape": [2, 3], "datatype": "FP32", "data": ` + data + `}]}`
		want := `{"model_name":"f","model_version":"2","id":"a\"b","outputs":[{"name":"out0","datatype":"FP32","shape":[2,3],"data":[1.0,2.5,-3.0,400.0,NaN,0.0]}]}`
		if code, text, h := s.ask(t, "POST", "/v2/models/f/infer", body); code != 200 || text != want || h.Get("Content-Type") != "application/json" {
			t.Errorf("%s: %d %s", name, code, text)
		}
	}
	// The data before what tells how to read it, unknown keys and parameters, one row.
	body := `{"x": [1, {"y": null}], "inputs": [{"data": [7, 8, 9], "parameters": {"content_type": "np", "z": 1.5}, "datatype": "FP32", "shape": [1, 3], "name": "in0"}],
		"parameters": {"priority": 1, "timeout": 5000000, "other": "x", "sequence_id": 4}, "outputs": [{"name": "out0", "parameters": {"q": true}}]}`
	want := `{"model_name":"f","model_version":"1","outputs":[{"name":"out0","datatype":"FP32","shape":[1,3],"data":[7.0,8.0,9.0]}]}`
	for _, version := range []string{"1", "prod"} {
		if code, text, _ := s.ask(t, "POST", "/v2/models/f/versions/"+version+"/infer", body); code != 200 || text != want {
			t.Errorf("%d %s", code, text)
		}
	}
	if p := s.world.models["f"].seen.Priority; p != 1 {
		t.Errorf("priority %d", p)
	}
	if !s.saw("predict f") {
		t.Error("nobody was asked whether that is allowed")
	}
}

// samples are two elements of a type, as JSON.
var samples = map[tensor.Type]string{
	tensor.Bool: `true,false`, tensor.Uint8: `0,255`, tensor.Uint16: `1,65535`, tensor.Uint32: `2,4294967295`, tensor.Uint64: `3,18446744073709551615`,
	tensor.Int8: `-128,127`, tensor.Int16: `-32768,32767`, tensor.Int32: `-2147483648,7`, tensor.Int64: `-9223372036854775808,9223372036854775807`,
	tensor.Float16: `0.5,-65504.0`, tensor.BFloat16: `1.5,-0.0`, tensor.Float32: `0.1,3.4028235e+38`, tensor.Float64: `0.1,1.7976931348623157e+308`,
	tensor.Bytes: `"a\"\\\né","日本"`,
}

var datatypes = map[tensor.Type]string{
	tensor.Bool: "BOOL", tensor.Uint8: "UINT8", tensor.Uint16: "UINT16", tensor.Uint32: "UINT32", tensor.Uint64: "UINT64",
	tensor.Int8: "INT8", tensor.Int16: "INT16", tensor.Int32: "INT32", tensor.Int64: "INT64", tensor.Float16: "FP16",
	tensor.BFloat16: "BF16", tensor.Float32: "FP32", tensor.Float64: "FP64", tensor.Bytes: "BYTES",
}

func everyInput() string {
	var in []string
	for i, typ := range every {
		in = append(in, fmt.Sprintf(`{"name":"in%d","shape":[1,2],"datatype":%q,"data":[%s]}`, i, datatypes[typ], samples[typ]))
	}
	return strings.Join(in, ",")
}

func TestEveryTypeComesBackAsItWasInJSONAndInBinary(t *testing.T) {
	s := open(t)
	code, text, _ := s.ask(t, "POST", "/v2/models/all/infer", `{"inputs":[`+everyInput()+`]}`)
	for i, typ := range every {
		want := fmt.Sprintf(`{"name":"out%d","datatype":%q,"shape":[1,2],"data":[%s]}`, i, datatypes[typ], samples[typ])
		if code != 200 || !strings.Contains(text, want) {
			t.Errorf("%d: no %s in %s", code, want, text)
		}
	}
	// All outputs binary; then the same bytes as inputs, with one in JSON between them.
	code, text, h := s.ask(t, "POST", "/v2/models/all/infer", `{"inputs":[`+everyInput()+`],"parameters":{"binary_data_output":true}}`)
	if code != 200 || h.Get("Content-Type") != "application/octet-stream" {
		t.Fatalf("%d %s", code, text)
	}
	n, err := strconv.Atoi(h.Get("Inference-Header-Content-Length"))
	if err != nil {
		t.Fatal(err)
	}
	var answer struct {
		Outputs []struct {
			Name, Datatype string
			Parameters     struct {
				Size int `json:"binary_data_size"`
			}
		}
	}
	if err := json.Unmarshal([]byte(text[:n]), &answer); err != nil || len(answer.Outputs) != len(every) {
		t.Fatalf("%v %s", err, text[:n])
	}
	raw, at := text[n:], 0
	var in []string
	var bytes strings.Builder
	for i, o := range answer.Outputs {
		if i == 3 {
			in = append(in, fmt.Sprintf(`{"name":"in3","shape":[1,2],"datatype":"UINT32","data":[%s]}`, samples[tensor.Uint32]))
		} else {
			in = append(in, fmt.Sprintf(`{"name":"in%d","shape":[1,2],"datatype":%q,"parameters":{"binary_data_size":%d}}`, i, o.Datatype, o.Parameters.Size))
			bytes.WriteString(raw[at : at+o.Parameters.Size])
		}
		at += o.Parameters.Size
	}
	if at != len(raw) {
		t.Errorf("%d of %d bytes belong to outputs", at, len(raw))
	}
	head := `{"inputs":[` + strings.Join(in, ",") + `]}`
	code, again, _ := s.ask(t, "POST", "/v2/models/all/infer", head+bytes.String(), "Inference-Header-Content-Length", strconv.Itoa(len(head)))
	for i, typ := range every {
		if want := fmt.Sprintf(`{"name":"out%d","datatype":%q,"shape":[1,2],"data":[%s]}`, i, datatypes[typ], samples[typ]); code != 200 || !strings.Contains(again, want) {
			t.Errorf("%d: no %s in %s", code, want, again)
		}
	}
}

func TestOutputsAreChosenAndTurnedIntoClasses(t *testing.T) {
	s := open(t)
	inputs := `"inputs":[` + everyInput() + `]`
	code, text, h := s.ask(t, "POST", "/v2/models/all/infer", `{`+inputs+`,"outputs":[{"name":"out13","parameters":{"binary_data":true}},{"name":"out0"}]}`)
	n, _ := strconv.Atoi(h.Get("Inference-Header-Content-Length"))
	want := `{"model_name":"all","model_version":"1","outputs":[{"name":"out13","datatype":"BYTES","shape":[1,2],"parameters":{"binary_data_size":20}},` +
		`{"name":"out0","datatype":"BOOL","shape":[1,2],"data":[true,false]}]}`
	if code != 200 || text[:n] != want || text[n:] != "\x06\x00\x00\x00a\"\\\n\xc3\xa9\x06\x00\x00\x00\xe6\x97\xa5\xe6\x9c\xac" {
		t.Errorf("%d %q", code, text)
	}
	// "outputs" before "parameters": what the parameters say holds for those that say nothing.
	code, text, h = s.ask(t, "POST", "/v2/models/all/infer", `{"outputs":[{"name":"out1"},{"name":"out2","parameters":{"binary_data":false}}],`+inputs+`,"parameters":{"binary_data_output":true}}`)
	n, _ = strconv.Atoi(h.Get("Inference-Header-Content-Length"))
	if code != 200 || n == 0 || text[n:] != "\x00\xff" || !strings.Contains(text, `"data":[1,65535]`) {
		t.Errorf("%d %q", code, text)
	}
	code, text, _ = s.ask(t, "POST", "/v2/models/f/infer", `{"inputs":[{"name":"in0","shape":[2,3],"datatype":"FP32","data":[0.1,0.7,0.2,5,5,6]}],
		"outputs":[{"name":"out0","parameters":{"classification":2}}]}`)
	want = `{"model_name":"f","model_version":"2","outputs":[{"name":"out0","datatype":"BYTES","shape":[2,2],"data":["0.700000:1","0.200000:2","6.000000:2","5.000000:0"]}]}`
	if code != 200 || text != want {
		t.Errorf("%d %s", code, text)
	}
}

func TestARequestOfBytesAloneHasTheShapeThatFollows(t *testing.T) {
	s := open(t)
	var b []byte
	for i := range 6 {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(float32(i)))
	}
	code, text, h := s.ask(t, "POST", "/v2/models/f/infer", string(b), "Inference-Header-Content-Length", "0")
	n, _ := strconv.Atoi(h.Get("Inference-Header-Content-Length"))
	if code != 200 || !strings.Contains(text[:n], `"shape":[2,3]`) || text[n:] != string(b) {
		t.Errorf("%d %q", code, text)
	}
	for model, body := range map[string]string{"f": string(b[:20]), "s": "abc", "all": "x"} {
		if code, text, _ := s.ask(t, "POST", "/v2/models/"+model+"/infer", body, "Inference-Header-Content-Length", "0"); code != 400 {
			t.Errorf("%s: %d %s", model, code, text)
		}
	}
}

func TestACompressedRequestIsReadPlain(t *testing.T) {
	s := open(t)
	head := `{"inputs":[{"name":"in0","shape":[1,3],"datatype":"FP32","parameters":{"binary_data_size":12}}]}`
	var z bytes.Buffer
	w := zlib.NewWriter(&z)
	if _, err := io.WriteString(w, head+strings.Repeat("\x00", 12)); err != nil || w.Close() != nil {
		t.Fatal(err)
	}
	code, text, _ := s.ask(t, "POST", "/v2/models/f/infer", z.String(), "Content-Encoding", "deflate", "Inference-Header-Content-Length", strconv.Itoa(len(head)))
	if code != 200 || !strings.Contains(text, `"data":[0.0,0.0,0.0]`) {
		t.Errorf("%d %s", code, text)
	}
}

func TestLargeTensorsGoAndComeWhole(t *testing.T) {
	s := open(t)
	b := make([]byte, 12*40_000)
	for i := range b {
		b[i] = byte(i * 7)
	}
	head := fmt.Sprintf(`{"inputs":[{"name":"in0","shape":[40000,3],"datatype":"FP32","parameters":{"binary_data_size":%d}}],"parameters":{"binary_data_output":true}}`, len(b))
	code, text, h := s.ask(t, "POST", "/v2/models/f/infer", head+string(b), "Inference-Header-Content-Length", strconv.Itoa(len(head)))
	n, _ := strconv.Atoi(h.Get("Inference-Header-Content-Length"))
	if code != 200 || text[n:] != string(b) {
		t.Errorf("%d, %d bytes", code, len(text))
	}
}

func TestWhatIsWrongIsSaidWithItsStatus(t *testing.T) {
	s := open(t)
	in := func(rest string) string { return `{"inputs":[{"name":"in0",` + rest + `}]}` }
	fp32 := `"datatype":"FP32",`
	for _, c := range []struct {
		model, body string
		code        int
		want        string
	}{
		{"f", ``, 400, `must be a JSON object`},
		{"f", `{}`, 400, `"inputs" is missing`},
		{"f", `{"inputs":[]}`, 400, `the input "in0" is missing; the model takes "in0" (FP32 [?, 3])`},
		{"f", `{"inputs":{}}`, 400, `inputs: an object where a list is needed`},
		{"f", in(`"shape":[1,3],"data":[1,2,3]`), 400, `inputs[0]: "datatype" is missing`},
		{"f", in(fp32 + `"data":[1,2,3]`), 400, `inputs[0]: "shape" is missing`},
		{"f", in(fp32 + `"shape":[1,3]`), 400, `neither "data" nor the parameter "binary_data_size"`},
		{"f", in(`"datatype":"FP23","shape":[1,3],"data":[1,2,3]`), 400, `inputs[0].datatype: no datatype is called "FP23"`},
		{"f", in(`"datatype":"INT32","shape":[1,3],"data":[1,2,3]`), 400, `is of FP32, and INT32 came`},
		{"f", in(`"datatype":"INT32","shape":[1,3],"data":[1,2.5,3]`), 400, `inputs[0].data[1]: "2.5" is no INT32`},
		{"f", in(`"datatype":"INT32","shape":[1,3],"data":[1,NaN,3]`), 400, `"NaN" where a number is needed: the datatype is INT32`},
		{"f", in(`"datatype":"UINT8","shape":[1,3],"data":[1,-1,3]`), 400, `"-1" is no UINT8`},
		{"f", in(`"datatype":"BOOL","shape":[1,3],"data":[true,"x",3]`), 400, `inputs[0].data[1]: a string where true or false is needed`},
		{"f", in(fp32 + `"shape":[1,3],"data":[1,"2",3]`), 400, `inputs[0].data[1]: a string where a number is needed`},
		{"f", in(fp32 + `"shape":[1,3],"data":[1,1e39,3]`), 400, `"1e39" is no FP32`},
		{"f", in(fp32 + `"shape":[1,3],"data":[1,2]`), 400, `the list has 2 elements and 3 are needed`},
		{"f", in(fp32 + `"shape":[1,3],"data":[1,2,3,4]`), 400, `the list has more than 3 elements`},
		{"f", in(fp32 + `"shape":[1,3],"data":[]           `), 400, `the list has 0 elements`},
		{"f", in(fp32 + `"shape":[1,3],"data":[1,2,3`), 400, `inputs[0].data[2]: "}" where ',' or ']'`},
		{"f", in(fp32 + `"shape":[1,3],"data":"AAA"`), 400, `a string where a list is needed`},
		{"f", in(fp32 + `"shape":[2,3],"data":[[1,2,3],[4,5]]`), 400, `inputs[0].data[1]: the list has 2 elements and 3 are needed`},
		{"f", in(fp32 + `"shape":[2,3],"data":[[1,2,3],[4,5,6],[7,8,9]]`), 400, `the list has more than 2 elements`},
		{"f", in(fp32 + `"shape":[2,3],"data":[[1,2,3]]`), 400, `inputs[0].data: the list has 1 elements and 2 are needed`},
		{"f", in(fp32 + `"shape":[2,3],"data":[[1,2,3],4,5,6]`), 400, `inputs[0].data[1]: "4" where a list is needed`},
		{"f", in(fp32 + `"shape":[1,4],"data":[1,2,3,4]`), 400, `has the shape [?, 3], and [1, 4] came`},
		{"f", in(fp32 + `"shape":[3],"data":[1,2,3]`), 400, `has the shape [?, 3], and [3] came`},
		{"f", in(fp32 + `"shape":[0,3],"data":[]`), 400, `has no rows`},
		{"f", in(fp32 + `"shape":[-1,3],"data":[1,2,3]`), 400, `inputs[0].shape[0]: "-1" where a whole number`},
		{"f", in(fp32 + `"shape":[1.0,3],"data":[1,2,3]`), 400, `where a whole number`},
		{"f", in(fp32 + `"shape":[1000000000,3],"data":[1,2,3]`), 413, `more than 1073741824 elements`},
		{"f", in(fp32 + `"shape":[9223372036854775807,9223372036854775807],"data":[1]`), 413, `more than 1073741824 elements`},
		{"f", in(fp32 + `"shape":[100000000,3],"data":[1,2,3]`), 400, `needs 300000000 elements, and fewer follow`},
		{"f", in(fp32 + `"shape":[` + strings.Repeat("1,", 40) + `1],"data":[1]`), 400, `more than 32 dimensions`},
		{"f", in(fp32 + `"shape":[1,3],"shape":[1,3],"data":[1,2,3]`), 400, `inputs[0].shape: the key stands twice`},
		{"f", `{"inputs":[],"inputs":[]}`, 400, `inputs: the key stands twice`},
		{"f", in(fp32 + `"shape":[1,3],"data":[1,2,3],"parameters":{"binary_data_size":12}`), 400, `are both there`},
		{"f", in(fp32 + `"shape":[1,3],"parameters":{"binary_data_size":-12}`), 400, `"-12" where a whole number`},
		{"f", in(fp32 + `"shape":[1,3],"parameters":{"binary_data_size":12}`), 400, `says binary_data_size 12, and 0 bytes are left`},
		{"f", in(fp32 + `"shape":[1,3],"parameters":{"shared_memory_region":"r"}`), 501, `shared memory`},
		{"f", `{"inputs":[{"name":"in0",` + fp32 + `"shape":[1,3],"data":[1,2,3]},{"name":"in0",` + fp32 + `"shape":[1,3],"data":[1,2,3]}]}`, 400, `stands twice`},
		{"f", `{"inputs":[{"name":"in0",` + fp32 + `"shape":[1,3],"data":[1,2,3]},{"name":"x",` + fp32 + `"shape":[1,3],"data":[1,2,3]}]}`, 400, `the model has no input "x"`},
		{"f", `{"inputs":[{"name":"in0",` + fp32 + `"shape":[1,3],"data":[1,2,3]}],"outputs":[{"name":"y"}]}`, 400, `the model has no output "y"; it gives "out0" (FP32 [?, 3])`},
		{"f", `{"inputs":[{"name":"in0",` + fp32 + `"shape":[1,3],"data":[1,2,3]}],"outputs":[{"name":"out0"},{"name":"out0"}]}`, 400, `asked for twice`},
		{"f", `{"inputs":[{"name":"in0",` + fp32 + `"shape":[1,3],"data":[1,2,3]}],"outputs":[{}]}`, 400, `outputs[0]: "name" is missing`},
		{"f", `{"inputs":[],"parameters":{"timeout":"1"}}`, 400, `parameters.timeout: a string where a whole number`},
		{"s", in(`"datatype":"BYTES","shape":[1,2],"data":["a",1]`), 400, `inputs[0].data[1]: "1" where a string is needed`},
		{"s", in(`"datatype":"BYTES","shape":[1,2],"data":["a"]`), 400, `the list has 1 elements and 2 are needed`},
		{"nope", in(fp32 + `"shape":[1,3],"data":[1,2,3]`), 404, `no model "nope" is in service`},
		{"f/versions/9", in(fp32 + `"shape":[1,3],"data":[1,2,3]`), 404, `has no version 9`},
		{"f/versions/beta", in(fp32 + `"shape":[1,3],"data":[1,2,3]`), 400, `no version with the label "beta"`},
		{"f/versions/0", in(fp32 + `"shape":[1,3],"data":[1,2,3]`), 400, `a version is a whole number from 1 or a label, not "0"`},
		{"f/versions/99999999999999999999", in(fp32 + `"shape":[1,3],"data":[1,2,3]`), 400, `a version is a whole number`},
		{"slow", `{"inputs":[{"name":"in0",` + fp32 + `"shape":[1,3],"data":[1,2,3]}],"parameters":{"timeout":1000}}`, 504, `within the timeout of 1ms`},
	} {
		code, text, h := s.ask(t, "POST", "/v2/models/"+c.model+"/infer", c.body)
		var e struct{ Error string }
		if err := json.Unmarshal([]byte(text), &e); err != nil || code != c.code || !strings.Contains(e.Error, c.want) || h.Get("Content-Type") != "application/json" {
			t.Errorf("%s %s:\n\t%d %s\n\t%d %s", c.model, c.body, code, text, c.code, c.want)
		}
	}
}

func TestABinaryRequestThatDoesNotAddUpIsRefused(t *testing.T) {
	s := open(t)
	head := func(typ string, shape string, size int) string {
		return fmt.Sprintf(`{"inputs":[{"name":"in0","shape":%s,"datatype":%q,"parameters":{"binary_data_size":%d}}]}`, shape, typ, size)
	}
	f := head("FP32", "[1,3]", 12)
	for _, c := range []struct {
		model, head, raw, length string
		code                     int
		want                     string
	}{
		{"f", f, strings.Repeat("\x00", 13), "", 400, `1 bytes after the JSON belong to no input`},
		{"f", f, strings.Repeat("\x00", 11), "", 400, `says binary_data_size 12, and 11 bytes are left`},
		{"f", head("FP32", "[2,3]", 12), strings.Repeat("\x00", 12), "", 400, `of the shape [2, 3] of FP32 has 24 bytes, and 12 came`},
		{"f", head("FP32", "[500000000,3]", 12), strings.Repeat("\x00", 12), "", 413, `more than 1073741824 elements`},
		{"f", f, strings.Repeat("\x00", 12), "99999", 400, `99999 bytes are JSON, and the body has`},
		{"f", f, strings.Repeat("\x00", 12), "-1", 400, `is "-1": it says how many bytes`},
		{"f", f, strings.Repeat("\x00", 12), "x", 400, `is "x": it says how many bytes`},
		{"f", f, strings.Repeat("\x00", 12), "99999999999999999999999", 400, `it says how many bytes`},
		{"f", f, strings.Repeat("\x00", 12), "11", 400, `the end of the body where`},
		{"s", head("BYTES", "[1,2]", 8), "\x00\x00\x00\x00\x05\x00\x00\x00", "", 400, `its string 1 has 5 bytes, and 0 are left`},
		{"s", head("BYTES", "[1,2]", 8), "\x04\x00\x00\x00abcd", "", 400, `ends before the length of its string 1 of 2`},
		{"s", head("BYTES", "[1,1]", 8), "\x00\x00\x00\x00abcd", "", 400, `4 bytes follow the last of its 1 strings`},
		{"s", head("BYTES", "[1000,1000]", 8), "\x00\x00\x00\x00abcd", "", 400, `8 bytes are too few for them`},
		{"s", head("BYTES", "[1,1]", 8), "\xff\xff\xff\xffabcd", "", 400, `has 4294967295 bytes, and 4 are left`},
	} {
		length := c.length
		if length == "" {
			length = strconv.Itoa(len(c.head))
		}
		code, text, _ := s.ask(t, "POST", "/v2/models/"+c.model+"/infer", c.head+c.raw, "Inference-Header-Content-Length", length)
		if code != c.code || !strings.Contains(strings.ReplaceAll(text, `\"`, `"`), c.want) {
			t.Errorf("%s %s %q:\n\t%d %s\n\t%d %s", c.head, length, c.raw, code, text, c.code, c.want)
		}
	}
}

func TestBytesThatAreNoTextAreNotMadeIntoJSON(t *testing.T) {
	s := open(t)
	head := `{"inputs":[{"name":"in0","shape":[1,1],"datatype":"BYTES","parameters":{"binary_data_size":6}}]}`
	code, text, _ := s.ask(t, "POST", "/v2/models/s/infer", head+"\x02\x00\x00\x00\xff\xfe", "Inference-Header-Content-Length", strconv.Itoa(len(head)))
	if code != 400 || !strings.Contains(text, "binary_data") {
		t.Errorf("%d %s", code, text)
	}
}

func TestABodyThatIsSentByHalvesIsRefusedAndTheNextAnswered(t *testing.T) {
	s := open(t)
	head := `{"inputs":[{"name":"in0","shape":[1,3],"datatype":"FP32","parameters":{"binary_data_size":12}}]}`
	for _, sent := range []string{"", head[:20], head, head + "\x00\x00"} {
		c, err := net.Dial("tcp", s.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(c, "POST /v2/models/f/infer HTTP/1.1\r\nHost: localhost\r\nInference-Header-Content-Length: %d\r\nContent-Length: %d\r\n\r\n%s", len(head), len(head)+12, sent)
		if err := c.(*net.TCPConn).CloseWrite(); err != nil {
			t.Fatal(err)
		}
		answer, err := io.ReadAll(c)
		if err != nil || !strings.HasPrefix(string(answer), "HTTP/1.1 400 ") || !strings.Contains(string(answer), "did not arrive whole") {
			t.Errorf("after %d bytes: %s %v", len(sent), answer, err)
		}
		c.Close()
	}
	if code, text, _ := s.ask(t, "POST", "/v2/models/f/infer", head+strings.Repeat("\x00", 12), "Inference-Header-Content-Length", strconv.Itoa(len(head))); code != 200 {
		t.Errorf("%d %s", code, text)
	}
	if code, text, _ := s.ask(t, "POST", "/v2/models/f/infer", strings.Repeat(" ", 1<<20+1)); code != 413 {
		t.Errorf("%d %s", code, text)
	}
}
