//go:build linux

package local

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
)

// Where no control group counts, the shim does: it looks at the processes of its task from time to time. What a task
// does between two looks escapes it; the resource limits of single processes bound that.

// members lists the task's processes: those of its PID namespace, or those that carry its mark.
func (s *shim) members() (pids []int) {
	space := ""
	if s.level.mounts() {
		space, _ = os.Readlink(fmt.Sprintf("/proc/%d/ns/pid", s.init.cmd.Process.Pid))
	}
	for _, pid := range processes() {
		if space != "" {
			if of, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/pid", pid)); err == nil && of == space {
				pids = append(pids, pid)
			}
		} else if marked(pid, s.in.Mark) {
			pids = append(pids, pid)
		}
	}
	return pids
}

// marked tells whether a process began with an attempt's mark in its environment.
func marked(pid int, mark string) bool {
	env, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
	return err == nil && bytes.Contains(env, []byte(markVar+"="+mark+"\x00")) && startOf(pid) != 0
}

// threads counts those of processes, as the kernel's own limits do.
func threads(pids []int) (n int) {
	for _, pid := range pids {
		tasks, _ := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
		n += len(tasks)
	}
	return n
}

// resident is the memory that processes hold, what several share counted once. Reading that is slow, so it is done only
// when the plain sum is above limit.
func resident(pids []int, limit int64) (bytes int64) {
	for _, pid := range pids {
		b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
		if f := strings.Fields(string(b)); len(f) > 1 {
			n, _ := strconv.ParseInt(f[1], 10, 64)
			bytes += n * int64(os.Getpagesize())
		}
	}
	if bytes <= limit {
		return bytes
	}
	bytes = 0
	for _, pid := range pids {
		b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
		for line := range strings.Lines(string(b)) {
			if rest, ok := strings.CutPrefix(line, "Pss:"); ok {
				n, _ := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
				bytes += n << 10
			}
		}
	}
	return bytes
}
