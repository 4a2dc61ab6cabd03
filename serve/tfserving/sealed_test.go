package tfserving_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/lineshaft/lineshaft/internal/testkit"
	"github.com/lineshaft/lineshaft/model"
	"github.com/lineshaft/lineshaft/serve"
	"github.com/lineshaft/lineshaft/serve/runtime"
	"github.com/lineshaft/lineshaft/serve/tfserving"
)

// sealed is the serving port over a real data folder: database, registry and sealed files.
type sealed struct {
	*httptest.Server
	hall     *testkit.Hall
	registry *model.Registry
	manager  *serve.Manager
	stop     func()
}

// openSealed starts one over hall, as often as it is called: each time is a restart.
func openSealed(t *testing.T, hall *testkit.Hall) *sealed {
	t.Helper()
	s := &sealed{hall: hall}
	s.registry = &model.Registry{Store: hall.Store, Blobs: hall.Blobs, Clock: hall.Clock, Check: runtime.Check, Limit: 1 << 20}
	s.manager = serve.New(serve.Options{Store: hall.Store, Models: s.registry, Runtime: runtime.New(runtime.Options{}), Clock: hall.Clock})
	s.registry.Aliased = s.manager.SyncAliases
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.manager.Run(ctx) }()
	<-s.manager.Restored()
	s.Server = httptest.NewServer(tfserving.New(tfserving.Options{
		Manager:     s.manager,
		UploadLimit: 1 << 20,
		Authorize:   func(*http.Request, string, string) (string, error) { return "anonymous", nil },
		Load: func(ctx context.Context, actor, name, filename string, body io.Reader) (int64, error) {
			v, err := s.registry.Upload(ctx, actor, name, filename, body)
			if err == nil {
				_, err = s.manager.Add(ctx, actor, v)
			}
			return v.Version, err
		},
	}))
	s.stop = func() {
		s.Close()
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	return s
}

func TestAnUploadIsSealedServedAndThereAfterARestart(t *testing.T) {
	hall := testkit.NewHall(t)
	s := openSealed(t, hall)
	ref := outputs(t, "keras3.json")
	for range 2 {
		var form bytes.Buffer
		kind := write(t, &form, "file", "model.h5", keras(t, "keras3.h5"))
		if resp, err := http.Post(s.URL+"/v1/models/mnist:load", kind, &form); err != nil || resp.StatusCode != http.StatusOK {
			t.Fatalf("%v %v", resp, err)
		}
	}
	if err := s.registry.SetAlias(t.Context(), "user/ann", "mnist", "prod", 1); err != nil {
		t.Fatal(err)
	}
	plain(t, hall.Dir)
	s.stop()
	again := openSealed(t, hall)
	defer again.stop()
	body := `{"instances": ` + encode(t, ref.Inputs) + `}`
	for path, want := range map[string]int{":predict": 200, "/versions/1:predict": 200, "/labels/prod:predict": 200, "/labels/beta:predict": 400} {
		resp, err := http.Post(again.URL+"/v1/models/mnist"+path, "application/json", strings.NewReader(body))
		if err != nil || resp.StatusCode != want {
			t.Errorf("%s: %v %v", path, resp, err)
		}
	}
	plain(t, hall.Dir)
}

// plain looks for a piece of the model in every file of the folder.
func plain(t *testing.T, dir string) {
	t.Helper()
	model := keras(t, "keras3.h5")
	pieces := [][]byte{[]byte("model_config"), model[len(model)-2000 : len(model)-1900]}
	files := 0
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		files++
		b, err := os.ReadFile(path)
		for _, piece := range pieces {
			if bytes.Contains(b, piece) {
				t.Errorf("%s holds plain bytes of the model", path)
			}
		}
		return err
	})
	if err != nil || files < 3 {
		t.Errorf("%d files, %v", files, err)
	}
}

func TestAFlippedBitIsFoundAndTheOldVersionAnswersOn(t *testing.T) {
	hall := testkit.NewHall(t)
	s := openSealed(t, hall)
	defer s.stop()
	v, err := s.registry.Upload(t.Context(), "user/ann", "mnist", "a.h5", bytes.NewReader(keras(t, "regression.h5")))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.manager.Deploy(t.Context(), "user/ann", "mnist", v.Version); err != nil {
		t.Fatal(err)
	}
	before := hall.Sealed(t)
	if _, err := s.registry.Upload(t.Context(), "user/ann", "mnist", "a.h5", bytes.NewReader(keras(t, "regression.h5"))); err != nil {
		t.Fatal(err)
	}
	for _, path := range hall.Sealed(t) {
		if strings.Join(before, " ") != path {
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			b[len(b)/2] ^= 1
			if err := os.WriteFile(path, b, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	if _, err := s.manager.Deploy(t.Context(), "user/ann", "mnist", 2); err == nil {
		t.Fatal("a flipped bit was not found")
	}
	resp, err := http.Post(s.URL+"/v1/models/mnist:predict", "", strings.NewReader(`{"instances": [`+twelve("1")+`]}`))
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Errorf("%v %v", resp, err)
	}
	text, _ := s.manager.Get("mnist")
	if len(text.Versions) != 2 || text.Versions[0].State != serve.End || text.Versions[0].Error == "" {
		t.Errorf("%+v", text.Versions)
	}
}

func TestAnUploadWhoseClientGoesAwayLeavesNothing(t *testing.T) {
	hall := testkit.NewHall(t)
	s := openSealed(t, hall)
	var form bytes.Buffer
	kind := write(t, &form, "file", "model.h5", keras(t, "keras3.h5"))
	for _, sent := range []int{0, 50, 300, 20_000, form.Len() - 70} { // the last lacks half of the closing boundary
		c, err := net.Dial("tcp", s.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(c, "POST /v1/models/mnist:load HTTP/1.1\r\nHost: localhost\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s", kind, form.Len(), form.Bytes()[:sent])
		if err := c.(*net.TCPConn).CloseWrite(); err != nil {
			t.Fatal(err)
		}
		answer, err := io.ReadAll(c)
		if err != nil || !strings.HasPrefix(string(answer), "HTTP/1.1 400 ") || !strings.Contains(string(answer), "did not arrive whole") {
			t.Errorf("after %d bytes: %s %v", sent, answer, err)
		}
		c.Close()
	}
	s.stop()
	if list, err := hall.Store.ListModels(t.Context(), "", 10); err != nil || len(list) != 0 || len(hall.Sealed(t)) != 0 {
		t.Errorf("%v %v, files %v", list, err, hall.Sealed(t))
	}
}
