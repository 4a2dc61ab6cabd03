package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/lineshaft/lineshaft/app"
	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/internal/sock"
	"github.com/lineshaft/lineshaft/internal/units"
	"github.com/lineshaft/lineshaft/nn/kernel"
)

// finding is one line of the doctor's.
type finding struct {
	Part   string `json:"part"`
	OK     bool   `json:"ok"`
	Found  string `json:"found"`
	Advice string `json:"advice,omitempty"`
}

func doctorCommand(e *env) *cobra.Command {
	return &cobra.Command{
		Use:   "doctor",
		Short: "Say what this machine offers: cores, kernels, disk, ports, isolation",
		Long: `Say what this machine offers: cores, kernels, disk, ports, isolation.

It asks this machine and no server, and changes nothing; isolation is tried with an empty task. The exit
code is 7 where something would keep the server from starting.`,
		Args: takes,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := e.load(nil)
			if err != nil {
				return err
			}
			all := e.examine(cmd.Context(), c)
			err = e.show(all, func(w io.Writer) {
				t := newTable("", "PART", "OK", "FOUND", "ADVICE")
				for _, f := range all {
					t.row(f.Part, yesNo(f.OK), f.Found, f.Advice)
				}
				e.print(w, t)
			})
			for _, f := range all {
				if !f.OK && strings.HasPrefix(f.Part, "port") || !f.OK && f.Part == "data folder" {
					return errs.Errorf("cli.doctor", errs.Unavailable, "`lineshaft up` would not start here: %s: %s", f.Part, f.Found)
				}
			}
			return err
		},
	}
}

func yesNo(ok bool) string {
	if ok {
		return "yes"
	}
	return "no"
}

func (e *env) examine(ctx context.Context, c app.Config) []finding {
	sets := kernel.Available()
	names := make([]string, len(sets))
	for i, s := range sets {
		names[i] = s.Name
	}
	all := []finding{
		{Part: "system", OK: runtime.GOOS == "linux", Found: runtime.GOOS + "/" + runtime.GOARCH, Advice: advice(runtime.GOOS == "linux", "tasks run on Linux only")},
		{Part: "cores", OK: true, Found: fmt.Sprint(runtime.GOMAXPROCS(0))},
		{Part: "kernels", OK: len(names) > 1 || runtime.GOARCH != "amd64", Found: strings.Join(names, ", "), Advice: advice(len(names) > 1, "no AVX2 here: training is several times slower")},
	}
	if m, ok := memory(); ok {
		all = append(all, finding{Part: "memory", OK: m >= units.GiB, Found: m.String(), Advice: advice(m >= units.GiB, "a task gets 1 GiB unless it asks for less")})
	}
	running := sockAnswers(ctx, c.Data)
	all = append(all, e.examineFolder(c, running))
	for _, p := range []struct{ key, addr string }{{"listen", c.Listen}, {"serve-listen", c.ServeListen}, {"serve-grpc-listen", c.ServeGRPCListen}} {
		all = append(all, port(p.key, p.addr, running))
	}
	features, err := app.Isolation(ctx)
	for _, f := range features {
		all = append(all, finding{Part: "isolation " + f.Name, OK: f.Enforced, Found: f.Detail})
	}
	if err != nil {
		all = append(all, finding{Part: "isolation", Found: err.Error(), Advice: "jobs do not run here"})
	}
	return all
}

func advice(ok bool, text string) string {
	if ok {
		return ""
	}
	return text
}

// memory is the machine's, from /proc where there is one.
func memory() (units.Bytes, bool) {
	text, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0, false
	}
	for line := range bytes.Lines(text) {
		var kib int64
		if n, _ := fmt.Sscanf(string(line), "MemTotal: %d kB", &kib); n == 1 {
			return units.Bytes(kib) * units.KiB, true
		}
	}
	return 0, false
}

func sockAnswers(ctx context.Context, dir string) bool {
	c, err := sock.Dial(ctx, dir)
	if err != nil {
		return false
	}
	c.Close()
	return true
}

func (e *env) examineFolder(c app.Config, running bool) finding {
	f := finding{Part: "data folder", OK: true, Found: c.Data}
	dir := c.Data
	info, err := os.Stat(dir)
	switch {
	case err == nil && !info.IsDir():
		return finding{f.Part, false, c.Data + " is a file", "choose another folder with --data"}
	case err != nil:
		f.Found += ", not made yet"
		for dir != "/" && dir != "." && err != nil { // the disk is that of the nearest folder there is
			dir = filepath.Dir(dir)
			_, err = os.Stat(dir)
		}
	case info.Mode().Perm()&0o077 != 0:
		f.Advice = "others may look into it: chmod 700 " + c.Data
	}
	if running {
		f.Found += ", a server runs on it"
	}
	var fs syscall.Statfs_t
	if err := syscall.Statfs(dir, &fs); err == nil {
		free := units.Bytes(fs.Bavail) * units.Bytes(fs.Bsize)
		f.Found += ", " + free.String() + " free"
		if free < c.DiskReserve {
			f.OK, f.Advice = false, "uploads stop below "+c.DiskReserve.String()+" (disk-reserve)"
		}
	}
	return f
}

// port tries to listen where the server would.
func port(key, addr string, running bool) finding {
	f := finding{Part: "port " + key, OK: true, Found: addr + " is free"}
	l, err := net.Listen("tcp", addr)
	switch {
	case err == nil:
		l.Close()
	case running:
		f.Found = addr + " is in use, by the server perhaps"
	default:
		f.OK, f.Found, f.Advice = false, fmt.Sprintf("%s cannot be listened on: %v", addr, errors.Unwrap(err)), "choose another with --"+key
	}
	return f
}
