//go:build linux

package local_test

import (
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"testing"

	"github.com/lineshaft/lineshaft/exec"
	"github.com/lineshaft/lineshaft/exec/local"
	"github.com/lineshaft/lineshaft/internal/units"
)

// asTalker sends to, or receives from, an address as much as it can.
func asTalker(way, addr string) {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("talks")
	if way == "send" {
		io.Copy(c, zeros{})
	} else {
		io.Copy(io.Discard, c)
	}
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { return len(b), nil }

// listener takes all that it is sent, and sends as much as is taken.
func listener(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go io.Copy(io.Discard, c)
			go func() { io.Copy(c, zeros{}); c.Close() }()
		}
	}()
	return ln.Addr().String()
}

// bounded tells whether the kernel bounds traffic for this process as a server: it does for one that is root.
func bounded() bool { return os.Getuid() == 0 && local.FirstID() != 0 }

func TestTrafficIsBoundedInBothDirectionsAndTheBoundChanges(t *testing.T) {
	everyLevel(t, func(t *testing.T, at string) {
		l, err := local.New(local.Looped(local.At(local.Options{Dir: filepath.Join(t.TempDir(), "tasks")}, at)))
		if err != nil {
			t.Fatal(err)
		}
		addr := listener(t)
		for i, way := range []string{"send", "receive"} {
			tk := task(fmt.Sprint(i+1), 1, "")
			tk.Argv = []string{exec.Self, "as-talker", way, addr}
			tk.Limits.Bandwidth = 4e6
			starts(t, l, tk)
			says(t, l, tk.Ref, "talks")
			st, err := l.Status(tk.Ref)
			if err != nil || enforced(st, "bandwidth-limit") != bounded() {
				t.Fatalf("%+v %v", st.Isolation, err)
			}
			if !bounded() {
				u := until(t, l, tk.Ref, "measured", func(exec.Usage) bool { return true })
				if u.Networked || u.Limits.Bandwidth != 0 {
					t.Errorf("%+v", u)
				}
				continue
			}
			rate := func(u exec.Usage) units.BitsPerSecond { return max(u.Send, u.Receive) }
			u := until(t, l, tk.Ref, "bounded", func(u exec.Usage) bool { return u.Dropped > 0 && rate(u) > 0 && u.Span.Seconds() > 1.5 })
			if rate(u) > 8e6 || u.Limits.Bandwidth != 4e6 || !u.Networked {
				t.Errorf("%s: %+v", way, u)
			}
			if err := l.Adjust(t.Context(), tk.Ref, exec.Limits{Bandwidth: 1e9}); err != nil {
				t.Fatal(err)
			}
			u = until(t, l, tk.Ref, "faster", func(u exec.Usage) bool { return rate(u) > 16e6 })
			if u.Limits.Bandwidth != 1e9 {
				t.Errorf("%s: %+v", way, u)
			}
		}
	})
}

func TestTheLoopbackIsNoTraffic(t *testing.T) {
	everyLevel(t, func(t *testing.T, at string) {
		l, _ := hall(t, at)
		tk := task("1", 1, "")
		tk.Argv = []string{exec.Self, "as-talker", "send", listener(t)}
		tk.Limits.Bandwidth = 1000
		starts(t, l, tk)
		says(t, l, tk.Ref, "talks")
		u := until(t, l, tk.Ref, "busy", func(u exec.Usage) bool { return u.CPUSeconds > 0.1 })
		if u.Sent != 0 || u.Received != 0 || u.Dropped != 0 || u.Networked != bounded() {
			t.Errorf("%+v", u)
		}
	})
}

func TestATaskWithoutNetworkNeedsNoBound(t *testing.T) {
	t.Parallel()
	l, _ := hall(t, "")
	tk := task("1", 1, "true")
	tk.Network, tk.Limits.Bandwidth = false, 1e6
	if _, st := run(t, l, tk); !enforced(st, "bandwidth-limit") {
		t.Errorf("%+v", st.Isolation)
	}
}

func TestNothingIsLeftOfTheGroupsOfATask(t *testing.T) {
	t.Parallel()
	l, _ := hall(t, "")
	tk := task("groups", 1, "true")
	run(t, l, tk)
	wait(t, l, tk.Ref)
	if err := l.Remove(t.Context(), tk.Ref); err != nil { // waits for the shim
		t.Fatal(err)
	}
	left, err := filepath.Glob("/sys/fs/cgroup/*/lineshaft/groups-0-1-*")
	if err != nil || len(left) > 0 {
		t.Errorf("%v %v", left, err)
	}
}
