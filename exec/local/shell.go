//go:build linux

package local

import (
	"context"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"

	"github.com/lineshaft/lineshaft/exec"
	"github.com/lineshaft/lineshaft/internal/errs"
)

// A shell is started by the attempt's init, which listens on a socket in the attempt's folder: the program gets the
// namespaces, the user and the rules of the task because it is a child of the same process, and there is no step at
// which it has more. The server sends one packet: what to run, a token that the task cannot know, and the descriptors to
// run it on. Init answers when it runs and again when it has ended. The end of the connection ends the program.

// shellOrder is the server's packet.
type shellOrder struct {
	Token string
	Argv  []string
	Term  string
	TTY   bool
}

// shellWord is init's packet.
type shellWord struct {
	Running bool
	Error   string
	Code    int
}

// maxOrder is what a packet may hold.
const maxOrder = 64 << 10

// maxShells is how many programs may run beside a task at once.
const maxShells = 16

// drain is how long the output of a program that has ended is waited for, should another process hold it open.
const (
	drain    = 300 * time.Millisecond
	drainAll = 5 * time.Second
)

// Shell runs a program inside a running attempt's sandbox.
func (l *Local) Shell(ctx context.Context, ref exec.TaskRef, sh exec.Shell) (int, error) {
	const op = "local.Shell"
	st, err := l.Status(ref)
	if err != nil {
		return 0, err
	}
	dir := l.folder(ref)
	var id identity
	if st.State != exec.Running || readJSON(filepath.Join(dir, shimFile), &id) != nil {
		return 0, errs.Errorf(op, errs.Conflict, "attempt %v is %s: a shell needs a running one", ref, st.State)
	}
	conn, err := dialShell(dir)
	if err != nil {
		return 0, errs.Errorf(op, errs.Conflict, "attempt %v does not take shells: it is about to end", ref)
	}
	defer conn.Close()
	t, err := newTerminal(sh, id.UID)
	if err != nil {
		return 0, errs.E(op, errs.Other, err)
	}
	defer t.close()
	order, err := json.Marshal(shellOrder{Token: id.Token, Argv: sh.Argv, Term: sh.Term, TTY: sh.TTY})
	if err != nil {
		return 0, errs.E(op, errs.Other, err)
	}
	if len(order) > maxOrder {
		return 0, errs.Errorf(op, errs.TooLarge, "the command is longer than %d bytes: put it into a file of the job's code", maxOrder)
	}
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	_, _, err = conn.WriteMsgUnix(order, unix.UnixRights(t.fds()...), nil)
	t.given()
	if err != nil {
		return 0, interrupted(ctx, ref, err)
	}
	if _, err := hearWord(conn); err != nil {
		return 0, interrupted(ctx, ref, err)
	}
	t.carry(sh)
	word, err := hearWord(conn)
	t.finish()
	if err != nil {
		return 0, interrupted(ctx, ref, err)
	}
	return word.Code, nil
}

// interrupted tells what the end of the connection means.
func interrupted(ctx context.Context, ref exec.TaskRef, err error) error {
	const op = "local.Shell"
	if ctx.Err() != nil {
		return errs.E(op, errs.Canceled, ctx.Err())
	}
	var known *errs.Error
	if errors.As(err, &known) {
		return err
	}
	return errs.Errorf(op, errs.Conflict, "attempt %v ended, and the shell with it", ref)
}

func dialShell(dir string) (*net.UnixConn, error) {
	folder, err := os.Open(dir) // a socket's path is short, a folder's may be long
	if err != nil {
		return nil, err
	}
	defer folder.Close()
	return net.DialUnix("unixpacket", nil, &net.UnixAddr{Net: "unixpacket", Name: fmt.Sprintf("/proc/self/fd/%d/%s", folder.Fd(), shellFile)})
}

// listenShell makes the socket and gives it as a file for init.
func listenShell(dir string) (*os.File, error) {
	folder, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	defer folder.Close()
	old := syscall.Umask(0o177) // the socket is never there with more rights; a shim is alone in its process
	l, err := net.ListenUnix("unixpacket", &net.UnixAddr{Net: "unixpacket", Name: fmt.Sprintf("/proc/self/fd/%d/%s", folder.Fd(), shellFile)})
	syscall.Umask(old)
	if err != nil {
		return nil, err
	}
	l.SetUnlinkOnClose(false)
	defer l.Close()
	return l.File()
}

func hearWord(conn *net.UnixConn) (w shellWord, err error) {
	b := make([]byte, maxOrder)
	n, err := conn.Read(b)
	if err == nil && n == 0 {
		err = io.EOF
	}
	if err == nil {
		err = json.Unmarshal(b[:n], &w)
	}
	if err == nil && w.Error != "" {
		err = errs.Errorf("local.Shell", errs.Invalid, "%s", w.Error)
	}
	return w, err
}

// terminal is what a shell runs on: a pseudo terminal, or three pipes.
type terminal struct {
	theirs []*os.File // given to the program
	in     *os.File   // what is written here it reads
	out    []*os.File // what it writes is read here
	done   chan struct{}
	copies sync.WaitGroup
}

