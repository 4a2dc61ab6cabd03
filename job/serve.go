package job

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/internal/id"
)

// Serve makes a service one that answers requests: each replica listens by HTTP on 127.0.0.1 at a port that it is given, as
// the variable PORT and wherever its command says {port}.
type Serve struct {
	Model    string `json:"model,omitempty" yaml:"model,omitempty"`       // the name under which it is asked; the job's when empty
	Port     Port   `json:"port,omitempty" yaml:"port,omitempty"`         // auto, or the one that the program insists on, for one replica
	Health   string `json:"health,omitempty" yaml:"health,omitempty"`     // path that answers 2xx when the replica is ready; "/health"
	Protocol string `json:"protocol,omitempty" yaml:"protocol,omitempty"` // http
	// Concurrency is how many requests a replica gets at once; the others wait. No bound when 0.
	Concurrency int      `json:"concurrency,omitempty" yaml:"concurrency,omitempty"`
	Balance     string   `json:"balance,omitempty" yaml:"balance,omitempty"` // p2c, least or ring (by the header X-Session, else the caller's token)
	Timeout     Duration `json:"timeout,omitempty" yaml:"timeout,omitempty"` // of a request until its answer begins; 5m
	Wait        Duration `json:"wait,omitempty" yaml:"wait,omitempty"`       // that a request is held while no replica is ready; 1m
	// Idempotent says that a request of any method may be sent twice, as one for a prediction may.
	Idempotent bool `json:"idempotent,omitempty" yaml:"idempotent,omitempty"`
}

// Scale lets the number of replicas follow the load.
type Scale struct {
	Min int `json:"min" yaml:"min"` // 0: none while nobody asks
	Max int `json:"max" yaml:"max"`
	// TargetConcurrency is how many requests a replica is to have on average; where it is not given, how many replicas there
	// should be is learned from Serve.Concurrency, Start and SLO.
	TargetConcurrency float64  `json:"target_concurrency,omitempty" yaml:"target_concurrency,omitempty"`
	SLO               Duration `json:"slo,omitempty" yaml:"slo,omitempty"`     // within which a request is to begin; 1s
	Start             Duration `json:"start,omitempty" yaml:"start,omitempty"` // until a replica is ready; 10s
}

// Port is "auto" or a number.
type Port string

// AutoPort is a port of the server's choice.
const AutoPort Port = "auto"

// UnmarshalJSON reads a number or a text.
func (p *Port) UnmarshalJSON(b []byte) error {
	var number json.Number
	var text string
	switch {
	case json.Unmarshal(b, &text) == nil:
		*p = Port(text)
	case json.Unmarshal(b, &number) == nil:
		*p = Port(number.String())
	default:
		return errs.Errorf("job.Port", errs.Invalid, "%.40s is no port: give a number from 1024 to 65535, or auto", b)
	}
	return nil
}

// fixed is the port that is insisted on; 0 where any will do.
func (p Port) fixed() int {
	n, _ := strconv.Atoi(string(p)) // checkServe has looked at it
	return n
}

func (s *Serve) defaults(name string) {
	s.Model = cmp.Or(s.Model, name)
	s.Port = cmp.Or(s.Port, AutoPort)
	s.Health = cmp.Or(s.Health, "/health")
	s.Protocol = cmp.Or(s.Protocol, "http")
	s.Balance = cmp.Or(s.Balance, "p2c")
	s.Timeout = cmp.Or(s.Timeout, Duration(5*time.Minute))
	s.Wait = cmp.Or(s.Wait, Duration(time.Minute))
}

func (s *Scale) defaults() {
	s.SLO = cmp.Or(s.SLO, Duration(time.Second))
	s.Start = cmp.Or(s.Start, Duration(10*time.Second))
}

// maxConcurrency bounds what a replica may get at once.
const maxConcurrency = 1 << 16

