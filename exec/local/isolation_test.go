//go:build linux

package local_test

import (
	"fmt"
	"io"
	"net"
	"os"
	osexec "os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/lineshaft/lineshaft/exec"
	"github.com/lineshaft/lineshaft/exec/local"
	"github.com/lineshaft/lineshaft/internal/errs"
)

// asVandal tries what a task must not be able to do, and says what it did.
func asVandal(args []string) {
	if args[0] == "read" {
		for _, name := range args[1:] {
			fd, _ := strconv.Atoi(os.Getenv("LINESHAFT_FD_" + name))
			io.Copy(os.Stdout, os.NewFile(uintptr(fd), name))
		}
		return
	}
	if args[0] == "list" { // the descriptors it has, but for those of Go's own
		for fd := range 100 {
			to, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", fd))
			if err == nil && !strings.HasPrefix(to, "anon_inode:[event") && !strings.HasPrefix(to, "/sys/fs/cgroup") {
				fmt.Print(fd, " ")
			}
		}
		return
	}
	data, victim := args[0], args[1]
	pid, _ := strconv.Atoi(victim)
	parent := strconv.Itoa(os.Getppid())
	did := func(what string, err error) {
		if err == nil {
			fmt.Println("DID", what)
		}
	}
	reads := []string{data + "/keys.json", data + "/tasks/2/0/1/intent.json", data + "/tasks/2/0/1/out/theirs", "/proc/" + parent + "/environ", "/proc/" + victim + "/environ", "/before"}
	for _, root := range []string{"/proc/1/root", "/proc/" + parent + "/root", "/proc/" + victim + "/root", "/proc/" + parent + "/cwd/../../../.."} {
		reads = append(reads, root+data+"/keys.json")
	}
	for _, path := range reads {
		f, err := os.Open(path)
		did("open "+path, err)
		if err == nil {
			f.Close()
		}
	}
	for _, path := range []string{"/etc/lineshaft-was-here", "/usr/lineshaft-was-here", "/lineshaft-was-here", "/sys/lineshaft-was-here", "/dev/lineshaft-was-here"} {
		did("write "+path, os.WriteFile(path, []byte("x"), 0o600))
	}
	did("signal another's process", syscall.Kill(pid, 0))
	did("trace another's process", syscall.PtraceAttach(pid))
	did("trace the process above", syscall.PtraceAttach(os.Getppid()))
	if os.Getuid() != 0 { // it may be the root of a namespace that has no other
		did("become root", syscall.Setuid(0))
	}
	did("mount", syscall.Mount("tmpfs", os.Getenv("LINESHAFT_WORK"), "tmpfs", 0, ""))
	did("unmount", syscall.Unmount("/lineshaft/secrets", 0))
	did("make a device", syscall.Mknod(os.Getenv("LINESHAFT_WORK")+"/null", syscall.S_IFCHR|0o600, 1<<8|3))
	did("change its own limits", syscall.Setrlimit(unix.RLIMIT_CORE, &syscall.Rlimit{Cur: 1, Max: 1}))
	exe, err := os.Open("/proc/self/exe")
	if to, _ := os.Readlink("/proc/self/exe"); !strings.HasPrefix(to, "/memfd:") { // its own copy it may close
		did("close the binary", chmodAndBack(exe, err))
	}
	_, err = os.OpenFile("/proc/self/exe", os.O_WRONLY, 0)
	did("write the binary", err)
	for _, kind := range []string{"@" + data, data + "/lineshaft.sock", data + "/tasks/2/0/1/shell"} {
		for _, network := range []string{"unix", "unixpacket"} {
			c, err := net.Dial(network, kind)
			did("connect to "+kind, err)
			if err == nil {
				c.Close()
			}
		}
	}
	if fd, err := strconv.Atoi(os.Getenv("LINESHAFT_FD_A")); err == nil {
		did("close an inherited file", chmodAndBack(os.NewFile(uintptr(fd), "a"), nil))
		_, err = os.OpenFile(fmt.Sprintf("/proc/self/fd/%d", fd), os.O_RDWR, 0)
		did("write an inherited file", err)
	}
	fmt.Println("tried everything")
}

func chmodAndBack(f *os.File, err error) error {
	if err != nil {
		return err
	}
	info, err := f.Stat()
	if err == nil {
		err = f.Chmod(0)
	}
	if err == nil {
		f.Chmod(info.Mode())
	}
	return err
}