func newTerminal(sh exec.Shell, uid int) (*terminal, error) {
	t := &terminal{done: make(chan struct{})}
	if sh.TTY {
		master, slave, err := pty.Open()
		if err != nil {
			return nil, err
		}
		t.theirs = []*os.File{slave}
		// Reads of the terminal must be able to end: it is opened again for Go's poller.
		fd, err := unix.FcntlInt(master.Fd(), unix.F_DUPFD_CLOEXEC, 0)
		master.Close()
		if err == nil {
			err = unix.SetNonblock(fd, true)
			t.in = os.NewFile(uintptr(fd), "terminal")
			t.out = []*os.File{t.in}
		}
		if sh.Size == (exec.Size{}) {
			sh.Size = exec.Size{Rows: 24, Cols: 80}
		}
		if err == nil {
			err = resize(t.in, sh.Size)
		}
		if err == nil && uid != 0 {
			err = slave.Chown(uid, -1)
		}
		if err != nil {
			t.close()
			return nil, err
		}
		return t, nil
	}
	for n := range 3 {
		r, w, err := os.Pipe()
		if err != nil {
			t.close()
			return nil, err
		}
		if n == 0 {
			t.theirs, t.in = append(t.theirs, r), w
			continue
		}
		t.theirs, t.out = append(t.theirs, w), append(t.out, r)
	}
	return t, nil
}

func resize(f *os.File, s exec.Size) error {
	conn, err := f.SyscallConn()
	if err != nil {
		return err
	}
	// Not by f.Fd, which would make reads of the terminal wait without end.
	cerr := conn.Control(func(fd uintptr) {
		err = unix.IoctlSetWinsize(int(fd), unix.TIOCSWINSZ, &unix.Winsize{Row: s.Rows, Col: s.Cols})
	})
	return errors.Join(cerr, err)
}

func (t *terminal) fds() (out []int) {
	for _, f := range t.theirs {
		out = append(out, int(f.Fd()))
	}
	return out
}

// given closes what the program has now.
func (t *terminal) given() {
	for _, f := range t.theirs {
		f.Close()
	}
	t.theirs = nil
}

// carry copies in both directions until finish.
func (t *terminal) carry(sh exec.Shell) {
	sinks := []io.Writer{sh.Stdout, sh.Stderr}
	if sinks[1] == nil {
		sinks[1] = sinks[0]
	}
	for n, r := range t.out {
		w := sinks[n]
		if w == nil {
			w = io.Discard
		}
		t.copies.Go(func() { t.copy(w, r) })
	}
	go func() { // ends with the caller's reader, or when what it writes to is closed
		if sh.Stdin != nil {
			io.Copy(t.in, sh.Stdin) //nolint:errcheck // the program may have ended
		}
		if !sh.TTY {
			t.in.Close()
		} else if sh.Stdin != nil {
			t.in.Write([]byte{4}) //nolint:errcheck // end of file, as a terminal says it
		}
	}()
	if sh.TTY && sh.Resize != nil {
		t.copies.Go(func() {
			for {
				select {
				case <-t.done:
					return
				case s, ok := <-sh.Resize:
					if !ok {
						return
					}
					resize(t.in, s) //nolint:errcheck // the program may have ended
				}
			}
		})
	}
}

// copy goes on until the end of what the program writes. Once that has ended, another process may hold its output open:
// then it is waited for no longer than drain, and never longer than drainAll.
func (t *terminal) copy(w io.Writer, r *os.File) {
	b := make([]byte, 32<<10)
	var last time.Time
	for {
		n, err := r.Read(b)
		if n > 0 {
			if _, werr := w.Write(b[:n]); werr != nil {
				w = io.Discard // the reader is gone; the program must not wait for it
			}
		}
		if errors.Is(err, os.ErrDeadlineExceeded) {
			rest(w, r)
		}
		if err != nil {
			return
		}
		select {
		case <-t.done:
			now := time.Now()
			if last.IsZero() {
				last = now.Add(drainAll)
			}
			if until := now.Add(drain); until.Before(last) {
				r.SetReadDeadline(until) //nolint:errcheck // pipes and terminals have deadlines
			}
		default:
		}
	}
}

// rest copies what is there already: the program wrote it before it ended, however late it is read.
func rest(w io.Writer, r *os.File) {
	conn, err := r.SyscallConn()
	if err != nil {
		return
	}
	b := make([]byte, 32<<10)
	for range 1 << 20 / len(b) { // more than a pipe or a terminal holds; another process may go on writing
		n := 0
		err := conn.Control(func(fd uintptr) { n, _ = unix.Read(int(fd), b) }) // it never waits
		if err != nil || n <= 0 {
			return
		}
		if _, err := w.Write(b[:n]); err != nil {
			return
		}
	}
}

// finish waits for what the program wrote last.
func (t *terminal) finish() {
	close(t.done)
	for _, f := range t.out {
		f.SetReadDeadline(time.Now().Add(drain)) //nolint:errcheck // pipes and terminals have deadlines
	}
	t.copies.Wait()
}

