package tfserving_test

import (
	"strings"
	"testing"

	"github.com/lineshaft/lineshaft/serve/tfserving"
)

func TestWarmUpRequestsAreReadInThreeForms(t *testing.T) {
	for body, want := range map[string]int{
		`{"instances": [1]}`:                                1,
		`[{"instances": [1]}, {"inputs": {"a": 1}}]`:        2,
		`{"requests": [{"instances": [1]}, {"inputs": 3}]}`: 2,
	} {
		all, err := tfserving.WarmRequests([]byte(body))
		if err != nil || len(all) != want {
			t.Errorf("%s: %s, %v", body, all, err)
		}
	}
	for body, says := range map[string]string{
		``: "no JSON", `[]`: "0 warm-up requests", `{"requests": []}`: "0 warm-up requests", `{"requests": 3}`: "no JSON",
		`[3]`: "request 1 is no body", `{"rows": []}`: "request 1 is no body", `[` + strings.Repeat(`{"inputs":1},`, 1000) + `{"inputs":1}]`: "1001 warm-up requests",
	} {
		if _, err := tfserving.WarmRequests([]byte(body)); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%.30s: %v; want %q", body, err, says)
		}
	}
}

func FuzzWarmRequests(f *testing.F) {
	f.Add([]byte(`{"requests": [{"instances": [1]}]}`))
	f.Add([]byte(`[{"inputs": 3}]`))
	f.Fuzz(func(t *testing.T, body []byte) {
		all, err := tfserving.WarmRequests(body)
		if err == nil && (len(all) == 0 || len(all) > 1000) {
			t.Errorf("%d requests", len(all))
		}
	})
}