func TestATaskCannotDoHarm(t *testing.T) {
	everyLevel(t, func(t *testing.T, at string) {
		l, data := hall(t, at)
		mine := osexec.Command("sleep", "60")
		if err := mine.Start(); err != nil {
			t.Fatal(err)
		}
		defer mine.Process.Kill()
		other := task("2", 1, `echo secret > $LINESHAFT_OUT/theirs; chmod 777 $LINESHAFT_OUT/theirs; echo ready; sleep 60`)
		other.User = "bob"
		if err := l.Start(t.Context(), other); err != nil {
			t.Fatal(err)
		}
		says(t, l, other.Ref, "ready")
		for _, name := range []string{"@" + data, filepath.Join(data, "lineshaft.sock")} {
			if len(name) > 100 {
				t.Fatalf("the path %s is too long for a socket", name)
			}
			lis, err := net.Listen("unix", name)
			if err != nil {
				t.Fatal(err)
			}
			defer lis.Close()
		}
		sealed := filepath.Join(data, "sealed")
		if err := os.WriteFile(sealed, []byte("sealed"), 0o600); err != nil {
			t.Fatal(err)
		}
		tk := task("1", 1, "")
		tk.Argv = []string{exec.Self, "as-vandal", data, strconv.Itoa(mine.Process.Pid)}
		tk.Inherit = []exec.Inherit{{Name: "A", Path: sealed}}
		out, st := run(t, l, tk)
		if !strings.Contains(out, "tried everything") {
			t.Errorf("it did not get that far: %s %+v", out, st)
		}
		for line := range strings.Lines(out) {
			what, did := strings.CutPrefix(strings.TrimSpace(line), "DID ")
			if did && !admitted(at, st, what) {
				t.Errorf("it could %s", what)
			}
		}
	})
}

// admitted tells whether the attempt's own record says that this is not prevented.
func admitted(at string, st exec.Status, what string) bool {
	if at == "user-bare" && !enforced(st, "data-folder") {
		return strings.HasPrefix(what, "connect to /") || what == "close an inherited file" || what == "write an inherited file" && local.ABI() == 0
	}
	return false
}

func TestATaskRunsWithoutPrivilegesAsAUserOfItsOwn(t *testing.T) {
	everyLevel(t, func(t *testing.T, at string) {
		l, _ := hall(t, at)
		script := `grep -E '^(NoNewPrivs|CapInh|CapPrm|CapEff|CapAmb|Groups|SigIgn|SigBlk)' /proc/self/status; ulimit -c; umask; id -u; id -un 2>/dev/null || echo nobody; id -G`
		out, st := run(t, l, task("1", 1, script))
		for _, want := range []string{
			"NoNewPrivs:\t1", "CapInh:\t0000000000000000", "CapPrm:\t0000000000000000", "CapEff:\t0000000000000000", "CapAmb:\t0000000000000000",
			"SigIgn:\t0000000000000000", "SigBlk:\t0000000000000000", "\n0\n0022\n",
		} {
			if !strings.Contains(out, want) {
				t.Errorf("no %q in %s", want, out)
			}
		}
		if os.Getuid() != 0 {
			return
		}
		bob := task("2", 1, script)
		bob.User = "bob: \n"
		theirs, _ := run(t, l, bob)
		again, _ := run(t, l, task("3", 1, script))
		id := func(s string) (uid, name, groups string) {
			lines := strings.Split(strings.TrimSpace(s), "\n")
			n := len(lines)
			return lines[n-3], lines[n-2], lines[n-1]
		}
		uid, name, groups := id(out)
		other, otherName, _ := id(theirs)
		if later, _, _ := id(again); uid == "0" || uid == other || uid != later || groups != uid || !enforced(st, "own-user") {
			t.Errorf("users %s and %s, later %s, groups %s, %+v", uid, other, later, groups, st.Isolation)
		}
		if at == "root" && (name != "alice" || otherName != "bob___") {
			t.Errorf("names %s and %s", name, otherName)
		}
	})
}

func TestATaskInheritsWhatItWasGivenAndNothingElse(t *testing.T) {
	everyLevel(t, func(t *testing.T, at string) {
		l, _ := hall(t, at)
		none := task("1", 1, "")
		none.Argv = []string{exec.Self, "as-vandal", "list"}
		if out, _ := run(t, l, none); out != "0 1 2 " {
			t.Errorf("without any: %q", out)
		}
		two := none
		two.Ref.Job = "2"
		two.Inherit = []exec.Inherit{{Name: "A", Data: []byte("a")}, {Name: "B", Data: []byte("b")}}
		if out, _ := run(t, l, two); out != "0 1 2 3 4 " {
			t.Errorf("with two: %q", out)
		}
	})
}

