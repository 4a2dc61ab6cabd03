package upstream

import (
	"encoding/json"
	"testing"
)

func FuzzTheModelThatABodyNames(f *testing.F) {
	for _, s := range []string{`{"model": "a"}`, `{"messages": [{"model": 1}], "model": "b"}`, `{"model": "a", "model": "b"}`, `{"model": null}`, `[`, `{"a": 1e999, "model": "\u0041"}`, `{"model": "a"} x`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		name, err := modelOf(body)
		if err != nil {
			return
		}
		var whole struct {
			Model string `json:"model"`
		}
		fields := map[string]json.RawMessage{}
		if json.Unmarshal(body, &fields) != nil || json.Unmarshal(fields["model"], &whole.Model) != nil || whole.Model != name || name == "" {
			t.Fatalf("%q names %q, not %q", body, whole.Model, name)
		}
	})
}
