package folder_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lineshaft/lineshaft/internal/clock"
	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/model"
	"github.com/lineshaft/lineshaft/serve"
	"github.com/lineshaft/lineshaft/serve/config"
	"github.com/lineshaft/lineshaft/serve/folder"
	"github.com/lineshaft/lineshaft/serve/tensor"
)

// hall is a folder of versions in service. The file of a version is a number in words, which it answers with.
type hall struct {
	*testing.T
	dir     string
	clock   *clock.Fake
	reg     *folder.Registry
	manager *serve.Manager
	during  atomic.Pointer[func()] // called while a file is read
	loads   atomic.Int64
}

func open(t *testing.T, models ...config.Model) *hall {
	t.Helper()
	h := &hall{T: t, dir: t.TempDir(), clock: clock.NewFake(time.Now().Add(time.Hour))}
	h.reg = folder.New(folder.Options{Clock: h.clock, Retries: 2, UploadLimit: 100})
	h.manager = serve.New(serve.Options{Store: folder.NewStore(), Models: h.reg, Runtime: h.reg.Runtime(h), Clock: h.clock})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- h.manager.Run(ctx) }()
	<-h.manager.Restored()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	if len(models) == 0 {
		models = []config.Model{{}}
	}
	h.configure(models...)
	return h
}

func (h *hall) configure(models ...config.Model) {
	h.Helper()
	for i := range models {
		if models[i].Name == "" {
			models[i].Name = "m"
		}
		if models[i].BasePath == "" {
			models[i].BasePath = h.dir
		}
	}
	if err := h.reg.Configure(models); err != nil {
		h.Fatal(err)
	}
}

// put writes a version's file, an hour ago on the hall's clock unless it is to be fresh.
func (h *hall) put(path, text string) {
	h.Helper()
	path = filepath.Join(h.dir, path)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		h.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		h.Fatal(err)
	}
}

// fresh makes a file one that was written now.
func (h *hall) fresh(path string) {
	h.Helper()
	if err := os.Chtimes(filepath.Join(h.dir, path), time.Time{}, h.clock.Now()); err != nil {
		h.Fatal(err)
	}
}

func (h *hall) look() bool {
	h.Helper()
	return h.reg.Look(context.Background(), h.manager)
}

// answers is what a caller gets who names no version, and the versions that answer.
func (h *hall) answers(want string) {
	h.Helper()
	var all []string
	if s, err := h.manager.Get("m"); err == nil {
		for _, v := range s.Versions {
			if v.State == serve.Available {
				all = append(all, fmt.Sprintf("%d%s", v.Version, strings.Join(append([]string{""}, v.Labels...), "@")))
			}
		}
	}
	got := ask(h.manager, 0) + " of " + strings.Join(all, " ")
	if got != want {
		h.Errorf("answers %s, want %s", got, want)
	}
}

func ask(m *serve.Manager, version int64) string {
	l, err := m.Acquire("m", version, "")
	if err != nil {
		return err.Error()
	}
	defer l.Release()
	c := serve.Call{In: []tensor.Tensor{tensor.Float32s([]float32{0}, 1, 1)}}
	if err := l.Run(context.Background(), &c); err != nil {
		return err.Error()
	}
	return fmt.Sprint(c.Out[0].Float32s()[0])
}

func (h *hall) Load(_ context.Context, _ model.Format, r io.ReaderAt, size int64) (serve.Servable, error) {
	h.loads.Add(1)
	if tree, ok := r.(interface{ FS() fs.FS }); ok {
		b, err := fs.ReadFile(tree.FS(), "saved_model.pb")
		if err != nil {
			return nil, err
		}
		r, size = bytes.NewReader(b), int64(len(b))
	}
	text, err := io.ReadAll(io.NewSectionReader(r, 0, size))
	if err != nil {
		return nil, err
	}
	if during := h.during.Load(); during != nil {
		(*during)()
	}
	n, err := strconv.Atoi(string(text))
	if err != nil {
		return nil, errs.Errorf("test", errs.Invalid, "no number: %q", text)
	}
	return &network{n: float32(n)}, nil
}

type network struct {
	n      float32
	closed atomic.Bool
}

func (n *network) Signature() serve.Signature {
	one := []tensor.Spec{{Name: "x", Type: tensor.Float32, Shape: []int{tensor.Any, 1}}}
	return serve.Signature{Inputs: one, Outputs: one, Batched: true}
}

func (n *network) Run(_ context.Context, c *serve.Call) error {
	if n.closed.Load() {
		return errors.New("used after it was freed")
	}
	c.Out[0] = tensor.Float32s([]float32{n.n}, 1, 1)
	return nil
}
func (*network) MemoryBytes() int64 { return 4 }
func (n *network) Close()           { n.closed.Store(true) }

