//go:build linux

package local

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"github.com/lineshaft/lineshaft/exec"
	"github.com/lineshaft/lineshaft/internal/units"
)

// A task's traffic is counted and bounded where its packets pass its control group, by two small programs in the
// kernel (eBPF, cgroup_skb), one for what it sends and one for what it receives. So it keeps the machine's network: its
// addresses, its ports, its loopback, its name servers, which a network of its own behind a veth pair would take from
// it (docs/adr/0016). What goes over the machine's own loopback does not count: it leaves no node.
//
// A packet beyond the limit is dropped and its sender slows down, as with any policer. The limit is kept by the time at
// which what was let through so far would be through at the limit's rate: packets pass while that is not in the future,
// and a task that was silent may be early by a moment.

// lane is the state of one direction, as the programs see it.
type lane struct {
	Rate    uint64 // bytes a second; 0: counted only
	Early   uint64 // nanoseconds
	Due     uint64 // when all that passed is through at Rate
	Passed  uint64 // bytes
	Dropped uint64
	Free    uint64 // the interface whose traffic does not count
}

const (
	outward uint32 = iota
	inward
)

// Offsets within a lane, and within the kernel's struct __sk_buff.
const (
	atRate, atEarly, atDue, atPassed, atDropped, atFree = 0, 8, 16, 24, 32, 40
	skbLen, skbInterface                                = 0, 40
)

// loopbackIndex is the interface number of every network namespace's loopback.
const loopbackIndex = 1

// traffic counts and bounds what one attempt sends and receives.
type traffic struct {
	lanes *ebpf.Map
	group cgroup // of version 2, for this alone where the other controllers are of version 1
}

// newTraffic puts the programs to the attempt's group. Where it cannot, it says why.
func newTraffic(in intent, g cgroup) (t *traffic, why error) {
	t = &traffic{group: g}
	if !g.V2 {
		if t.group, why = unifiedGroup(in); why != nil {
			return nil, why
		}
	}
	defer func() {
		if why != nil {
			t.close()
			t = nil
		}
	}()
	t.lanes, why = ebpf.NewMap(&ebpf.MapSpec{Name: "lineshaft", Type: ebpf.Array, KeySize: 4, ValueSize: 48, MaxEntries: 2})
	if why != nil {
		return t, why
	}
	dir, why := os.Open(t.group.folders()[0])
	if why != nil {
		return t, why
	}
	defer dir.Close()
	for at, way := range []ebpf.AttachType{ebpf.AttachCGroupInetEgress, ebpf.AttachCGroupInetIngress} {
		p, err := ebpf.NewProgram(&ebpf.ProgramSpec{
			Name: "lineshaft", Type: ebpf.CGroupSKB, AttachType: way, License: "Apache-2.0", Instructions: police(t.lanes.FD(), uint32(at)),
		})
		if err != nil {
			return t, err
		}
		// The kernel keeps it as long as the group is there.
		err = link.RawAttachProgram(link.RawAttachProgramOptions{Target: int(dir.Fd()), Program: p, Attach: way, Flags: unix.BPF_F_ALLOW_MULTI})
		if err = errors.Join(err, p.Close()); err != nil {
			return t, err
		}
	}
	return t, t.limit(in.Task.Limits.Bandwidth, in.Loopback)
}

// unifiedGroup makes a group of version 2 where the controllers are of version 1, for the packets alone.
func unifiedGroup(in intent) (g cgroup, err error) {
	root := filepath.Join(groupRoot, "unified")
	var st unix.Statfs_t
	if unix.Statfs(root, &st) != nil || st.Type != unix.CGROUP2_SUPER_MAGIC {
		return g, fmt.Errorf("no control groups of version 2 at %s", root)
	}
	g = in.packets()
	return g, os.MkdirAll(filepath.Join(root, g.Path), 0o755)
}

// packets is the attempt's group of version 2 where its others are of version 1, whether it was made or not.
func (in intent) packets() cgroup {
	return cgroup{Root: filepath.Join(groupRoot, "unified"), Path: in.group().Path, V2: true}
}

// limit sets the rate of both directions, 0 for none.
func (t *traffic) limit(rate units.BitsPerSecond, loopback bool) error {
	l := lane{Rate: uint64(rate / 8), Free: loopbackIndex}
	if loopback {
		l.Free = 0
	}
	if rate > 0 {
		l.Rate = max(1, l.Rate)
		// As much as the kernel hands over in one piece, twice, and never less than 200 ms: after a
		// loss a sender may be silent as long.
		l.Early = max(uint64(200*time.Millisecond), 2*65536*uint64(time.Second)/l.Rate)
		var up unix.Timespec // the programme takes Early from the time since boot, which is never negative
		if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &up); err == nil {
			l.Early = min(l.Early, uint64(up.Nano()))
		}
	}
	for _, at := range []uint32{outward, inward} {
		old, err := t.read(at)
		if err != nil {
			return err
		}
		// What passes between the two is not counted; the limit is set rarely.
		l.Passed, l.Dropped = old.Passed, old.Dropped
		if err := t.lanes.Update(at, l, ebpf.UpdateAny); err != nil {
			return err
		}
	}
	return nil
}

