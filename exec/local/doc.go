// Package local runs tasks as isolated processes on this machine.
//
// Four processes of the same binary share the work, each with less than the one before:
//
//	server ── shim ── init ── program
//
// The server writes down what it is about to start (intent.json) and starts the shim. The shim is a session of its own
// and outlives the server: it holds a lock for the task's index, so that two attempts of a task never run at once,
// keeps the log, enforces the timeout and the disk limit, and writes how the attempt ended (exit.json) durably. Init is
// the first process of the task's own namespaces: it builds the file system that the task sees, puts itself and all that
// it will start behind Landlock, starts the program with less than its own rights, forwards signals and collects
// orphans; when it dies, the kernel kills all that is left. The program runs without new privileges and without
// capabilities, as a user of its own where the server is root.
//
// A task sees the system's folders, read only; its own work and out folders; a /tmp, /dev/shm and secrets in memory; the
// devices that it was granted; its own processes. It sees nothing of the data folder, of homes, or of other tasks.
//
// How far this machine lets a task be separated is found out once, by trying (levels in level.go), and told by
// Isolation. An attempt is refused where a feature cannot be enforced, unless its policy allows less.
//
// What a server knows of attempts it reads from disk each time, so a restarted server needs no adoption step. A shim is
// known by process ID, start time and boot, so a process ID that was used again is not mistaken for it.
//
//	DIR/JOB/INDEX/lock
//	DIR/JOB/INDEX/ATTEMPT/{intent.json, shim.json, exit.json, log.OFFSET, shell, work/, out/}
//
// Without namespaces a task of another user could not reach a folder below the closed data folder; its folders then lie
// elsewhere and ATTEMPT/place is a link to them.
//
// Tasks need Linux. On other systems the package compiles and every call says so.
package local

import (
	"log/slog"
	"time"

	"github.com/lineshaft/lineshaft/internal/units"
)

// Options of New.
type Options struct {
	Dir  string   // of the attempts' folders; made 0700
	Hide []string // folders that no task may see: the data folder
	Read []string // folders that tasks may read beside the system's: environments of languages, say
	Log  *slog.Logger

	FirstID   int           // first user ID for tasks when the server is root; 0: 200000
	Processes int           // of a task that asks for no limit; 0: 4096
	Unpacked  units.Bytes   // most that an archive may unpack to, where the task has no disk limit; 0: 8 GiB
	Reserve   units.Bytes   // when less of the disk is free, the tasks that fill it are ended
	Window    time.Duration // over which recent use is told; 0: 30 s
	Devices   string        // where device nodes are; "": /dev
	Drivers   string        // where drivers tell of themselves; "": /proc/driver

	level    string // of isolation, for tests; "": the strongest that works
	loopback bool   // counts as traffic, for tests
}
