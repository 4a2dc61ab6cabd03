package web_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/internal/web"
)

func ask(t *testing.T, method, host string, header map[string]string, opts web.Options) *httptest.ResponseRecorder {
	t.Helper()
	h := web.Guard(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "in") }), opts)
	r := httptest.NewRequest(method, "http://placeholder/v1/models/m", nil)
	r.Host = host
	for k, v := range header {
		r.Header.Set(k, v)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func TestOnlyLoopbackHostsAreAnswered(t *testing.T) {
	for _, host := range []string{"localhost", "localhost:8501", "LocalHost:1", "127.0.0.1:8501", "127.1.2.3", "[::1]:8501", "::1"} {
		if w := ask(t, "POST", host, nil, web.Options{}); w.Code != 200 {
			t.Errorf("Host %q: %d %s", host, w.Code, w.Body)
		}
	}
	for _, host := range []string{"", "evil.example", "evil.example:8501", "localhost.evil.example", "127.0.0.1.evil.example", "10.0.0.1", "0.0.0.0:8501", "localhost@evil.example", "[::2]:1"} {
		w := ask(t, "GET", host, nil, web.Options{})
		if w.Code != 403 || !strings.Contains(w.Body.String(), `"kind":"denied"`) {
			t.Errorf("Host %q: %d %s", host, w.Code, w.Body)
		}
	}
	if w := ask(t, "GET", "hall.example:443", nil, web.Options{Hosts: []string{"hall.example"}}); w.Code != 200 {
		t.Errorf("a host that is configured is refused: %d", w.Code)
	}
}

func TestAForeignPageIsRefused(t *testing.T) {
	const host = "localhost:8080"
	for origin, want := range map[string]int{
		"http://localhost:8080": 200, "https://localhost:8080": 200, "http://localhost:5173": 200,
		"http://localhost:8501": 403, "http://127.0.0.1:8080": 403, "https://evil.example": 403, "null": 403,
		"file://localhost:8080": 403, "http://localhost:8080.evil.example": 403, "http://": 403, "%zz": 403,
	} {
		for _, method := range []string{"GET", "POST", "OPTIONS"} {
			if w := ask(t, method, host, map[string]string{"Origin": origin}, web.Options{Origins: []string{"http://localhost:5173"}}); w.Code != want {
				t.Errorf("%s with Origin %q: %d, want %d", method, origin, w.Code, want)
			}
		}
	}
}

func TestABrowserMayFollowALinkButNotFetchForAnotherSite(t *testing.T) {
	for _, c := range []struct {
		method, site, mode string
		want               int
	}{
		{"GET", "none", "navigate", 200},
		{"GET", "same-origin", "cors", 200},
		{"GET", "cross-site", "navigate", 200},
		{"GET", "cross-site", "no-cors", 403},
		{"GET", "same-site", "no-cors", 403},
		{"POST", "cross-site", "navigate", 403},
	} {
		w := ask(t, c.method, "localhost", map[string]string{"Sec-Fetch-Site": c.site, "Sec-Fetch-Mode": c.mode}, web.Options{})
		if w.Code != c.want {
			t.Errorf("%+v: %d", c, w.Code)
		}
	}
}

func TestARefusalHasTheServersOwnForm(t *testing.T) {
	w := ask(t, "GET", "evil.example", nil, web.Options{Refuse: func(w http.ResponseWriter, _ *http.Request, err error) {
		http.Error(w, "own: "+err.Error(), http.StatusForbidden)
	}})
	if w.Code != 403 || !strings.HasPrefix(w.Body.String(), "own: the request names the host") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

func TestAServerEchoesBodiesOfAnySizeOverOneConnection(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := web.NewServer(web.Guard(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		if err != nil || r.Context().Err() != nil {
			t.Errorf("%v, %v", err, r.Context().Err())
		}
		fmt.Fprint(w, len(b))
	}), web.Options{}), nil)
	done := make(chan error, 1)
	go func() { done <- srv.Serve(web.Listener(ln)) }()
	for _, size := range []int{0, 1, 1000, 3 << 20} {
		for _, chunked := range []bool{false, true} {
			var body io.Reader = strings.NewReader(strings.Repeat("x", size))
			if chunked {
				body = io.MultiReader(body)
			}
			resp, err := http.Post("http://"+ln.Addr().String(), "text/plain", body)
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(resp.Body)
			resp.Body.Close()
			if err != nil || string(got) != fmt.Sprint(size) {
				t.Errorf("size %d, chunked %v: %q, %v", size, chunked, got, err)
			}
		}
	}
	if err := srv.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != http.ErrServerClosed { //nolint:errorlint // documented as returned bare
		t.Fatal(err)
	}
}

func TestAHalfSentBodyEndsInAnErrorWhenTheClientGoes(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	read := make(chan error, 1)
	srv := web.NewServer(web.Guard(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, err := io.ReadAll(r.Body)
		read <- err
	}), web.Options{}), nil)
	go srv.Serve(web.Listener(ln))
	defer srv.Close()
	c, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	w := bufio.NewWriter(c)
	fmt.Fprint(w, "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\nhalf")
	w.Flush()
	c.Close()
	select {
	case err := <-read:
		if err == nil {
			t.Error("half a body was taken for a whole one")
		}
	case <-time.After(10 * time.Second):
		t.Error("the handler never heard of it")
	}
}

func TestAnUploadThatIsRefusedHalfwayIsToldWhy(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := web.NewServer(web.Guard(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.ReadFull(r.Body, make([]byte, 1000)); err != nil {
			t.Error(err)
		}
		web.WriteError(w, errs.Errorf("test", errs.Full, "the disk is full"))
	}), web.Options{}), nil)
	go srv.Serve(web.Listener(ln))
	defer srv.Close()
	for _, expect := range []string{"", "Expect: 100-continue\r\n"} {
		c, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		const size = 32 << 20
		fmt.Fprintf(c, "POST / HTTP/1.1\r\nHost: localhost\r\n%sContent-Length: %d\r\n\r\n", expect, size)
		// A client that sends all before it reads anything, as simple ones do.
		if n, err := c.Write(make([]byte, size)); err != nil {
			t.Fatalf("%q: the connection broke after %d bytes: %v", expect, n, err)
		}
		r := bufio.NewReader(c)
		resp, err := http.ReadResponse(r, nil)
		if err == nil && resp.StatusCode == http.StatusContinue {
			resp, err = http.ReadResponse(r, nil)
		}
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(resp.Body)
		if resp.StatusCode != http.StatusInsufficientStorage || !strings.Contains(string(b), "the disk is full") || err != nil {
			t.Errorf("%q: %d %s %v", expect, resp.StatusCode, b, err)
		}
	}
}