func (t *traffic) read(at uint32) (l lane, err error) {
	return l, t.lanes.Lookup(at, &l)
}

func (t *traffic) add(pid int) error {
	if t == nil {
		return nil
	}
	return t.group.add(pid)
}

// close lets the programs go; those of an attempt that runs stay with its group.
func (t *traffic) close() {
	if t == nil {
		return
	}
	if t.lanes != nil {
		t.lanes.Close()
	}
	if t.group.Root != groupRoot {
		t.group.remove()
	}
}

// add adds to memory what a register holds, in one piece.
func add(to asm.Register, at int16, from asm.Register) asm.Instruction {
	i := asm.StoreXAdd(to, from, asm.DWord)
	i.Offset = at
	return i
}

// feature tells whether a limit of bandwidth is enforced.
func (t *traffic) feature(in intent, alone bool, why error) (f exec.Feature, asked bool) {
	f = exec.Feature{Name: "bandwidth-limit", Enforced: t != nil || alone}
	switch {
	case alone:
		f.Detail = "it has no network but its own loopback"
	case t != nil:
		f.Detail = fmt.Sprintf("%v in each direction, by eBPF on its control group; the machine's own loopback does not count", in.Task.Limits.Bandwidth)
	default:
		f.Detail = fmt.Sprintf("neither limited nor measured here, only counted on in plans: %v", why)
	}
	return f, in.Task.Limits.Bandwidth > 0
}

// police is the program of one direction.
func police(lanes int, at uint32) asm.Instructions {
	near, drop := int32(1), int32(0)
	if at == outward { // the sender is told that the network is congested, not that it may not send
		near, drop = 3, 2
	}
	return asm.Instructions{
		asm.Mov.Reg(asm.R6, asm.R1),
		asm.StoreImm(asm.RFP, -4, int64(at), asm.Word),
		asm.LoadMapPtr(asm.R1, lanes),
		asm.Mov.Reg(asm.R2, asm.RFP),
		asm.Add.Imm(asm.R2, -4),
		asm.FnMapLookupElem.Call(),
		asm.JEq.Imm(asm.R0, 0, "pass"),
		asm.Mov.Reg(asm.R7, asm.R0), // the lane
		// What goes over the loopback does not count.
		asm.LoadMem(asm.R1, asm.R6, skbInterface, asm.Word),
		asm.LoadMem(asm.R2, asm.R7, atFree, asm.DWord),
		asm.JEq.Reg(asm.R1, asm.R2, "pass"),
		asm.LoadMem(asm.R8, asm.R6, skbLen, asm.Word), // the packet's size
		asm.LoadMem(asm.R9, asm.R7, atRate, asm.DWord),
		asm.JEq.Imm(asm.R9, 0, "count"),
		// due = max(due, now - early)
		asm.FnKtimeGetNs.Call(),
		asm.LoadMem(asm.R1, asm.R7, atDue, asm.DWord),
		asm.LoadMem(asm.R2, asm.R7, atEarly, asm.DWord),
		asm.Mov.Reg(asm.R3, asm.R0),
		asm.Sub.Reg(asm.R3, asm.R2),
		asm.JGE.Reg(asm.R1, asm.R3, "late"),
		asm.StoreMem(asm.R7, atDue, asm.R3, asm.DWord),
		asm.Mov.Reg(asm.R1, asm.R3),
		// due > now + early: too much
		asm.Mov.Reg(asm.R3, asm.R0).WithSymbol("late"),
		asm.Add.Reg(asm.R3, asm.R2),
		asm.JGT.Reg(asm.R1, asm.R3, "drop"),
		// due += size / rate; two processors at once add both
		asm.Mov.Reg(asm.R4, asm.R8),
		asm.LoadImm(asm.R2, int64(time.Second), asm.DWord),
		asm.Mul.Reg(asm.R4, asm.R2),
		asm.Div.Reg(asm.R4, asm.R9),
		add(asm.R7, atDue, asm.R4),
		add(asm.R7, atPassed, asm.R8),
		asm.JGT.Reg(asm.R1, asm.R0, "near"),
		asm.Mov.Imm(asm.R0, 1),
		asm.Return(),
		asm.Mov.Imm(asm.R0, near).WithSymbol("near"),
		asm.Return(),
		add(asm.R7, atPassed, asm.R8).WithSymbol("count"),
		asm.Mov.Imm(asm.R0, 1).WithSymbol("pass"),
		asm.Return(),
		add(asm.R7, atDropped, asm.R8).WithSymbol("drop"),
		asm.Mov.Imm(asm.R0, drop),
		asm.Return(),
	}
}
