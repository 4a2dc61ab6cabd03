package api_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/lineshaft/lineshaft/train/compress"
)

func TestAVersionIsCompressedOnTheDataThatIsNamed(t *testing.T) {
	h := furnished(t)
	r, err := h.client("dan").Compress(t.Context(), "mnist", 1, compress.Request{To: "bf16", Sparsity: 0.5, Data: "digits"}, false)
	if err != nil || r.Version.Version != 2 || r.Version.Creator != "user/dan" || r.Report.Data != "digits@1" || r.Report.Change != "50 % of the weights pruned, weights in bf16" {
		t.Errorf("%+v, %v", r, err)
	}
	const path = "/api/v1/models/mnist/versions/1/compress"
	for body, c := range map[string]struct {
		code int
		says string
	}{
		`{"to":"int8"}`:                              {http.StatusBadRequest, "name the data set"},
		`{"data":"digits"}`:                          {http.StatusBadRequest, "nothing is asked for"},
		`{"to":"int8","data":"nope"}`:                {http.StatusNotFound, "no data set"},
		`{"to":"int8","data":"digits","speed":"up"}`: {http.StatusBadRequest, "speed"},
	} {
		if a := h.as("dan", "POST", path, body); a.code != c.code || !strings.Contains(a.body, c.says) {
			t.Errorf("%s: %d %s", body, a.code, a.body)
		}
	}
}
