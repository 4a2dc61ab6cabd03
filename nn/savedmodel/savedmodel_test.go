package savedmodel_test

import (
	"bytes"
	"testing"

	"github.com/lineshaft/lineshaft/nn"
	"github.com/lineshaft/lineshaft/nn/savedmodel"
)

func write(t *testing.T, n *nn.Network) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := savedmodel.Write(&b, n); err != nil {
		t.Fatal(n.Name, err)
	}
	return b.Bytes()
}
