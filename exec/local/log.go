//go:build linux

package local

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/lineshaft/lineshaft/exec"
	"github.com/lineshaft/lineshaft/internal/errs"
)

// logSize is how long a part of a log may become; the newest two parts are kept. A part is named by the offset in the
// whole log at which it begins, so that an offset means the same before and after a rotation.
const logSize = 16 << 20

const logPrefix = "log."

// rotating is an attempt's log: what the program writes, in parts.
type rotating struct {
	mu    sync.Mutex
	dir   string
	f     *os.File
	start int64 // of the part
	size  int64
}

func newLog(dir string) (*rotating, error) {
	r := &rotating{dir: dir}
	return r, r.open(0)
}

func (r *rotating) open(start int64) error {
	f, err := os.OpenFile(filepath.Join(r.dir, logPrefix+strconv.FormatInt(start, 10)), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	if r.f != nil {
		r.f.Close()
	}
	r.f, r.start, r.size = f, start, 0
	return nil
}

// Write never fails: a full disk costs log lines, not the task.
func (r *rotating) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.size+int64(len(p)) > logSize && r.size > 0 {
		before := r.start
		if r.open(r.start+r.size) == nil {
			for _, part := range logParts(r.dir) {
				if part < before {
					os.Remove(filepath.Join(r.dir, logPrefix+strconv.FormatInt(part, 10)))
				}
			}
		}
	}
	n, _ := r.f.Write(p)
	r.size += int64(n)
	return len(p), nil
}

// logParts lists the offsets of the parts that are kept, in order.
func logParts(dir string) (starts []int64) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil
	}
	for _, e := range entries {
		if rest, ok := strings.CutPrefix(e.Name(), logPrefix); ok {
			if n, err := strconv.ParseInt(rest, 10, 64); err == nil {
				starts = append(starts, n)
			}
		}
	}
	slices.Sort(starts)
	return starts
}

// Logs reads the log from an offset on. What has been rotated away is passed over. follow goes on until the attempt has
// ended.
func (l *Local) Logs(ctx context.Context, ref exec.TaskRef, offset int64, follow bool) (io.ReadCloser, error) {
	dir := l.folder(ref)
	if !exists(filepath.Join(dir, intentFile)) {
		return nil, errs.Errorf("local.Logs", errs.NotFound, "nothing is kept of attempt %v on this machine; the files of old jobs are removed (keep-jobs in the configuration)", ref)
	}
	if offset < 0 {
		return nil, errs.Errorf("local.Logs", errs.Invalid, "a log has no offset %d: they count from 0", offset)
	}
	return &tail{ctx: ctx, dir: dir, l: l, ref: ref, follow: follow, at: offset}, nil
}

// tail reads the parts one after another, and the last one as it grows.
type tail struct {
	ctx    context.Context //nolint:containedctx // the life of the reading
	dir    string
	l      *Local
	ref    exec.TaskRef
	follow bool
	at     int64 // offset in the whole log
	f      *os.File
	start  int64 // of the part that is open
	over   bool
}

func (t *tail) Read(p []byte) (int, error) {
	for {
		if err := t.ctx.Err(); err != nil {
			return 0, errs.E("local.Logs", errs.Other, err)
		}
		if t.f == nil {
			t.enter()
		}
		if t.f != nil {
			n, err := t.f.Read(p)
			t.at += int64(n)
			if n > 0 {
				return n, nil
			}
			if err != nil && !errors.Is(err, io.EOF) {
				return 0, errs.E("local.Logs", errs.Other, err)
			}
			if t.passed() {
				continue
			}
		}
		if !t.follow || t.over {
			return 0, io.EOF
		}
		st, err := t.l.Status(t.ref)
		// One more read after the end: what was written last may have come since the read above.
		t.over = err != nil || st.State == exec.Exited || st.State == exec.Lost
		if !t.over {
			select {
			case <-t.ctx.Done():
			case <-time.After(100 * time.Millisecond):
			}
		}
	}
}

// enter opens the part that holds the offset, or the first after it.
func (t *tail) enter() {
	parts := logParts(t.dir)
	for i, start := range parts {
		if i+1 < len(parts) && parts[i+1] <= t.at {
			continue
		}
		f, err := os.Open(filepath.Join(t.dir, logPrefix+strconv.FormatInt(start, 10)))
		if err != nil {
			continue // rotated away just now
		}
		t.at = max(t.at, start)
		if _, err := f.Seek(t.at-start, io.SeekStart); err != nil {
			f.Close()
			return
		}
		t.f, t.start = f, start
		return
	}
}

// passed leaves a part that was read to its end when a later one is there. The part may have grown between its last
// read and the rotation, so it is left only once the offset says that nothing of it is left.
func (t *tail) passed() bool {
	for _, start := range logParts(t.dir) {
		if start <= t.start {
			continue
		}
		if st, err := t.f.Stat(); err == nil && t.at < t.start+st.Size() {
			return true // read on
		}
		t.f.Close()
		t.f = nil
		t.at = max(t.at, start)
		return true
	}
	return false
}

// Close ends the reading.
func (t *tail) Close() error {
	if t.f != nil {
		t.f.Close()
		t.f = nil
	}
	return nil
}
