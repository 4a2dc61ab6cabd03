//go:build linux

package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/lineshaft/lineshaft/internal/units"
)

// onSmallDisk marks the process that may mount: this program again, in a mount namespace of its own.
const onSmallDisk = "LINESHAFT_TEST_SMALL_DISK"

// diskSize is the size of the disk that fills up: what MNIST, a network and its checkpoints need, and little more.
const diskSize = "64m"

// The stories under testdata/full happen on a data folder on a small disk of its own (a tmpfs that only this process and
// its children see). Beside the commands of the other stories there are:
//
//	fill SIZE     fill the disk until only SIZE is free
//	drain         make the room free again
func TestStoriesOfAFullDisk(t *testing.T) {
	t.Parallel()
	if os.Getenv(onSmallDisk) == "" {
		cmd := exec.Command("/proc/self/exe", "-test.run", "^"+t.Name()+"$", "-test.v", "-test.timeout", "3m")
		cmd.Env = append(os.Environ(), onSmallDisk+"=1")
		cmd.SysProcAttr = &syscall.SysProcAttr{
			Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
			UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
			GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
		}
		out, err := cmd.CombinedOutput()
		if err != nil || !strings.Contains(string(out), "--- PASS: "+t.Name()+"/") {
			t.Fatalf("%v\n%s", err, out)
		}
		return
	}
	mnist := mnistFolder(t)
	testscript.Run(t, testscript.Params{
		Dir: filepath.Join("testdata", "full"),
		Setup: func(env *testscript.Env) error {
			disk := filepath.Join(env.WorkDir, "disk")
			if err := os.Mkdir(disk, 0o700); err != nil {
				return err
			}
			if err := syscall.Mount("tmpfs", disk, "tmpfs", 0, "size="+diskSize); err != nil {
				return err
			}
			env.Defer(func() { _ = syscall.Unmount(disk, syscall.MNT_DETACH) })
			if err := setup(env, mnist); err != nil {
				return err
			}
			env.Setenv("LINESHAFT_DATA", filepath.Join(disk, "data"))
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"up": up, "down": down, "until": until, "code": code, "fill": fill, "drain": drain,
		},
		RequireExplicitExec: true,
	})
}

func ballast(ts *testscript.TestScript) string { return ts.MkAbs(filepath.Join("disk", "ballast")) }

func fill(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: fill SIZE")
	}
	leave, err := units.ParseBytes(args[0])
	ts.Check(err)
	f, err := os.OpenFile(ballast(ts), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	ts.Check(err)
	defer f.Close()
	page := make([]byte, 4096)
	for {
		var st syscall.Statfs_t
		ts.Check(syscall.Statfs(filepath.Dir(f.Name()), &st))
		if int64(st.Bavail)*st.Bsize <= int64(leave) {
			return
		}
		_, err := f.Write(page)
		ts.Check(err)
	}
}

func drain(ts *testscript.TestScript, _ bool, _ []string) { ts.Check(os.Remove(ballast(ts))) }