func (t *terminal) close() {
	t.given()
	for _, f := range append(t.out, t.in) {
		if f != nil {
			f.Close()
		}
	}
}

// request is a shell that is to be started.
type request struct {
	argv, env []string
	tty       bool
	files     [3]*os.File
}

type startedShell struct {
	pid  int
	done <-chan ending
	err  error
}

// listen takes connections until the attempt ends.
func (i *initProcess) listen(l net.Listener) {
	slots := make(chan struct{}, maxShells)
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		conn, ok := c.(*net.UnixConn)
		if !ok {
			c.Close()
			continue
		}
		select {
		case slots <- struct{}{}:
			go func() {
				defer func() { <-slots }()
				i.serve(conn)
			}()
		default:
			say(conn, shellWord{Error: fmt.Sprintf("%d shells run beside this task already", maxShells)})
			conn.Close()
		}
	}
}

func say(conn *net.UnixConn, w shellWord) {
	b, err := json.Marshal(w)
	if err == nil {
		conn.Write(b) //nolint:errcheck // the server may be gone
	}
}

// serve runs one shell.
func (i *initProcess) serve(conn *net.UnixConn) {
	defer conn.Close()
	conn.SetReadDeadline(time.Now().Add(10 * time.Second)) //nolint:errcheck // a socket has deadlines
	r, err := i.receive(conn)
	conn.SetReadDeadline(time.Time{}) //nolint:errcheck // a socket has deadlines
	if err != nil {
		say(conn, shellWord{Error: err.Error()})
		return
	}
	started := make(chan startedShell, 1)
	i.requests <- func() {
		pid, done, err := i.start(r.argv, r.env, nil, r.files, r.tty)
		started <- startedShell{pid: pid, done: done, err: err}
	}
	s := <-started
	for _, f := range r.files {
		f.Close()
	}
	if s.err != nil {
		say(conn, shellWord{Error: "cannot start the program: " + s.err.Error()})
		return
	}
	say(conn, shellWord{Running: true})
	gone := make(chan struct{})
	go func() { // ends when the connection does, at the latest by the Close above
		defer close(gone)
		conn.Read(make([]byte, 1)) //nolint:errcheck // nothing more is sent
	}()
	select {
	case end := <-s.done:
		say(conn, shellWord{Code: end.Code})
	case <-gone:
		i.requests <- func() {
			unix.Kill(-s.pid, unix.SIGHUP)  //nolint:errcheck // it may have ended
			unix.Kill(-s.pid, unix.SIGKILL) //nolint:errcheck // it may have ended
		}
		<-s.done
	}
}

// receive reads the order and its descriptors.
func (i *initProcess) receive(conn *net.UnixConn) (request, error) {
	b, oob := make([]byte, maxOrder), make([]byte, unix.CmsgSpace(3*4))
	n, oobn, _, _, err := conn.ReadMsgUnix(b, oob)
	if err != nil {
		return request{}, err
	}
	var fds []int
	messages, err := unix.ParseSocketControlMessage(oob[:oobn])
	for _, m := range messages {
		if got, err := unix.ParseUnixRights(&m); err == nil {
			fds = append(fds, got...)
		}
	}
	var files []*os.File
	for _, fd := range fds {
		files = append(files, os.NewFile(uintptr(fd), "shell"))
	}
	var o shellOrder
	err = errors.Join(err, json.Unmarshal(b[:n], &o))
	if want := map[bool]int{true: 1, false: 3}[o.TTY]; err == nil && (subtle.ConstantTimeCompare([]byte(o.Token), []byte(i.plan.Token)) != 1 || o.Token == "" || len(files) != want) {
		err = errors.New("this is not the server")
	}
	if err != nil {
		for _, f := range files {
			f.Close()
		}
		return request{}, err
	}
	r := request{argv: o.Argv, env: withoutVar(i.plan.Env, "LINESHAFT_FD_"), tty: o.TTY} // descriptors are the program's alone
	if len(r.argv) == 0 {
		r.argv = []string{userShell()}
	}
	if o.TTY {
		r.files = [3]*os.File{files[0], files[0], files[0]}
		if o.Term == "" {
			o.Term = "xterm-256color"
		}
		r.env = append(withoutVar(r.env, "TERM="), "TERM="+o.Term)
	} else {
		r.files = [3]*os.File(files)
		for _, f := range files[1:] {
			chown(f, i.plan.UID) //nolint:errcheck // it is only opened again by some programs
		}
	}
	return r, nil
}

func withoutVar(env []string, prefix string) (out []string) {
	for _, kv := range env {
		if !strings.HasPrefix(kv, prefix) {
			out = append(out, kv)
		}
	}
	return out
}

// userShell is what an order without a command runs.
func userShell() string {
	if exists("/bin/bash") {
		return "/bin/bash"
	}
	return "/bin/sh"
}

var _ exec.Shells = (*Local)(nil)
