// Package native runs HiGHS's own program, which the user named, as a child process for each solve. It knows files and
// processes; what stands in the files is package solve's.
//
// A child gets a private folder (0700), which is gone when Run returns, and a bare environment. Its memory, its files'
// size and its life are bounded: it ends with the context, with this process, or where it takes more than it may.
package native

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/internal/units"
)

// DefaultMemory of a solve, as much as the solver that Lineshaft carries has.
const DefaultMemory = units.GiB

const (
	logKept     = 64 << 10 // bytes of the log's end: the report stands there
	problemKept = 4 << 10  // of standard error's
	askTime     = 20 * time.Second
	drainTime   = 5 * time.Second // for a grandchild that holds the pipes
)

// Program is a HiGHS program that has said its version. Its methods may be called from any goroutine.
type Program struct {
	path    string
	version string
	memory  units.Bytes
	env     []string
}

// Open asks the program at path for its version. The path is taken as it is and never searched for; memory is the most
// that one solve may take, DefaultMemory when 0. Errors name the path and how another is set.
func Open(ctx context.Context, path string, memory units.Bytes) (*Program, error) {
	const op = "native.Open"
	const other = "name a HiGHS program with `highs:` in the configuration, LINESHAFT_HIGHS or --highs, or none for the solver that Lineshaft carries"
	full, err := filepath.Abs(path)
	if err != nil {
		return nil, errs.E(op, errs.Invalid, err)
	}
	if memory == 0 {
		memory = DefaultMemory
	}
	p := &Program{path: full, memory: memory, env: environment(full)}
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	out, _, err := p.child(ctx, "", 1<<20, "--version")
	if err != nil {
		return nil, errs.Errorf(op, errs.Invalid, "%s does not work as HiGHS's program: %w; %s", full, err, other)
	}
	m := said.FindSubmatch(out)
	if m == nil {
		return nil, errs.Errorf(op, errs.Invalid, "%s is not HiGHS's program: --version says %q; %s", full, firstLine(out), other)
	}
	p.version = string(m[1])
	return p, nil
}

var said = regexp.MustCompile(`HiGHS version (\d+(?:\.\d+){1,3})\b`)

func firstLine(b []byte) string {
	line, _, _ := strings.Cut(strings.TrimSpace(string(b)), "\n")
	return line[:min(len(line), 80)]
}

// environment is what a child sees: no secrets, one thread for linear algebra, and the libraries that lie beside the
// program's folder, as in the archives that HiGHS is published in.
func environment(path string) []string {
	libraries := os.Getenv("LD_LIBRARY_PATH")
	if lib := filepath.Join(filepath.Dir(filepath.Dir(path)), "lib"); hasHighs(lib) {
		libraries = strings.TrimSuffix(lib+":"+libraries, ":")
	}
	env := []string{"LC_ALL=C", "OMP_NUM_THREADS=1", "OPENBLAS_NUM_THREADS=1", "PATH=" + os.Getenv("PATH")}
	if libraries != "" {
		env = append(env, "LD_LIBRARY_PATH="+libraries)
	}
	return env
}

func hasHighs(lib string) bool {
	found, err := filepath.Glob(filepath.Join(lib, "libhighs.so*"))
	return err == nil && len(found) > 0
}

// Version is HiGHS's, such as 1.15.1.
func (p *Program) Version() string { return p.version }

// Path is where the program lies.
func (p *Program) Path() string { return p.path }