func TestTheHighestVersionIsServedAndANewOneTakesOver(t *testing.T) {
	h := open(t)
	h.put("1/model.h5", "10")
	h.put("0002/any.keras", "20")
	h.put("readme", "no version")
	h.put("x1/model.h5", "no version")
	h.put("0/model.h5", "no version")
	h.look()
	h.answers("20 of 2")
	h.put("3/model.h5", "30")
	h.look()
	h.answers("30 of 3")
	if err := os.RemoveAll(filepath.Join(h.dir, "3")); err != nil {
		t.Fatal(err)
	}
	h.look()
	h.answers("20 of 2")
}

func TestThePolicyDecidesWhichVersionsAreServed(t *testing.T) {
	h := open(t, config.Model{Policy: config.Policy{All: &config.All{}}})
	for n := 1; n <= 4; n++ {
		h.put(fmt.Sprintf("%d/model.h5", n), fmt.Sprint(n*10))
	}
	h.look()
	h.answers("40 of 4 3 2 1")
	h.configure(config.Model{Policy: config.Policy{Latest: &config.Latest{Versions: 2}}})
	h.look()
	h.answers("40 of 4 3")
	h.configure(config.Model{Policy: config.Policy{Specific: &config.Specific{Versions: []int64{1, 3, 9}}}, Labels: map[string]int64{"stable": 1, "none": 9}})
	h.look()
	h.answers("30 of 3 1@stable")
	h.configure(config.Model{Policy: config.Policy{Specific: &config.Specific{Versions: []int64{1, 3}}}, Labels: map[string]int64{"stable": 3}})
	h.look()
	h.answers("30 of 3@stable 1")
	if n := h.loads.Load(); n != 5 {
		t.Errorf("%d loads, want 5: versions that stay are not read again", n)
	}
}

func TestAFileIsServedWhenItHasRested(t *testing.T) {
	h := open(t)
	h.put("1/model.h5", "1")
	h.fresh("1/model.h5")
	if !h.look() {
		t.Error("nothing is waited for")
	}
	h.answers(`model "m" has no version that answers: version 1 is still being copied of `)
	h.clock.Advance(time.Second)
	h.put("1/model.h5", "12") // it grew
	h.fresh("1/model.h5")
	h.look()
	h.answers(`model "m" has no version that answers: version 1 is still being copied of `)
	h.clock.Advance(time.Second)
	if h.look() {
		t.Error("something is waited for still")
	}
	h.answers("12 of 1")
}

func TestAFileThatChangesWhileItIsReadIsNotServed(t *testing.T) {
	h := open(t)
	h.put("1/model.h5", "10")
	h.put("2/model.h5", "20")
	change := func() {
		h.during.Store(nil)
		h.put("2/model.h5", "205")
		h.fresh("2/model.h5")
	}
	h.during.Store(&change)
	h.look()
	h.answers("10 of 1")
	for range 2 {
		h.clock.Advance(5 * time.Second)
		h.look()
	}
	h.answers("205 of 2")
}

func TestABrokenVersionLeavesTheNextLowerOneAnsweringAndIsTriedAgain(t *testing.T) {
	h := open(t)
	h.put("1/model.h5", "10")
	h.put("2/model.h5", "broken")
	for range 10 {
		h.look()
		h.answers("10 of 1")
	}
	if n := h.loads.Load(); n != 2 {
		t.Errorf("%d loads without a pause", n)
	}
	for range 10 {
		h.clock.Advance(time.Hour)
		h.look()
	}
	if n := h.loads.Load(); n != 4 { // 1, and 2 three times
		t.Errorf("%d loads in all", n)
	}
	h.put("2/model.h5", "20")
	for range 2 {
		h.clock.Advance(time.Second)
		h.look()
	}
	h.answers("20 of 2")
}

func TestAVersionInServiceIsNotReadAgainWhenItsFileChanges(t *testing.T) {
	h := open(t)
	h.put("1/model.h5", "10")
	h.look()
	h.put("1/model.h5", "11")
	for range 3 {
		h.clock.Advance(time.Hour)
		h.look()
		h.answers("10 of 1")
	}
	os.RemoveAll(filepath.Join(h.dir, "1"))
	h.look()
	h.put("1/model.h5", "12")
	h.look()
	h.answers("12 of 1")
}

func TestAFolderThatCannotBeReadTakesNothingOutOfService(t *testing.T) {
	h := open(t)
	h.put("1/model.h5", "10")
	h.look()
	away := h.dir + ".away"
	if err := os.Rename(h.dir, away); err != nil {
		t.Fatal(err)
	}
	h.look()
	h.answers("10 of 1")
	if err := os.Rename(away, h.dir); err != nil {
		t.Fatal(err)
	}
	os.RemoveAll(filepath.Join(h.dir, "1"))
	h.look()
	if got := ask(h.manager, 0); !strings.Contains(got, "no version is in "+h.dir) {
		t.Error(got)
	}
}

