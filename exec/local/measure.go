//go:build linux

package local

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/lineshaft/lineshaft/exec"
	"github.com/lineshaft/lineshaft/internal/units"
)

// The shim measures what its task uses and writes it to the file usage, from which servers read; it carries out what
// servers wrote to limits.json when they signal that they did. So both go on whatever becomes of the server.

const (
	measureEvery = 500 * time.Millisecond
	ratesOver    = 2 * time.Second // that rates are means of
)

// order is a change of an attempt's limits, as written down by a server.
type order struct {
	Number int64       `json:"number"` // rising
	Limits exec.Limits `json:"limits"`
}

// gauge is what the shim tells.
type gauge struct {
	Usage   exec.Usage
	Order   int64  // the newest that was carried out
	Trouble string // why it could not be
}

// sample is the counters at one time.
type sample struct {
	at        time.Time
	cpu       float64 // seconds
	periods   float64 // of the quota, in which it was throttled
	waited    float64 // seconds in which some of it waited for a processor
	networked bool
	sent      int64 // bytes
	received  int64
	dropped   int64
}

// moment is what was used at one time.
type moment struct {
	at   time.Time
	used exec.Recent
}

// meter measures one attempt.
type meter struct {
	s       *shim
	w       *watch
	file    *os.File
	samples []sample
	window  []moment // what was used of late, oldest first
	said    gauge
	next    time.Time
}

func newMeter(s *shim, w *watch) *meter {
	m := &meter{s: s, w: w}
	m.said.Usage = exec.Usage{Ref: s.in.Task.Ref, Limits: s.holds(s.in.Task.Limits)}
	// Without the file nobody is told, and the attempt runs all the same.
	m.file, _ = os.OpenFile(filepath.Join(s.dir, usageFile), os.O_CREATE|os.O_WRONLY, 0o600)
	return m
}

// holds is what of some limits this machine can hold and change.
func (s *shim) holds(l exec.Limits) exec.Limits {
	if s.group.Path == "" {
		l.CPU, l.Memory = 0, 0
	}
	if s.traffic == nil {
		l.Bandwidth = 0
	}
	return l
}

// look measures, when it is time.
func (m *meter) look(now time.Time) {
	if now.Before(m.next) {
		return
	}
	m.next = now.Add(measureEvery)
	m.measure(now)
	m.tell()
}

func (m *meter) measure(now time.Time) {
	u := &m.said.Usage
	var pids []int
	if m.s.group.Path == "" {
		pids = m.s.members()
	}
	c := m.s.counters(pids)
	c.at = now
	for len(m.samples) > 1 && now.Sub(m.samples[1].at) >= ratesOver {
		m.samples = m.samples[1:]
	}
	m.samples = append(m.samples, c)
	u.Time, u.CPUSeconds = now.UTC(), c.cpu
	u.Memory = m.s.memory(pids)
	u.Peak = max(u.Peak, u.Memory)
	u.Disk, u.Storage = units.Bytes(m.w.scratch), units.Bytes(m.w.left)
	u.Networked, u.Received, u.Sent, u.Dropped = c.networked, units.Bytes(c.received), units.Bytes(c.sent), units.Bytes(c.dropped)
	first := m.samples[0]
	if u.Span = c.at.Sub(first.at); u.Span <= 0 {
		return
	}
	over := u.Span.Seconds()
	u.CPU = max(0, c.cpu-first.cpu) / over
	u.Waiting = min(1, max(0, c.waited-first.waited)/over)
	u.Throttled = min(1, max(0, c.periods-first.periods)*period/1e6/over)
	u.Receive, u.Send = bits(c.received-first.received, over), bits(c.sent-first.sent, over)
	m.recall(now)
}

func bits(bytes int64, over float64) units.BitsPerSecond {
	return units.BitsPerSecond(float64(max(0, bytes)) * 8 / over)
}

