package console

import (
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"testing/fstest"
)

func built() http.Handler {
	return handler{files: fstest.MapFS{
		"index.html":              {Data: []byte(`<html><meta property="csp-nonce" nonce="__NONCE__">app</html>`)},
		"assets/index-a1b2.js":    {Data: []byte("console.log(1)")},
		"assets/index-a1b2.js.gz": {Data: []byte("packed")},
		"first.js":                {Data: []byte("1")},
		".keep":                   {},
	}}
}

func get(t *testing.T, h http.Handler, target string, header ...string) (*http.Response, string) {
	t.Helper()
	r := httptest.NewRequest(http.MethodGet, target, nil)
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	body, err := io.ReadAll(w.Result().Body)
	if err != nil {
		t.Fatal(err)
	}
	return w.Result(), string(body)
}

func TestEveryPageOfTheApplicationIsItsIndexWithANonceOfItsOwn(t *testing.T) {
	nonces := map[string]bool{}
	for _, target := range []string{"/", "/jobs/12", "/models/net.v2", "/signin", "/index.html", "/.keep", "/../../etc/passwd"} {
		res, body := get(t, built(), target)
		if res.StatusCode != http.StatusOK || !strings.Contains(body, "app</html>") {
			t.Errorf("%s: status %d, body %q", target, res.StatusCode, body)
		}
		nonce := regexp.MustCompile(`nonce="([\w-]{20,})"`).FindStringSubmatch(body)
		if nonce == nil || !strings.Contains(res.Header.Get("Content-Security-Policy"), "'nonce-"+nonce[1]+"'") {
			t.Fatalf("%s: body %q has not the nonce of the policy %q", target, body, res.Header.Get("Content-Security-Policy"))
		}
		if nonces[nonce[1]] {
			t.Errorf("%s: nonce %s came twice", target, nonce[1])
		}
		nonces[nonce[1]] = true
	}
}

func TestAFileWithItsHashInItsNameIsKeptForAYear(t *testing.T) {
	res, body := get(t, built(), "/assets/index-a1b2.js")
	if body != "console.log(1)" || !strings.Contains(res.Header.Get("Cache-Control"), "immutable") || !strings.HasPrefix(res.Header.Get("Content-Type"), "text/javascript") {
		t.Errorf("body %q, header %v", body, res.Header)
	}
	res, body = get(t, built(), "/assets/index-a1b2.js", "Accept-Encoding", "gzip, br")
	if body != "packed" || res.Header.Get("Content-Encoding") != "gzip" || !strings.HasPrefix(res.Header.Get("Content-Type"), "text/javascript") {
		t.Errorf("packed: body %q, header %v", body, res.Header)
	}
	if res, _ = get(t, built(), "/first.js"); res.Header.Get("Cache-Control") != "no-cache" {
		t.Errorf("first.js: Cache-Control %q", res.Header.Get("Cache-Control"))
	}
}

func TestAFileOfAnotherBuildIsNotFoundInsteadOfAPage(t *testing.T) {
	for _, target := range []string{"/assets/index-old.js", "/favicon.png"} {
		if res, _ := get(t, built(), target); res.StatusCode != http.StatusNotFound {
			t.Errorf("%s: status %d", target, res.StatusCode)
		}
	}
}

func TestABinaryWithoutTheConsoleSaysHowToBuildIt(t *testing.T) {
	res, body := get(t, handler{files: fstest.MapFS{".keep": {}}}, "/jobs")
	if res.StatusCode != http.StatusOK || !strings.Contains(body, "make build") || !strings.Contains(body, "控制台") || strings.Contains(body, placeholder) {
		t.Errorf("status %d, body %q", res.StatusCode, body)
	}
}

func TestOnlyReadingIsServed(t *testing.T) {
	w := httptest.NewRecorder()
	Handler().ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/", nil))
	if w.Code != http.StatusMethodNotAllowed {
		t.Errorf("status %d", w.Code)
	}
}
