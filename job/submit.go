package job

import (
	"cmp"
	"math"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/internal/id"
	"github.com/lineshaft/lineshaft/internal/manifest"
	"github.com/lineshaft/lineshaft/internal/units"
	"github.com/lineshaft/lineshaft/sched"
)

// What a task gets when the spec does not say.
const (
	DefaultCPU       = 1
	DefaultMemory    = units.GiB
	DefaultDisk      = units.GiB
	DefaultProcesses = 512
	DefaultGrace     = Duration(10 * time.Second)
)

// Bounds of a spec, beyond which a number is a mistake.
const (
	maxRetries = 100
	maxGrace   = 10 * time.Minute
	maxEntries = 1000 // of command, env, secrets, data
	maxText    = 128 << 10
)

// Parse reads a spec from YAML or JSON, strictly: an unknown field is an error with its line, column and the nearest
// right name. Sections give the parts that others own a type to be checked against, as
// manifest.Section{Path: "train", Type: train.Spec{}}. The spec has its defaults and is valid.
func Parse(data []byte, sections ...manifest.Section) (Spec, error) {
	var s Spec
	if err := manifest.Decode(data, &s, sections...); err != nil {
		return Spec{}, errs.E("job.Parse", errs.Other, err)
	}
	s = s.Defaults()
	return s, s.Validate()
}

// Defaults fills in what is absent.
func (s Spec) Defaults() Spec {
	if s.Kind == "" {
		s.Kind = Command
		if len(s.Train) > 0 {
			s.Kind = Train
		}
	}
	if s.Name == "" && len(s.Command) > 0 {
		s.Name = nameOf(s.Command[0])
	}
	s.Tasks = cmp.Or(s.Tasks, 1)
	s.Grace = cmp.Or(s.Grace, DefaultGrace)
	r := &s.Resources
	r.CPU = cmp.Or(r.CPU, DefaultCPU)
	r.Memory = cmp.Or(r.Memory, DefaultMemory)
	r.Disk = cmp.Or(r.Disk, DefaultDisk)
	r.Processes = cmp.Or(r.Processes, DefaultProcesses)
	if r.Share > 0 {
		r.Accelerators = cmp.Or(r.Accelerators, 1)
	}
	s.Isolation.Network = cmp.Or(s.Isolation.Network, "host")
	if s.Serve != nil {
		serve := *s.Serve
		serve.defaults(s.Name)
		s.Serve = &serve
	}
	if s.Scale != nil {
		scale := *s.Scale
		scale.defaults()
		s.Scale = &scale
	}
	return s
}

// nameOf makes a job's name of a program's path.
func nameOf(program string) string {
	clean := strings.Map(func(r rune) rune {
		if r == '.' || r == '-' || r == '_' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' {
			return r
		}
		return '-'
	}, path.Base(program))
	clean = strings.Trim(strings.ReplaceAll(clean, "..", "-"), ".-_")
	return cmp.Or(clean[:min(len(clean), 40)], "job")
}

func invalid(format string, args ...any) error {
	return errs.Errorf("job.Validate", errs.Invalid, format, args...)
}

// Validate says what is wrong with a spec that has its defaults.
func (s Spec) Validate() error {
	if s.Name == "" {
		return invalid("the job has no name: give it one in `name`")
	}
	if err := id.CheckName("job", s.Name); err != nil {
		return err
	}
	for _, check := range []func() error{s.checkKind, s.checkNumbers, s.Resources.validate, s.Topology.validate, s.checkTimes, s.checkArray, s.checkEnv, s.checkSecrets, s.checkRefs, s.checkServe} {
		if err := check(); err != nil {
			return err
		}
	}
	return nil
}

func (s Spec) checkKind() error {
	switch s.Kind {
	case Train:
		switch {
		case len(s.Train) == 0 || string(s.Train) == "null":
			return invalid("a train job needs the section `train` that describes the network and its training")
		case len(s.Command) > 0:
			return invalid("a train job has no `command`: the built-in trainer is the program; for your own use kind: command")
		case s.Tasks != 1:
			return invalid("a train job has 1 task, not %d: the built-in trainer runs on one node", s.Tasks)
		}
	case Command, Service:
		switch {
		case len(s.Train) > 0:
			return invalid("a %s job has no section `train`: leave it out, or use kind: train", s.Kind)
		case len(s.Command) == 0 || s.Command[0] == "":
			return invalid("a %s job needs `command`: a list of the program and its arguments", s.Kind)
		}
	default:
		return invalid("kind %q is not known: use train, command or service", s.Kind)
	}
	for i, arg := range s.Command {
		if len(arg) > maxText || strings.ContainsRune(arg, 0) {
			return invalid("command[%d] is longer than %d bytes or has a zero byte", i, maxText)
		}
	}
	return nil
}