func TestWhatIsMissingIsSaid(t *testing.T) {
	h := open(t, config.Model{BasePath: "/nowhere/at/all"})
	says := func(want string) {
		t.Helper()
		h.look()
		if got := ask(h.manager, 0); !strings.Contains(got, want) {
			t.Errorf("%q, want %q", got, want)
		}
	}
	says("the folder /nowhere/at/all is not there")
	h.configure(config.Model{})
	h.put("readme", "")
	says("a version is a folder with a number")
	h.put("model.h5", "5")
	says("model.h5 lies in " + h.dir + " itself: versions are folders with a number, move it to " + h.dir + "/1/model.h5")
	h.put("1/.model.h5.part", "5")
	says("no model is in " + h.dir + "/1 yet")
	h.put("1/a.h5", "5")
	h.put("1/b.keras", "5")
	says("holds several models, a.h5, b.keras")
	h.put("1/model.h5", "6") // one of several that is called model
	h.look()
	h.answers("6 of 1")
	if err := h.reg.Configure([]config.Model{{Name: "m", BasePath: "gs://bucket/m"}}); !errs.Is(err, errs.Unsupported) || !strings.Contains(err.Error(), "only folders of this machine") {
		t.Error(err)
	}
}

func TestASavedModelIsAFolder(t *testing.T) {
	h := open(t)
	h.put("1/saved_model.pb", "7")
	h.put("1/variables/variables.index", "0")
	h.look()
	h.answers("7 of 1")
	h.put("2/saved_model.pb", "8")
	h.put("2/variables/variables.index", "8")
	h.fresh("2/variables/variables.index") // still being written
	h.look()
	h.answers("7 of 1")
	h.clock.Advance(time.Second)
	h.look()
	h.answers("8 of 2")
}

func TestModelsComeAndGoWithTheConfiguration(t *testing.T) {
	h := open(t)
	h.put("1/model.h5", "10")
	h.put("other/1/model.h5", "99")
	if err := h.reg.Reload(t.Context(), h.manager, []config.Model{{Name: "m", BasePath: h.dir}, {Name: "o", BasePath: h.dir + "/other"}}); err != nil {
		t.Fatal(err)
	}
	if got := h.reg.Names(); !slices.Equal(got, []string{"m", "o"}) {
		t.Error(got)
	}
	h.answers("10 of 1")
	err := h.reg.Reload(t.Context(), h.manager, []config.Model{{Name: "m", BasePath: h.dir + "/other"}, {Name: "p", BasePath: h.dir + "/none"}})
	if !errs.Is(err, errs.Unavailable) || !strings.Contains(err.Error(), "none is not there") {
		t.Error(err)
	}
	h.answers("99 of 1") // another folder under the same name and number
	if _, err := h.manager.Get("o"); !errs.Is(err, errs.NotFound) {
		t.Error(err)
	}
}

func TestAnUploadStaysInMemoryAboveAllOthers(t *testing.T) {
	h := open(t)
	h.put("3/model.h5", "30")
	h.look()
	upload := func(text string) (int64, error) {
		return h.reg.Upload(t.Context(), h.manager, "anonymous", "m", "model.keras", strings.NewReader(text))
	}
	if n, err := upload("40"); err != nil || n != 4 {
		t.Fatal(n, err)
	}
	h.answers("40 of 4 3")
	for want, text := range map[string]string{"no number": "forty", "more than 100 bytes": strings.Repeat("1", 101)} {
		if _, err := upload(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Error(err)
		}
		h.answers("40 of 4 3")
	}
	for _, text := range []string{"50", "60"} {
		if _, err := upload(text); err != nil {
			t.Fatal(err)
		}
	}
	h.look()
	h.answers("60 of 6 5 3")
	if _, err := h.reg.Upload(t.Context(), h.manager, "a", "n", "model.h5", strings.NewReader("1")); !errs.Is(err, errs.NotFound) || !strings.Contains(err.Error(), "did you mean m?") {
		t.Error(err)
	}
	if files, _ := filepath.Glob(h.dir + "/*"); len(files) != 1 {
		t.Errorf("the folder has %q", files)
	}
	h.put("6/model.h5", "66") // the folder's takes the place of the upload
	h.look()
	h.answers("66 of 6 5")
	h.put("6/model.h5", "6")
	h.put("5/model.h5", "broken") // and where it is broken, the upload goes on
	h.look()
	h.answers("66 of 6 5")
	if got := ask(h.manager, 5); got != "50" {
		t.Error(got)
	}
}
