package keras_test

import (
	"archive/zip"
	"bytes"
	"runtime"
	"strings"
	"testing"

	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/nn/keras"
)

// archive packs a configuration and a weights file as a .keras file.
func archive(t *testing.T, config string, weights []byte, method uint16) []byte {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for name, body := range map[string][]byte{"config.json": []byte(config), "model.weights.h5": weights} {
		f, err := z.CreateHeader(&zip.FileHeader{Name: name, Method: method})
		if err != nil {
			t.Fatal(err)
		}
		f.Write(body)
	}
	z.Close()
	return b.Bytes()
}

func sequential(layers string) string {
	return `{"class_name":"Sequential","config":{"name":"s","layers":[{"class_name":"InputLayer","config":{"name":"i","batch_shape":[null,64]}},` + layers + `]}}`
}

func TestAHostileArchiveIsRefusedBeforeItTakesMemory(t *testing.T) {
	dense := func(units string) string {
		return `{"class_name":"Dense","config":{"name":"d","units":` + units + `,"activation":"linear"}}`
	}
	for name, file := range map[string][]byte{
		"more weights than the file can hold": archive(t, sequential(dense("4000000")), nil, zip.Store),
		"a row wider than any":                archive(t, sequential(dense("8000000")), nil, zip.Store),
		"negative units":                      archive(t, sequential(dense("-8000000")), nil, zip.Store),
		"weights that unpack without end":     archive(t, sequential(dense("4")), make([]byte, 200<<20), zip.Deflate),
		"a million layers":                    archive(t, sequential(strings.Repeat(`{"class_name":"Flatten","config":{"name":"f"}},`, 100_000)+dense("4")), nil, zip.Deflate),
		"an axis that is none":                archive(t, sequential(`{"class_name":"BatchNormalization","config":{"name":"b","axis":[0,1,2]}}`), nil, zip.Store),
		"a mean for each of nothing":          archive(t, sequential(`{"class_name":"Normalization","config":{"name":"b","axis":[-1],"mean":[1,2],"variance":[]}}`), nil, zip.Store),
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := keras.Read(bytes.NewReader(file), int64(len(file)))
		runtime.ReadMemStats(&after)
		if err == nil || errs.KindOf(err) == errs.Other {
			t.Errorf("%s: got %v", name, err)
		}
		if took := after.TotalAlloc - before.TotalAlloc; took > 128<<20 {
			t.Errorf("%s: took %d MiB", name, took>>20)
		}
	}
}

func TestAFlippedBitOfTheWeightsInAnArchiveIsFound(t *testing.T) {
	b := bytes.Clone(load(t, "keras3.keras"))
	at := bytes.Index(b, []byte("\x89HDF")) + 8000
	b[at] ^= 1
	if _, err := keras.Read(bytes.NewReader(b), int64(len(b))); !errs.Is(err, errs.Invalid) || !strings.Contains(err.Error(), "damaged") {
		t.Errorf("got %v", err)
	}
}