func TestNamespacesShowATaskItselfOnly(t *testing.T) {
	t.Parallel()
	l, _ := hall(t, myLevels()[0])
	out, st := run(t, l, task("1", 1, `
		ls / ; echo --; test $(ls /proc | grep -c '^[0-9]') -lt 8 && echo few; ls /home /root /before 2>/dev/null | wc -l
		ls /dev | tr '\n' ' '; touch /usr/x /etc/x /x 2>&1 | grep -c 'Read-only\|denied'; echo t > /dev/shm/t && cat /dev/shm/t`))
	for _, name := range []string{"mount-namespace", "pid-namespace", "ipc-namespace", "own-proc", "data-folder", "devices", "landlock", "no-new-privileges", "memory-limit", "process-limit"} {
		if name == "memory-limit" && os.Getuid() != 0 || name == "landlock" && local.ABI() == 0 {
			continue // said truthfully, see the test of limits
		}
		if !enforced(st, name) {
			t.Errorf("%s is not enforced: %+v", name, st.Isolation)
		}
	}
	root, rest, _ := strings.Cut(out, "--\n")
	for _, name := range strings.Fields(root) {
		if !strings.Contains(" bin sbin lib lib32 lib64 libx32 usr etc opt nix gnu proc sys dev tmp run var lineshaft ", " "+name+" ") {
			t.Errorf("it sees /%s", name)
		}
	}
	if want := "few\n0\nfd full null ptmx pts random shm stderr stdin stdout tty urandom zero 3\nt\n"; rest != want {
		t.Errorf("it sees %q, not %q", rest, want)
	}
}

func TestATaskWithoutNetworkHasItsOwnLoopbackOnly(t *testing.T) {
	everyLevel(t, func(t *testing.T, at string) {
		l, _ := hall(t, at)
		tk := task("1", 1, `tail -n +3 /proc/net/dev | cut -d: -f1 | tr -d ' '; cat /sys/class/net/lo/operstate /proc/net/fib_trie | grep -c 127.0.0.1`)
		tk.Network = false
		out, st := run(t, l, tk)
		if enforced(st, "network-namespace") {
			if f := strings.Fields(out); len(f) < 2 || f[0] != "lo" || f[len(f)-1] == "0" {
				t.Errorf("it sees %q", out)
			}
		} else if !strings.HasSuffix(at, "-bare") {
			t.Errorf("not enforced: %+v", st.Isolation)
		}
		strict := task("2", 1, "true")
		strict.Network, strict.Policy = false, exec.Policy{Require: []string{"network-namespace"}, AllowLess: true}
		if err := l.Start(t.Context(), strict); strings.HasSuffix(at, "-bare") != errs.Is(err, errs.Unsupported) {
			t.Errorf("required: %v", err)
		}
	})
}

func TestOnlyTheGrantedAcceleratorsCanBeOpened(t *testing.T) {
	everyLevel(t, func(t *testing.T, at string) {
		dev, err := os.MkdirTemp("/var/tmp", "lineshaft-dev-") // open to all, as /dev is
		if err != nil {
			t.Fatal(err)
		}
		defer os.RemoveAll(dev)
		os.Chmod(dev, 0o755)
		for _, name := range []string{"nvidia0", "nvidia1", "nvidia2", "nvidiactl", "nvidia-uvm"} {
			if err := os.WriteFile(filepath.Join(dev, name), []byte(name+"\n"), 0o666); err != nil {
				t.Fatal(err)
			}
			os.Chmod(filepath.Join(dev, name), 0o666)
		}
		l, _ := with(t, local.Options{Devices: dev}, at)
		script := fmt.Sprintf(`for d in /dev %s; do cat $d/nvidia0 $d/nvidia1 $d/nvidia2 $d/nvidiactl $d/nvidia-uvm 2>/dev/null; done | sort | uniq | tr '\n' ' '`, dev)
		some := task("1", 1, script)
		some.Limits.Accelerators = []string{"1"}
		out, st := run(t, l, some)
		if out != "nvidia-uvm nvidia1 nvidiactl " && enforced(st, "devices") || !enforced(st, "devices") {
			t.Errorf("with one granted it opens %q: %+v", out, st.Isolation)
		}
		if out, _ := run(t, l, task("2", 1, script)); out != "" {
			t.Errorf("without any it opens %q", out)
		}
	})
}