// recall tells the most that was used in the window.
func (m *meter) recall(now time.Time) {
	u := &m.said.Usage
	m.window = append(m.window, moment{now, exec.Recent{
		CPU: u.CPU + u.Waiting, Memory: u.Memory, Disk: u.Disk, Storage: u.Storage, Bandwidth: max(u.Send, u.Receive),
	}})
	for len(m.window) > 1 && now.Sub(m.window[0].at) > m.s.in.Window {
		m.window = m.window[1:]
	}
	r := exec.Recent{Over: now.Sub(m.window[0].at)}
	for _, w := range m.window {
		r.CPU, r.Memory, r.Disk = max(r.CPU, w.used.CPU), max(r.Memory, w.used.Memory), max(r.Disk, w.used.Disk)
		r.Storage, r.Bandwidth = max(r.Storage, w.used.Storage), max(r.Bandwidth, w.used.Bandwidth)
	}
	u.Recent = r
}

// tell writes what was measured, in place: nothing is lost with it, and on a full disk there is room for it.
func (m *meter) tell() {
	if m.file == nil {
		return
	}
	b, err := json.Marshal(m.said)
	if err != nil {
		return
	}
	line := fmt.Appendf(nil, "%08x %s", crc32.ChecksumIEEE(b), b)
	if pad := usageRoom - len(line); pad > 0 {
		line = append(line, bytes.Repeat([]byte{' '}, pad)...)
	}
	m.file.WriteAt(line, 0) //nolint:errcheck // told again in half a second
}

// usageRoom is the size of the file usage: longer than all that is written there.
const usageRoom = 4096

// readGauge reads what a shim told. It may be writing just now.
func readGauge(dir string) (g gauge, err error) {
	for range 5 {
		var b []byte
		if b, err = os.ReadFile(filepath.Join(dir, usageFile)); err != nil {
			return g, err
		}
		sum, body, ok := bytes.Cut(bytes.TrimRight(b, " "), []byte{' '})
		if ok && string(sum) == fmt.Sprintf("%08x", crc32.ChecksumIEEE(body)) {
			return g, json.Unmarshal(body, &g)
		}
		err = errors.New("it does not read whole")
		time.Sleep(2 * time.Millisecond)
	}
	return g, err
}

// counters reads what only rises.
func (s *shim) counters(pids []int) (c sample) {
	if s.group.Path == "" {
		for _, pid := range pids {
			c.cpu += ticksOf(pid)
		}
	} else {
		c.cpu, c.periods = s.group.cpuSeconds(), float64(s.group.counter("nr_throttled", "cpu.stat"))
	}
	for _, g := range []cgroup{s.group, s.pressed} {
		c.waited = max(c.waited, g.waited())
	}
	if s.traffic != nil {
		c.waited = max(c.waited, s.traffic.group.waited())
	}
	switch {
	case !s.in.Task.Network && s.level.mounts():
		c.networked = true // its own loopback is all it has
	case s.traffic != nil:
		out, err1 := s.traffic.read(outward)
		in, err2 := s.traffic.read(inward)
		c.networked = errors.Join(err1, err2) == nil
		c.sent, c.received, c.dropped = int64(out.Passed), int64(in.Passed), int64(out.Dropped+in.Dropped)
	}
	return c
}

// ticksOf is the processor time of a process and of its children that have ended, in seconds.
func ticksOf(pid int) float64 {
	const perSecond = 100 // USER_HZ, on every architecture that Go knows
	f := statFields(pid)
	var sum float64
	for i := 11; i <= 14 && i < len(f); i++ { // utime stime cutime cstime, after the state
		n, _ := strconv.ParseFloat(string(f[i]), 64)
		sum += n
	}
	return sum / perSecond
}

// memory is what the task holds, without what the kernel could drop at once.
func (s *shim) memory(pids []int) units.Bytes {
	if s.group.Path == "" {
		return units.Bytes(resident(pids, math.MaxInt64))
	}
	return units.Bytes(s.group.workingSet())
}