// checkServe looks at how a service is asked, and how it follows its load.
func (s Spec) checkServe() error {
	if s.Serve == nil {
		if s.Scale != nil {
			return invalid("scale without serve: requests are what replicas follow; say in `serve` how the service is asked")
		}
		return nil
	}
	if s.Kind != Service {
		return invalid("serve is of services, which do not end: this is a %s job; write kind: service", s.Kind)
	}
	if err := id.CheckName("model", s.Serve.Model); err != nil {
		return err
	}
	v := s.Serve
	port, err := strconv.Atoi(string(v.Port))
	switch {
	case v.Port != AutoPort && (err != nil || port < 1024 || port > 65535):
		return invalid("serve.port is %q: give a number from 1024 to 65535, or auto", v.Port)
	case v.Port != AutoPort && (s.Tasks > 1 || s.Scale != nil && s.Scale.Max > 1):
		return invalid("serve.port is %s, and replicas on one machine cannot share it: leave it out, and let the program listen on the port that the variable PORT or {port} in its command says", v.Port)
	case !strings.HasPrefix(v.Health, "/") || len(v.Health) > 1000 || strings.ContainsAny(v.Health, "\r\n #"):
		return invalid("serve.health is %q: give the path that answers when the replica is ready, such as /health", v.Health)
	case v.Protocol != "http":
		return invalid("serve.protocol is %q: http is what there is", v.Protocol)
	case v.Concurrency < 0 || v.Concurrency > maxConcurrency:
		return invalid("serve.concurrency is %d: give 1 to %d, or leave it out for no bound", v.Concurrency, maxConcurrency)
	case v.Balance != "p2c" && v.Balance != "least" && v.Balance != "ring":
		return invalid("serve.balance is %q: give p2c, least or ring", v.Balance)
	case v.Timeout < 0 || v.Wait < 0:
		return invalid("serve.timeout is %v and serve.wait %v: give no negative time", time.Duration(v.Timeout), time.Duration(v.Wait))
	case s.Isolation.Network == "none":
		return invalid("isolation.network is none, and a service that is asked by the network needs one: leave it out")
	}
	return s.checkScale()
}

func (s Spec) checkScale() error {
	c := s.Scale
	switch {
	case c == nil:
		return nil
	case c.Min < 0 || c.Max < 1 || c.Min > c.Max || c.Max > MaxTasks:
		return invalid("scale has min %d and max %d: give 0 ≤ min ≤ max ≤ %d, and max at least 1", c.Min, c.Max, MaxTasks)
	case s.Tasks > c.Max:
		return invalid("tasks is %d and scale.max %d: start with no more than there may be", s.Tasks, c.Max)
	case !(c.TargetConcurrency >= 0) || math.IsInf(c.TargetConcurrency, 0):
		return invalid("scale.target_concurrency is %v: give how many requests a replica is to have on average", c.TargetConcurrency)
	case c.TargetConcurrency == 0 && s.Serve.Concurrency == 0:
		return invalid("scale needs to know what a replica can do: give serve.concurrency, how many requests it works on at once, or scale.target_concurrency")
	case c.SLO <= 0 || c.Start <= 0 || time.Duration(c.Start) > time.Hour || time.Duration(c.SLO) > time.Hour:
		return invalid("scale.slo is %v and scale.start %v: give times from above zero to an hour", time.Duration(c.SLO), time.Duration(c.Start))
	}
	return nil
}

// few is the least replicas that a service may have.
func (s Spec) few() int {
	if s.Scale != nil && s.Scale.Min == 0 {
		return 0
	}
	return 1
}

// Replicas get ports from here; above begin those that the system gives to whoever asks.
const (
	firstPort = 30_000
	ports     = 2_700
)

// port gives a new attempt of a replica a port of its node that no other has, another one than the attempt before: it may
// have ended because somebody else listens there.
func (c *Core) port(j *Job, t *Task, node string) int {
	if j.Spec.Serve == nil {
		return 0
	}
	if p := j.Spec.Serve.Port.fixed(); p != 0 {
		return p
	}
	taken := map[int]bool{}
	for _, o := range c.jobs {
		for _, x := range o.Tasks {
			if x.Port != 0 && x.Node == node && x.State.Live() {
				taken[x.Port] = true
			}
		}
	}
	at := (int(j.ID)*131 + t.Index*17 + t.Attempt*7) % ports
	for i := range ports {
		if p := firstPort + (at+i)%ports; !taken[p] {
			return p
		}
	}
	return firstPort + at
}

// sameName refuses a service under a name that another answers to.
func sameName(j Job, active []Job) error {
	if j.Spec.Serve == nil {
		return nil
	}
	for _, o := range active {
		if o.Spec.Serve != nil && o.Spec.Serve.Model == j.Spec.Serve.Model {
			return errs.Errorf("job.Admit", errs.Exists, "job %d answers as %q already: cancel it first, or give another name in serve.model", o.ID, o.Spec.Serve.Model)
		}
	}
	return nil
}

// Argv is the command of a task, with its port where it says {port}.
func (j Job) Argv(t Task) []string {
	if t.Port == 0 {
		return j.Spec.Command
	}
	out := make([]string, len(j.Spec.Command))
	for i, arg := range j.Spec.Command {
		out[i] = strings.ReplaceAll(arg, "{port}", strconv.Itoa(t.Port))
	}
	return out
}

// Address is where a replica listens; empty where it does not.
func (t Task) Address() string {
	if t.Port == 0 {
		return ""
	}
	return fmt.Sprintf("127.0.0.1:%d", t.Port)
}
