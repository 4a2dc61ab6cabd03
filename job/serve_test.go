package job_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/job"
)

func TestAServiceSaysHowItIsAskedAndScaled(t *testing.T) {
	s, err := job.Parse([]byte("name: chat\nkind: service\ncommand: [x, '--port={port}']\nserve: {concurrency: 4}\nscale: {min: 0, max: 3}\n"))
	if err != nil {
		t.Fatal(err)
	}
	if v := s.Serve; v.Model != "chat" || v.Port != job.AutoPort || v.Health != "/health" || v.Protocol != "http" || v.Balance != "p2c" {
		t.Errorf("%+v", v)
	}
	j := job.Job{Spec: s}
	if got := j.Argv(job.Task{Port: 30123}); !slices.Equal(got, []string{"x", "--port=30123"}) {
		t.Error(got)
	}
	if _, err := job.Parse([]byte("name: a\nkind: service\ncommand: [x]\nserve: {port: 9000}\n")); err != nil {
		t.Errorf("a port as a number: %v", err)
	}
	for what, c := range map[string]string{
		"of a command job":  "kind: command\nserve: {}",
		"port of many":      "kind: service\ntasks: 2\nserve: {port: 9000}",
		"port that grows":   "kind: service\nserve: {port: 9000, concurrency: 1}\nscale: {min: 1, max: 2}",
		"low port":          "kind: service\nserve: {port: 80}",
		"no port":           "kind: service\nserve: {port: http}",
		"health":            "kind: service\nserve: {health: health}",
		"protocol":          "kind: service\nserve: {protocol: grpc}",
		"balance":           "kind: service\nserve: {balance: best}",
		"scale alone":       "kind: service\nscale: {min: 1, max: 2}",
		"scale of nothing":  "kind: service\nserve: {concurrency: 1}\nscale: {min: 0, max: 0}",
		"scale turned over": "kind: service\nserve: {concurrency: 1}\nscale: {min: 3, max: 2}",
		"scale unknowing":   "kind: service\nserve: {}\nscale: {min: 1, max: 2}",
		"no network":        "kind: service\nserve: {}\nisolation: {network: none}",
		"a strange name":    "kind: service\nserve: {model: ../x}",
	} {
		if _, err := job.Parse([]byte("name: a\ncommand: [x]\n" + c + "\n")); !errs.Is(err, errs.Invalid) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func FuzzAPort(f *testing.F) {
	for _, s := range []string{`9000`, `"auto"`, `"9000"`, `null`, `{}`, `1e4`, `-1`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var p job.Port
		if json.Unmarshal([]byte(text), &p) == nil {
			if b, err := json.Marshal(p); err != nil || !strings.HasPrefix(string(b), `"`) {
				t.Fatalf("%q: %s, %v", text, b, err)
			}
		}
	})
}
