package port_test

import (
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/serve/port"
)

func TestPathsGoToTheProtocolTheyBelongToAndForeignPagesToNone(t *testing.T) {
	p := port.New(port.Options{})
	say := func(word string) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, word) })
	}
	s := httptest.NewServer(p.Handler(say("general"), map[string]http.Handler{"v2": say("special")}))
	defer s.Close()
	for path, want := range map[string]string{"/v2": "special", "/v2/models/m": "special", "/v22": "general", "/v1/v2": "general", "/": "general"} {
		resp, err := http.Get(s.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		b, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if string(b) != want {
			t.Errorf("%s: %s", path, b)
		}
	}
	r, _ := http.NewRequest(http.MethodGet, s.URL+"/v2", nil)
	r.Header.Set("Origin", "http://evil.example")
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	b, _ := io.ReadAll(resp.Body)
	resp.Body.Close()
	if resp.StatusCode != http.StatusForbidden || !strings.HasPrefix(string(b), `{"error":"`) {
		t.Errorf("%d %s", resp.StatusCode, b)
	}
}

// body is a request with a body, of a length that is told or not.
func body(b []byte, told bool, encoding string) *http.Request {
	r := httptest.NewRequest(http.MethodPost, "/", bytes.NewReader(b))
	if !told {
		r.ContentLength = -1
	}
	if encoding != "" {
		r.Header.Set("Content-Encoding", encoding)
	}
	return r
}

func TestABodyIsReadInPartsWhateverItCameAs(t *testing.T) {
	plain := bytes.Repeat([]byte("0123456789"), 300)
	var gz, zl bytes.Buffer
	g, z := gzip.NewWriter(&gz), zlib.NewWriter(&zl)
	for _, w := range []io.WriteCloser{g, z} {
		if _, err := w.Write(plain); err != nil || w.Close() != nil {
			t.Fatal(err)
		}
	}
	for encoding, b := range map[string][]byte{"": plain, "identity": plain, "gzip": gz.Bytes(), "deflate": zl.Bytes()} {
		for _, told := range []bool{true, false} {
			for _, first := range []int{0, 7, 2999, 3000} {
				p := port.New(port.Options{BodyLimit: 3000})
				r := body(b, told, encoding)
				held, err := p.Open(r)
				if err != nil {
					t.Fatal(err)
				}
				head, err := p.ReadN(r, nil, first)
				if err != nil {
					t.Fatal(err)
				}
				rest, err := p.Read(r, []byte("before"), first)
				if err != nil || string(head)+strings.TrimPrefix(string(rest), "before") != string(plain) {
					t.Errorf("%q, length told %v, first %d: %v, %d and %d bytes", encoding, told, first, err, len(head), len(rest))
				}
				p.Close(held)
			}
		}
	}
}

func TestABodyThatIsTooLargeOrTooShortOrNoneIsRefused(t *testing.T) {
	p := port.New(port.Options{BodyLimit: 100, InFlight: 150})
	for _, told := range []bool{true, false} {
		if _, err := p.Read(body(make([]byte, 101), told, ""), nil, 0); !errs.Is(err, errs.TooLarge) {
			t.Errorf("101 bytes, told %v: %v", told, err)
		}
		if _, err := p.ReadN(body(make([]byte, 50), told, ""), nil, 60); !errs.Is(err, errs.Invalid) {
			t.Errorf("60 of 50 bytes, told %v: %v", told, err)
		}
		if _, err := p.ReadN(body(make([]byte, 50), told, ""), nil, 101); !errs.Is(err, errs.TooLarge) {
			t.Errorf("101 of 50 bytes, told %v: %v", told, err)
		}
	}
	if _, err := p.Read(body(make([]byte, 51), false, ""), nil, 50); !errs.Is(err, errs.TooLarge) {
		t.Errorf("51 bytes after 50: %v", err)
	}
	if _, err := p.Read(httptest.NewRequest(http.MethodPost, "/", half{}), nil, 0); !errs.Is(err, errs.Invalid) || !strings.Contains(fmt.Sprint(err), "did not arrive whole") {
		t.Errorf("half a body: %v", err)
	}
	for encoding, want := range map[string]errs.Kind{"gzip": errs.Invalid, "deflate": errs.Invalid, "br": errs.Invalid} {
		if _, err := p.Open(body([]byte("plain"), true, encoding)); !errs.Is(err, want) {
			t.Errorf("%s: %v", encoding, err)
		}
	}
}

type half struct{}

func (half) Read([]byte) (int, error) { return 0, errors.New("reset by peer") }

func TestBodiesInMemoryAreBoundedTogether(t *testing.T) {
	p := port.New(port.Options{BodyLimit: 100, InFlight: 250})
	var held int64
	for i := range 3 {
		n, err := p.Open(body(nil, false, "")) // may become as long as is allowed
		if i == 2 != errs.Is(err, errs.Exhausted) {
			t.Fatalf("request %d: %v", i, err)
		}
		held += n
	}
	p.Close(held)
	if _, err := p.Open(body(make([]byte, 100), true, "")); err != nil {
		t.Error(err)
	}
}
