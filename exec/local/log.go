//go:build linux

package local

import (
	"os"
	"path/filepath"
	"sync"
)

// logSize is how long a log may become before it is rotated; one older part is kept.
const logSize = 16 << 20

// rotating is an attempt's log: what the program writes, in two files of at most logSize each.
type rotating struct {
	mu   sync.Mutex
	path string
	f    *os.File
	size int64
}

func newLog(dir string) (*rotating, error) {
	path := filepath.Join(dir, "log")
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	return &rotating{path: path, f: f, size: st.Size()}, nil
}

// Write never fails: a full disk costs log lines, not the task.
func (r *rotating) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.size+int64(len(p)) > logSize && r.size > 0 {
		if os.Rename(r.path, r.path+".1") == nil {
			if f, err := os.OpenFile(r.path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600); err == nil {
				r.f.Close()
				r.f, r.size = f, 0
			}
		}
	}
	n, _ := r.f.Write(p)
	r.size += int64(n)
	return len(p), nil
}
