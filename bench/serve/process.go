package main

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// cpuOf is the CPU time, in user and kernel, of a process, its living descendants and those it has waited for.
func cpuOf(pid int) (time.Duration, error) {
	parents := map[int]int{}
	ticks := map[int]int64{}
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return 0, err
	}
	for _, path := range stats {
		text, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended
		}
		// The name in parentheses may hold anything; the fields begin after the last one.
		f := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
		id, err := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		if err != nil || len(f) < 15 {
			continue
		}
		parents[id], _ = strconv.Atoi(f[1])
		for _, field := range f[11:15] { // utime stime cutime cstime
			n, err := strconv.ParseInt(field, 10, 64)
			if err != nil {
				return 0, fmt.Errorf("%s: %w", path, err)
			}
			ticks[id] += n
		}
	}
	if _, ok := ticks[pid]; !ok {
		return 0, fmt.Errorf("the server (process %d) has ended", pid)
	}
	sum := int64(0)
	for id := range ticks {
		for up := id; up > 1; up = parents[up] {
			if up == pid {
				sum += ticks[id]
				break
			}
		}
	}
	const tick = 10 * time.Millisecond // USER_HZ is 100 on every Linux that Go runs on
	return time.Duration(sum) * tick, nil
}

// process starts a server, in a process group of its own, with its output in a file.
func process(ctx context.Context, dir, name string, cmd *exec.Cmd) (stop func(), log string, err error) {
	log = filepath.Join(dir, name+".log")
	f, err := os.Create(log)
	if err != nil {
		return nil, "", err
	}
	defer f.Close()
	cmd.Stdout, cmd.Stderr = f, f
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return nil, "", err
	}
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait() // its end is what is waited for, not how it ended
		close(ended)
	}()
	return func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) // it may have ended
		select {
		case <-ended:
		case <-time.After(10 * time.Second):
			_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
			<-ended
		}
	}, log, ctx.Err()
}

// await asks until the server answers.
func await(ctx context.Context, log string, ready func() error) error {
	var err error
	for range 1200 {
		if err = ready(); err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
	text, _ := os.ReadFile(log)
	return fmt.Errorf("it did not begin to answer within a minute: %w\n%s", err, text[max(0, len(text)-2000):])
}

// freeAddr is a loopback address that nobody listens on now.
func freeAddr() (string, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return ln.Addr().String(), ln.Close()
}