func TestFoldersAreShownOnlyWhenTheyAreNamed(t *testing.T) {
	everyLevel(t, func(t *testing.T, at string) {
		dir, err := os.MkdirTemp("/var/tmp", "lineshaft-env-")
		if err != nil {
			t.Fatal(err)
		}
		defer os.RemoveAll(dir)
		os.Chmod(dir, 0o755)
		if err := os.WriteFile(filepath.Join(dir, "lib"), []byte("library\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		script := fmt.Sprintf(`cat %[1]s/lib; echo x > %[1]s/new && echo WROTE; true`, dir)
		without, _ := hall(t, at)
		if out, _ := run(t, without, task("1", 1, script)); strings.Contains(out, "library") && local.ABI() > 0 {
			t.Errorf("it was not named, and read: %s", out)
		}
		named, _ := with(t, local.Options{Read: []string{dir}}, at)
		if out, _ := run(t, named, task("1", 1, script)); !strings.Contains(out, "library") || strings.Contains(out, "WROTE") {
			t.Errorf("it was named: %s", out)
		}
	})
}

func TestADataFolderBelowAFolderThatIsShownStaysHidden(t *testing.T) {
	everyLevel(t, func(t *testing.T, at string) {
		shown, err := os.MkdirTemp("/var/tmp", "lineshaft-shown-")
		if err != nil {
			t.Fatal(err)
		}
		defer os.RemoveAll(shown)
		os.Chmod(shown, 0o755)
		data := filepath.Join(shown, "data")
		os.Mkdir(data, 0o755) // should its owner be careless
		os.WriteFile(filepath.Join(data, "keys.json"), []byte("the key"), 0o644)
		os.WriteFile(filepath.Join(shown, "lib"), []byte("library\n"), 0o644)
		l, err := local.New(local.At(local.Options{Dir: filepath.Join(data, "tasks"), Hide: []string{data}, Read: []string{shown}}, at))
		if err != nil {
			t.Fatal(err)
		}
		defer end(t, l)
		out, _ := run(t, l, task("1", 1, fmt.Sprintf(`cat %[1]s/lib; cat %[1]s/data/keys.json; ls %[1]s/data; true`, shown)))
		if !strings.Contains(out, "library") || strings.Contains(out, "the key") || strings.Contains(out, "keys.json\n") && !strings.Contains(out, "cannot") {
			t.Error(out)
		}
	})
}

func TestWhatCannotBeEnforcedIsRefusedUnlessLessIsAllowed(t *testing.T) {
	everyLevel(t, func(t *testing.T, at string) {
		l, _ := hall(t, at)
		tk := task("1", 1, "echo ran")
		tk.Policy = exec.Policy{}
		err := l.Start(t.Context(), tk)
		weak := strings.HasSuffix(at, "-bare") || os.Getuid() != 0 // a plain user has no control groups here
		if weak && (!errs.Is(err, errs.Unsupported) || !strings.Contains(err.Error(), "allow-less")) {
			t.Errorf("it was not refused: %v", err)
		}
		if st, serr := l.Status(tk.Ref); err != nil && (serr != nil || st.State != exec.Exited || !strings.Contains(st.Reason, "cannot be enforced")) {
			t.Errorf("its record says %+v, %v", st, serr)
		}
		// Limits that nobody asked for are no reason to refuse, unless they are required by name.
		spared := task("3", 1, "echo ran")
		spared.Policy = exec.Policy{Spare: []string{"memory-limit", "cpu-limit", "process-limit", "disk-limit"}}
		if err := l.Start(t.Context(), spared); err != nil && !strings.HasSuffix(at, "-bare") {
			t.Errorf("a task was refused for limits that nobody asked for: %v", err)
		}
		wants := task("2", 1, "true")
		wants.Policy = exec.Policy{Require: []string{"quantum-isolation"}, AllowLess: true}
		if err := l.Start(t.Context(), wants); !errs.Is(err, errs.Unsupported) || !strings.Contains(err.Error(), "quantum-isolation") {
			t.Errorf("an unknown feature: %v", err)
		}
	})
}

func TestIsolationIsToldBeforeAnyTaskRuns(t *testing.T) {
	everyLevel(t, func(t *testing.T, at string) {
		l, _ := hall(t, at)
		features, err := l.Isolation(t.Context())
		if err != nil || len(features) < 6 {
			t.Fatalf("%+v, %v", features, err)
		}
		for _, f := range features {
			if f.Detail == "" {
				t.Errorf("%s is not explained", f.Name)
			}
			if f.Name == "pid-namespace" && f.Enforced == strings.HasSuffix(at, "-bare") {
				t.Errorf("%+v at %s", f, at)
			}
		}
		if at == "" {
			t.Error("no level")
		}
	})
}
