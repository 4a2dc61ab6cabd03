package kserve_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/lineshaft/lineshaft/serve"
)

func TestTheServerAndItsModelsAreDescribed(t *testing.T) {
	s := open(t)
	for path, want := range map[string]string{
		"/v2":                        `{"name":"lineshaft","version":"1.2.3","extensions":["classification","model_repository","model_repository(unload_dependents)","model_configuration","statistics","binary_tensor_data","schedule_policy"]}`,
		"/v2/health/live":            `{"live":true}`,
		"/v2/health/ready":           `{"ready":true}`,
		"/v2/models":                 `{"models":["all","f","s","slow"]}`,
		"/v2/models/f/ready":         `{"name":"f","ready":true}`,
		"/v2/models/f":               `{"name":"f","versions":["1","2"],"platform":"keras","inputs":[{"name":"in0","datatype":"FP32","shape":[-1,3]}],"outputs":[{"name":"out0","datatype":"FP32","shape":[-1,3]}]}`,
		"/v2/models/f/versions/prod": `{"name":"f","versions":["1"],"platform":"keras","inputs":[{"name":"in0","datatype":"FP32","shape":[-1,3]}],"outputs":[{"name":"out0","datatype":"FP32","shape":[-1,3]}]}`,
		"/v2/models/f/config": `{"name":"f","platform":"keras","backend":"lineshaft","max_batch_size":1024,"input":[{"name":"in0","data_type":"TYPE_FP32","dims":[3]}],` +
			`"output":[{"name":"out0","data_type":"TYPE_FP32","dims":[3]}],"dynamic_batching":{}}`,
		"/v2/models/s/versions/1/config": `{"name":"s","platform":"keras","backend":"lineshaft","max_batch_size":0,"input":[{"name":"in0","data_type":"TYPE_STRING","dims":[-1,-1]}],` +
			`"output":[{"name":"out0","data_type":"TYPE_STRING","dims":[-1,-1]}]}`,
	} {
		code, text, _ := s.ask(t, "GET", path, "")
		var got, expect any
		if json.Unmarshal([]byte(text), &got) != nil || json.Unmarshal([]byte(want), &expect) != nil || code != 200 || encode(t, got) != encode(t, expect) {
			t.Errorf("%s: %d %s", path, code, text)
		}
	}
	for path, want := range map[string]int{
		"/v2/models/nope": 404, "/v2/models/nope/ready": 404, "/v2/models/f/versions/7/ready": 404, "/v2/models/f/versions/": 404, "/v2/models/": 404,
		"/v2/models/f/x": 404, "/v2/x": 404, "/v2/trace/setting": 501, "/v2/systemsharedmemory/status": 501, "/v2/models/f/infer": 404,
	} {
		if code, text, _ := s.ask(t, "GET", path, ""); code != want || !strings.HasPrefix(text, `{"error":"`) {
			t.Errorf("%s: %d %s", path, code, text)
		}
	}
}

func TestTheConfigurationTellsHowAModelsRequestsAreJoined(t *testing.T) {
	s := open(t)
	if _, err := s.manager.SetBatching(t.Context(), "user/ann", "f", &serve.Batching{MaxRows: 32, Preferred: []int{8, 16}}); err != nil {
		t.Fatal(err)
	}
	code, text, _ := s.ask(t, "GET", "/v2/models/f/config", "")
	var got struct {
		Max     int `json:"max_batch_size"`
		Dynamic struct {
			Preferred []int `json:"preferred_batch_size"`
		} `json:"dynamic_batching"`
	}
	if err := json.Unmarshal([]byte(text), &got); err != nil || code != 200 || got.Max != 32 || fmt.Sprint(got.Dynamic.Preferred) != "[8 16]" {
		t.Errorf("%d %s", code, text)
	}
}