func (s Spec) checkNumbers() error {
	switch {
	case s.Tasks < 1 || s.Tasks > MaxTasks:
		return invalid("tasks is %d: give 1 to %d", s.Tasks, MaxTasks)
	case s.MinTasks != 0 && s.Kind != Command:
		return invalid("min_tasks is of command jobs: a %s job cannot change its size while it runs", s.Kind)
	case s.MinTasks < 0 || s.MinTasks > s.Tasks:
		return invalid("min_tasks is %d of %d tasks: give 1 to %d, or leave it out", s.MinTasks, s.Tasks, s.Tasks)
	case s.Priority < -100 || s.Priority > 100:
		return invalid("priority is %d: give -100 to 100", s.Priority)
	case s.Retries < 0 || s.Retries > maxRetries:
		return invalid("retries is %d: give 0 to %d", s.Retries, maxRetries)
	case s.Timeout < 0:
		return invalid("timeout is negative: give a duration such as 2h, or leave it out for none")
	case s.Grace < 0 || time.Duration(s.Grace) > maxGrace:
		return invalid("grace is %v: give 0s to %v", time.Duration(s.Grace), maxGrace)
	}
	for _, list := range []struct {
		name string
		n    int
	}{{"command", len(s.Command)}, {"env", len(s.Env)}, {"secrets", len(s.Secrets)}, {"data", len(s.Data)}} {
		if list.n > maxEntries {
			return invalid("%s has %d entries: at most %d are allowed", list.name, list.n, maxEntries)
		}
	}
	return nil
}

func (r Resources) validate() error {
	switch {
	case !(r.CPU > 0) || math.IsInf(r.CPU, 0) || r.CPU > 1e6:
		return invalid("resources.cpu is %v: give a positive number of cores, such as 0.5 or 2", r.CPU)
	case r.Memory < units.MiB:
		return invalid("resources.memory is %v: give at least 1MiB", r.Memory)
	case r.Disk < units.MiB:
		return invalid("resources.disk is %v: give at least 1MiB", r.Disk)
	case r.Processes < 1 || r.Processes > 1<<20:
		return invalid("resources.processes is %d: give 1 to %d", r.Processes, 1<<20)
	case r.Accelerators < 0 || r.Accelerators > 1024:
		return invalid("resources.accelerators is %d: give 0 to 1024", r.Accelerators)
	case len(r.Model) > 64 || slices.Contains(r.Model, ""):
		return invalid("resources.model is %q: give 1 to 64 names of models, none of them empty", r.Model)
	case r.Storage != 0 && r.Storage < units.MiB:
		return invalid("resources.storage is %v: give at least 1MiB, or leave it out", r.Storage)
	case r.Bandwidth != 0 && r.Bandwidth < 1000:
		return invalid("resources.bandwidth is %v: give at least 1kbit/s, or leave it out", r.Bandwidth)
	case !(r.Watts >= 0) || r.Watts > 1e9:
		return invalid("resources.watts is %v: give the watts that a task draws at most, or leave it out", r.Watts)
	}
	return r.devices()
}

// devices checks what is said of the accelerators.
func (r Resources) devices() error {
	for _, f := range []struct {
		name, value string
		given       bool
	}{
		{"kind", r.Kind, r.Kind != ""},
		{"model", r.Model.String(), len(r.Model) > 0},
		{"accelerator_memory", r.AcceleratorMemory.String(), r.AcceleratorMemory != 0},
	} {
		if f.given && r.Accelerators == 0 {
			return invalid("resources.%s is %q without resources.accelerators: say how many", f.name, f.value)
		}
	}
	switch {
	case r.Kind != "" && !slices.Contains(kinds[:], r.Kind):
		return invalid("resources.kind is %q: give %s", r.Kind, strings.Join(kinds[:], ", "))
	case !(r.Share >= 0) || r.Share > 1 || math.Abs(r.Share*1000-math.Round(r.Share*1000)) > 1e-6:
		return invalid("resources.share is %v: give the part of one accelerator in thousandths, from 0.001 to 1, such as 0.25", r.Share)
	case r.Share > 0 && r.Share < 1 && r.Accelerators != 1:
		return invalid("resources.share is %v of %d accelerators: a part is of 1; leave out resources.accelerators, or the share", r.Share, r.Accelerators)
	case r.AcceleratorMemory < 0 || r.AcceleratorMemory > 0 && r.AcceleratorMemory < units.MiB:
		return invalid("resources.accelerator_memory is %v: give at least 1MiB, or leave it out", r.AcceleratorMemory)
	}
	return nil
}

