package job_test

import (
	"encoding/json"
	"testing"

	"github.com/lineshaft/lineshaft/job"
)

func TestAcceleratorModelsReadAsOneAsAlternativesAndAsAList(t *testing.T) {
	for text, want := range map[string]string{
		`{"model":"A100"}`:            `{"model":"A100"}`,
		`{"model":"A100 | H100"}`:     `{"model":"A100|H100"}`,
		`{"model":["A100","H100"]}`:   `{"model":"A100|H100"}`,
		`{"model":""}`:                `{}`,
		`{"model":null}`:              `{}`,
		`{"model":[]}`:                `{}`,
		`{"model":["A100 ",""," B"]}`: `{"model":"A100||B"}`, // refused by Validate
	} {
		var r job.Resources
		if err := json.Unmarshal([]byte(text), &r); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		if got, _ := json.Marshal(r); string(got) != want {
			t.Errorf("%s reads as %s, want %s", text, got, want)
		}
	}
	if err := json.Unmarshal([]byte(`{"model":7}`), new(job.Resources)); err == nil {
		t.Error("a number is taken for a model")
	}
}