// Run solves: model is in free MPS, options in HiGHS's form, start a solution file to begin with, "" for none. It gives
// the solution file, of at most limit bytes, and the end of the log.
func (p *Program) Run(ctx context.Context, model, options, start string, limit int64) (solution, log []byte, err error) {
	const op = "native.Run"
	dir, err := os.MkdirTemp("", "lineshaft-highs-") // 0700
	if err != nil {
		return nil, nil, errs.E(op, errs.Unavailable, err)
	}
	defer func() {
		if gone := os.RemoveAll(dir); err == nil && gone != nil {
			err = errs.E(op, errs.Unavailable, gone)
		}
	}()
	args := []string{"--options_file", "options", "--solution_file", "solution"}
	files := map[string]string{"model.mps": model, "options": options}
	if start != "" {
		files["start"] = start
		args = append(args, "--read_solution_file", "start")
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			return nil, nil, errs.E(op, errs.Unavailable, err)
		}
	}
	log, problem, ran := p.child(ctx, dir, limit, append(args, "model.mps")...)
	const warned = 1 // HiGHS's exit code where it had something to say and solved all the same
	var exit *exec.ExitError
	switch {
	case ran == nil || errors.As(ran, &exit) && exit.ExitCode() == warned && errs.KindOf(ran) != errs.Exhausted:
	case ctx.Err() != nil || errs.KindOf(ran) == errs.Exhausted:
		return nil, nil, ran
	default:
		return nil, nil, errs.Errorf(op, errs.Other, "%s: %w", p.path, ran)
	}
	f, err := os.Open(filepath.Join(dir, "solution"))
	if err != nil {
		return nil, nil, errs.Errorf(op, errs.Other, "%s left no solution: %s", p.path, lastLines(problem, log))
	}
	defer f.Close()
	solution, err = io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(solution)) > limit {
		err = errs.Errorf(op, errs.Corrupt, "%s left a solution of more than %d bytes", p.path, limit)
	}
	return solution, log, err
}

// child runs the program in dir and gives the ends of what it printed. Files that it writes have at most size bytes.
func (p *Program) child(ctx context.Context, dir string, size int64, args ...string) (out, problem []byte, err error) {
	const op = "native.child"
	cmd := exec.CommandContext(ctx, p.path, args...)
	cmd.Dir, cmd.Env, cmd.WaitDelay = dir, p.env, drainTime
	cmd.SysProcAttr = attributes()
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) } // a wrapper's children too
	o, e := &tail{most: logKept}, &tail{most: problemKept}
	cmd.Stdout, cmd.Stderr = o, e
	runtime.LockOSThread() // the child ends with the thread that started it
	defer runtime.UnlockOSThread()
	if err := cmd.Start(); err != nil {
		if ctx.Err() == nil {
			return nil, nil, err
		}
		return nil, nil, ended(ctx)
	}
	// The limits come a moment after the start, before the program has read anything.
	limited := limit(cmd.Process.Pid, map[int]uint64{unix.RLIMIT_AS: uint64(p.memory), unix.RLIMIT_FSIZE: uint64(size), unix.RLIMIT_CORE: 0})
	if limited != nil {
		_ = cmd.Cancel() // it may have ended by itself
	}
	err = cmd.Wait()
	_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // what it left behind, if anything
	switch {
	case ctx.Err() != nil:
		return nil, nil, ended(ctx)
	case limited != nil:
		return nil, nil, errs.Errorf(op, errs.Unsupported, "its memory cannot be limited: %w", limited)
	case starved(err, o.b, e.b):
		return nil, nil, errs.Errorf(op, errs.Exhausted, "the solver needs more than the %d MiB of memory it may use; make the problem smaller", p.memory/units.MiB)
	case err != nil:
		return o.b, e.b, errs.Errorf(op, errs.Other, "%w: %s", err, lastLines(e.b, o.b))
	}
	return o.b, e.b, nil
}

func ended(ctx context.Context) error {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return errs.E("native.child", errs.Timeout, errors.New("the solver did not finish in the time given"))
	}
	return errs.E("native.child", errs.Canceled, errors.New("the solver was interrupted"))
}

// starved tells whether the program failed for want of memory.
func starved(err error, texts ...[]byte) bool {
	if err == nil {
		return false
	}
	for _, t := range texts {
		for _, sign := range []string{"bad_alloc", "emory allocation", "annot allocate memory", "failed to map segment", "Memory limit reached"} {
			if bytes.Contains(t, []byte(sign)) {
				return true
			}
		}
	}
	return false
}

// lastLines is the end of the first text that has one, on one line.
func lastLines(texts ...[]byte) string {
	for _, t := range texts {
		lines := strings.FieldsFunc(string(t), func(r rune) bool { return r == '\n' || r == '\r' })
		if len(lines) > 0 {
			s := strings.Join(lines[max(0, len(lines)-3):], "; ")
			return strings.ToValidUTF8(s[max(0, len(s)-400):], "")
		}
	}
	return "it says nothing"
}

// tail keeps the end of what is written.
type tail struct {
	b    []byte
	most int
}

func (t *tail) Write(b []byte) (int, error) {
	t.b = append(t.b, b[max(0, len(b)-t.most):]...)
	if extra := len(t.b) - t.most; extra > 0 {
		t.b = append(t.b[:0], t.b[extra:]...)
	}
	return len(b), nil
}