// checkTimes looks at when the job may start and must have ended.
func (s Spec) checkTimes() error {
	switch {
	case s.Deferrable && s.Deadline == nil:
		return invalid("deferrable without a deadline: say by when it must have ended, so that it does not wait for ever")
	case s.Kind == Service && (s.Deferrable || s.Deadline != nil):
		return invalid("a service does not end: leave out `deadline` and `deferrable`")
	case s.NotBefore != nil && s.Deadline != nil && !s.Deadline.After(*s.NotBefore):
		return invalid("deadline %s is not after not_before %s", s.Deadline.Format(time.RFC3339), s.NotBefore.Format(time.RFC3339))
	}
	return nil
}

// kinds are those of accelerators.
var kinds = [...]string{"gpu", "npu", "tpu"}

func (t Topology) validate() error {
	switch t.Level {
	case "":
		if t.Hard {
			return invalid("topology.hard without topology.level: say what the tasks are to share, domain, node or rack")
		}
	case sched.LevelDomain, sched.LevelNode, sched.LevelRack:
	default:
		return invalid("topology.level is %q: give domain (accelerators that are joined), node or rack", t.Level)
	}
	return nil
}

var envName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]{0,127}$`)

func checkEnvName(where, name string) error {
	if !envName.MatchString(name) {
		return invalid("%s: %q is not the name of an environment variable: use letters, digits and _", where, name)
	}
	if strings.HasPrefix(name, "LINESHAFT_") || strings.HasPrefix(name, "LD_") {
		return invalid("%s: %q is reserved: LINESHAFT_… and LD_… are set by the server", where, name)
	}
	return nil
}

func (s Spec) checkEnv() error {
	for name, value := range s.Env {
		if err := checkEnvName("env", name); err != nil {
			return err
		}
		if len(value) > maxText || strings.ContainsRune(value, 0) {
			return invalid("env.%s is longer than %d bytes or has a zero byte", name, maxText)
		}
	}
	return nil
}

func (s Spec) checkSecrets() error {
	for i, ref := range s.Secrets {
		if err := id.CheckName("secret", ref.Name); err != nil {
			return err
		}
		if (ref.Env == "") == (ref.File == "") {
			return invalid("secrets[%d] (%s): give it to the task as either `env` or `file`", i, ref.Name)
		}
		if ref.Env != "" {
			if err := checkEnvName("secrets["+strconv.Itoa(i)+"].env", ref.Env); err != nil {
				return err
			}
			if _, twice := s.Env[ref.Env]; twice {
				return invalid("secrets[%d]: %s is set in env too", i, ref.Env)
			}
			continue
		}
		if err := id.CheckName("secret's file", ref.File); err != nil {
			return err
		}
	}
	return nil
}

var digest = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)

// checkRefs looks at what points outside of the spec; whether it is there, admission says.
func (s Spec) checkRefs() error {
	for _, ref := range s.Data {
		name, version, pinned := strings.Cut(ref, "@")
		if err := id.CheckName("data set", name); err != nil {
			return err
		}
		if v, err := strconv.ParseInt(version, 10, 64); pinned && (err != nil || v < 1) {
			return invalid("data set %q: the version after @ must be a number from 1", ref)
		}
	}
	if s.Code != "" && !digest.MatchString(s.Code) {
		return invalid("code %q is not the digest of an uploaded folder: `lineshaft submit --code DIR` uploads one", s.Code)
	}
	if s.Register != "" {
		if err := id.CheckName("model", s.Register); err != nil {
			return err
		}
		if s.Kind == Service {
			return invalid("a service does not end, so there is nothing to register: leave out `register`")
		}
	}
	if n := s.Isolation.Network; n != "host" && n != "none" {
		return invalid("isolation.network is %q: use host or none", n)
	}
	return nil
}

// New is the record of a job as it is accepted; the store gives it its ID.
func New(s Spec, owner string, now time.Time) Job {
	j := Job{
		Name: s.Name, Kind: s.Kind, Owner: owner, State: Queued, Priority: s.Priority, Spec: s,
		Attempt: 1, RetriesLeft: s.Retries, Created: now,
	}
	for i := range s.Tasks {
		j.Tasks = append(j.Tasks, Task{Index: i, State: Queued})
	}
	return j
}