func encode(t testing.TB, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestWhoMayNotReadLearnsNothing(t *testing.T) {
	s := open(t)
	s.denied = "read"
	for _, path := range []string{"/v2", "/v2/models/f", "/v2/models/f/ready", "/v2/models/f/config", "/v2/models/f/stats"} {
		if code, text, _ := s.ask(t, "GET", path, ""); code != 403 {
			t.Errorf("%s: %d %s", path, code, text)
		}
	}
	if code, text, _ := s.ask(t, "GET", "/v2/models/stats", ""); code != 200 || strings.Contains(text, `"f"`) {
		t.Errorf("%d %s", code, text)
	}
	if code, text, _ := s.ask(t, "POST", "/v2/repository/index", ""); code != 200 || strings.Contains(text, `"f"`) || !strings.Contains(text, "spare") {
		t.Errorf("%d %s", code, text)
	}
	for _, denied := range []string{"deploy", "load"} {
		s.denied = denied
		if code, text, _ := s.ask(t, "POST", "/v2/repository/models/spare/load", "{}"); code != 403 {
			t.Errorf("load without %s: %d %s", denied, code, text)
		}
	}
	s.denied = "deploy"
	if code, text, _ := s.ask(t, "POST", "/v2/repository/models/f/unload", ""); code != 403 {
		t.Errorf("unload: %d %s", code, text)
	}
	s.denied = "predict"
	if code, text, _ := s.ask(t, "POST", "/v2/models/f/infer", "not even read"); code != 403 {
		t.Errorf("infer: %d %s", code, text)
	}
}

type index []struct{ Name, Version, State, Reason string }

func (s *served) index(t testing.TB, body string) string {
	t.Helper()
	code, text, _ := s.ask(t, "POST", "/v2/repository/index", body)
	var all index
	if err := json.Unmarshal([]byte(text), &all); err != nil || code != 200 {
		t.Fatalf("%d %s", code, text)
	}
	out := ""
	for _, v := range all {
		out += v.Name + ":" + v.Version + " " + v.State + "\n"
	}
	return out
}

func TestModelsAreBroughtIntoServiceAndTakenOut(t *testing.T) {
	s := open(t)
	served := "all:1 READY\nf:2 READY\nf:1 READY\ns:1 READY\nslow:1 READY\n"
	if got := s.index(t, ""); got != served+"spare:2 UNAVAILABLE\n" {
		t.Errorf("\n%s", got)
	}
	if got := s.index(t, `{"ready": true}`); got != served {
		t.Errorf("\n%s", got)
	}
	steps := []struct {
		call, body string
		code       int
		want       string
	}{
		{"load", `{"parameters":{"config":"{\"version_policy\":{\"specific\":{\"versions\":[1]}}}"}}`, 200, "spare:1 READY"},
		{"load", ``, 200, "spare:2 READY"},
		{"load", `{"parameters":{"config":"{}","file:1/model.h5":"` + base64.StdEncoding.EncodeToString([]byte("f")) + `"}}`, 200, "spare:3 READY"},
		{"load", `{"parameters":{"file:1/model.h5":"` + base64.StdEncoding.EncodeToString([]byte("broken")) + `"}}`, 400, "spare:3 READY"},
		{"load", `{"parameters":{"file:1/model.h5":"!"}}`, 400, "spare:3 READY"},
		{"load", `{"parameters":{"file:1/a":"","file:1/b":""}}`, 501, "spare:3 READY"},
		{"load", `{"parameters":{"config":7}}`, 400, "spare:3 READY"},
		{"load", `{"parameters":{"config":"{\"version_policy\":{\"specific\":{\"versions\":[1,2]}}}"}}`, 400, "spare:3 READY"},
		{"load", `{"parameters":{"config":"{\"version_policy\":{\"specific\":{\"versions\":[\"x\"]}}}"}}`, 400, "spare:3 READY"},
		{"load", `{`, 400, "spare:3 READY"},
		{"unload", `{"parameters":{"unload_dependents":false}}`, 200, "spare:2 UNAVAILABLE"},
		{"unload", ``, 404, "spare:2 UNAVAILABLE"},
	}
	for _, step := range steps {
		code, text, _ := s.ask(t, "POST", "/v2/repository/models/spare/"+step.call, step.body)
		if got := s.index(t, ""); code != step.code || !strings.Contains(got, step.want) {
			t.Errorf("%s %s: %d %s\n%s", step.call, step.body, code, text, got)
		}
	}
	if code, text, _ := s.ask(t, "POST", "/v2/repository/models/nope/load", ""); code != 404 {
		t.Errorf("%d %s", code, text)
	}
}

func TestStatisticsTellWhatAVersionDid(t *testing.T) {
	s := open(t)
	row := `{"inputs":[{"name":"in0","datatype":"FP32","shape":[2,3],"data":[1,2,3,4,5,6]}]}`
	for range 3 {
		s.ask(t, "POST", "/v2/models/f/infer", row)
	}
	s.ask(t, "POST", "/v2/models/f/infer", `{}`)
	type stat struct{ Count, NS int64 }
	var got struct {
		Stats []struct {
			Name, Version  string
			LastInference  int64           `json:"last_inference"`
			InferenceCount int64           `json:"inference_count"`
			ExecutionCount int64           `json:"execution_count"`
			Stats          map[string]stat `json:"inference_stats"`
		} `json:"model_stats"`
	}
	code, text, _ := s.ask(t, "GET", "/v2/models/f/versions/2/stats", "")
	if err := json.Unmarshal([]byte(text), &got); err != nil || code != 200 || len(got.Stats) != 1 {
		t.Fatalf("%d %s", code, text)
	}
	v := got.Stats[0]
	if v.Name != "f" || v.Version != "2" || v.InferenceCount != 6 || v.ExecutionCount != 3 || v.LastInference < 1e12 || v.Stats["success"].Count != 3 || v.Stats["fail"].Count != 1 ||
		v.Stats["success"].NS < v.Stats["compute_infer"].NS+v.Stats["compute_input"].NS+v.Stats["compute_output"].NS || v.Stats["compute_input"].NS == 0 {
		t.Errorf("%s", text)
	}
	for path, want := range map[string]int{"/v2/models/f/stats": 2, "/v2/models/stats": 5, "/v2/models/f/versions/prod/stats": 1} {
		if _, text, _ := s.ask(t, "GET", path, ""); strings.Count(text, `"inference_stats"`) != want {
			t.Errorf("%s: %s", path, text)
		}
	}
	if code, text, _ := s.ask(t, "GET", "/v2/models/f/versions/9/stats", ""); code != 404 {
		t.Errorf("%d %s", code, text)
	}
}

func TestMetricsHaveTheNamesThatTritonsAndKServesUsersChart(t *testing.T) {
	s := open(t)
	for range 3 {
		s.ask(t, "POST", "/v2/models/f/infer", `{"inputs":[{"name":"in0","datatype":"FP32","shape":[2,3],"data":[1,2,3,4,5,6]}]}`)
	}
	s.ask(t, "POST", "/v2/models/f/infer", `{}`)
	r := prometheus.NewPedanticRegistry()
	r.MustRegister(s.manager.Metrics())
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, family := range families {
		for _, m := range family.Metric {
			labels := ""
			for _, l := range m.Label {
				labels += " " + l.GetValue()
			}
			got[family.GetName()+labels] = m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
		}
	}
	for series, want := range map[string]float64{
		"nv_inference_request_success f 2": 3, "nv_inference_request_failure f OTHER 2": 1, "nv_inference_count f 2": 6, "nv_inference_exec_count f 2": 3,
		"nv_inference_pending_request_count f 2": 0, "request_predict_seconds f": 4, "request_preprocess_seconds f": 3, "request_postprocess_seconds f": 3,
	} {
		if v, ok := got[series]; !ok || v != want {
			t.Errorf("%s: %v, %v", series, v, ok)
		}
	}
	for _, name := range []string{"request", "queue", "compute_input", "compute_infer", "compute_output"} {
		if _, ok := got["nv_inference_"+name+"_duration_us f 2"]; !ok {
			t.Errorf("no nv_inference_%s_duration_us", name)
		}
	}
}