// cpuSeconds is the processor time of all that ran in the group.
func (g cgroup) cpuSeconds() float64 {
	if g.V2 {
		return float64(g.counter("usage_usec", "cpu.stat")) / 1e6
	}
	return float64(number(filepath.Join(g.Root, "cpuacct", g.Path, "cpuacct.usage"))) / 1e9
}

// waited is for how long some of the group waited for a processor, for its quota's sake or for others'. Version 2 alone
// tells it.
func (g cgroup) waited() float64 {
	if !g.V2 {
		return 0
	}
	b, _ := os.ReadFile(filepath.Join(g.Root, g.Path, "cpu.pressure"))
	some, _, _ := strings.Cut(string(b), "\n")
	_, total, _ := strings.Cut(some, "total=")
	n, _ := strconv.ParseFloat(strings.TrimSpace(total), 64)
	return n / 1e6
}

// workingSet is the group's memory without file caches that were not used of late.
func (g cgroup) workingSet() int64 {
	used, stat, idle := "memory.usage_in_bytes", "memory.stat", "total_inactive_file "
	dir := filepath.Join(g.Root, "memory", g.Path)
	if g.V2 {
		used, idle, dir = "memory.current", "inactive_file ", filepath.Join(g.Root, g.Path)
	}
	n := number(filepath.Join(dir, used))
	b, _ := os.ReadFile(filepath.Join(dir, stat))
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, idle); ok {
			cache, _ := strconv.ParseInt(strings.TrimSpace(rest), 10, 64)
			return max(0, n-cache)
		}
	}
	return n
}

// obey carries out the newest order, and tells that it did.
func (m *meter) obey() {
	var o order
	if err := readJSON(filepath.Join(m.s.dir, limitsFile), &o); err != nil || o.Number <= m.said.Order {
		return
	}
	m.measure(time.Now())
	err := m.s.adjust(o.Limits, m.said.Usage.Memory)
	m.said.Order, m.said.Trouble = o.Number, ""
	if err != nil {
		m.said.Trouble = err.Error()
	} else {
		m.said.Usage.Limits = m.s.holds(o.Limits)
	}
	m.tell()
}

// adjust makes the kernel hold limits. Memory below the promise is what is taken back when others need some; never less
// than is in use with a margin, so that taking it back costs the task nothing.
func (s *shim) adjust(l exec.Limits, inUse units.Bytes) error {
	var failed []error
	if s.traffic != nil {
		failed = append(failed, s.traffic.limit(l.Bandwidth, s.in.Loopback))
	}
	if s.group.Path == "" {
		return errors.Join(failed...)
	}
	if l.CPU > 0 {
		failed = append(failed, s.group.setCPU(l.CPU))
	}
	if promise := s.in.Task.Limits.Memory; promise > 0 {
		soft := max(l.Memory, inUse+inUse/8+32*units.MiB)
		if l.Memory >= promise || soft >= promise {
			soft = 0
		}
		failed = append(failed, s.group.setReclaim(soft))
	}
	return errors.Join(failed...)
}

// setCPU changes the group's quota.
func (g cgroup) setCPU(cores float64) error {
	if g.V2 {
		return write(filepath.Join(g.Root, g.Path, "cpu.max"), fmt.Sprintf("%d %d", quotaOf(cores), period))
	}
	return write(filepath.Join(g.Root, "cpu", g.Path, "cpu.cfs_quota_us"), strconv.FormatInt(quotaOf(cores), 10))
}

// setReclaim says above which size the group's memory is taken back first; 0 is never.
func (g cgroup) setReclaim(n units.Bytes) error {
	path, value, never := filepath.Join(g.Root, "memory", g.Path, "memory.soft_limit_in_bytes"), strconv.FormatInt(int64(n), 10), "-1"
	if g.V2 {
		path, never = filepath.Join(g.Root, g.Path, "memory.high"), "max"
	}
	if n == 0 {
		value = never
	}
	return write(path, value)
}

// write writes to a file of the kernel's, which must be there.
func write(path, text string) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Close())
}

// signalled tells the shim that limits.json has changed.
const signalled = unix.SIGUSR1
