package tfserving_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"strings"
	"testing"
)

// write makes a form as curl -F does and gives its Content-Type.
func write(t testing.TB, w io.Writer, field, name string, content []byte) string {
	t.Helper()
	form := multipart.NewWriter(w)
	if err := form.WriteField("note", "before the file"); err != nil {
		t.Fatal(err)
	}
	part, err := form.CreateFormFile(field, name)
	if err == nil {
		_, err = part.Write(content)
	}
	if err = errors.Join(err, form.Close()); err != nil {
		t.Fatal(err)
	}
	return form.FormDataContentType()
}

func TestAFileIsLoadedFromAFormOrABody(t *testing.T) {
	p := open(t)
	ref := outputs(t, "keras3.json")
	body := `{"instances": ` + encode(t, ref.Inputs) + `}`
	version := 0
	for _, name := range []string{"keras3.h5", "keras3.keras", "keras2.h5"} {
		for _, form := range []bool{true, false} {
			var b bytes.Buffer
			path, kind := "/v1/models/new:LOAD", ""
			if form {
				kind = write(t, &b, "file", "/some where/"+name, keras(t, name))
			} else {
				path, kind = "/v1/models/new:load?filename="+name, "application/x-www-form-urlencoded" // what curl -d says
				b.Write(keras(t, name))
			}
			version++
			code, text := p.ask(t, "POST", path, b.String(), "Content-Type", kind)
			if code != 200 || !strings.Contains(text, fmt.Sprintf(`"version": "%d"`, version)) || !strings.Contains(text, `"AVAILABLE"`) {
				t.Fatalf("%s, form %v: %d %s", name, form, code, text)
			}
			if last := p.loaded[len(p.loaded)-1]; !strings.HasPrefix(last, "anonymous new ") || !strings.HasSuffix(last, name) {
				t.Errorf("%s", last)
			}
			if code, text := p.ask(t, "POST", "/v1/models/new:predict", body); code != 200 {
				t.Errorf("%d %s", code, text)
			} else if name != "keras2.h5" {
				var got struct{ Predictions [][]float32 }
				if err := json.Unmarshal([]byte(text), &got); err != nil {
					t.Fatal(err)
				}
				near(t, name, got.Predictions, ref.Outputs)
			}
		}
	}
}

func TestABadUploadIsRefusedInWords(t *testing.T) {
	p := open(t)
	good := keras(t, "regression.h5")
	var whole bytes.Buffer
	kind := write(t, &whole, "file", "model.h5", good)
	var other, text bytes.Buffer
	otherKind := write(t, &other, "model", "model.h5", good)
	form := multipart.NewWriter(&text)
	if err := errors.Join(form.WriteField("file", "model.h5"), form.Close()); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ what, path, kind, body, says string }{
		{"nothing", "/v1/models/r:load", "", "", "no file is in the request"},
		{"no name", "/v1/models/r:load", "application/octet-stream", string(good), "no file is in the request"},
		{"empty body", "/v1/models/r:load?filename=a.h5", "", "", "the body is empty"},
		{"other field", "/v1/models/r:load", otherKind, other.String(), "no file in the field"},
		{"text field", "/v1/models/r:load", form.FormDataContentType(), text.String(), "write it with an @"},
		{"no boundary", "/v1/models/r:load", "multipart/form-data", whole.String(), "no boundary"},
		{"wrong boundary", "/v1/models/r:load", "multipart/form-data; boundary=zzz", whole.String(), "did not arrive whole"},
		{"cut", "/v1/models/r:load", kind, whole.String()[:whole.Len()-100], "did not arrive whole"},
		{"no end", "/v1/models/r:load", kind, whole.String()[:whole.Len()-70], "did not arrive whole"},
		{"not Keras", "/v1/models/r:load?filename=a.h5", "", "plain text", "neither a Keras"},
		{"damaged", "/v1/models/r:load?filename=a.h5", "", string(good[:len(good)/2]), ""},
	} {
		code, text := p.ask(t, "POST", c.path, c.body, "Content-Type", c.kind)
		if code != 400 || !strings.Contains(text, c.says) {
			t.Errorf("%s: %d %s", c.what, code, text)
		}
	}
	for _, path := range []string{"/v1/models/r/versions/1:load", "/v1/models/r/labels/prod:load"} {
		if code, _ := p.ask(t, "POST", path, whole.String(), "Content-Type", kind); code != 400 {
			t.Errorf("%s: %d", path, code)
		}
	}
	if s, err := p.manager.Get("r"); err != nil || s.Default != 2 {
		t.Errorf("%+v, %v", s, err)
	}
}
