package access

import (
	"sync"
	"sync/atomic"
	"time"

	cedar "github.com/cedar-policy/cedar-go"

	"github.com/lineshaft/lineshaft/internal/clock"
	"github.com/lineshaft/lineshaft/internal/errs"
)

// Role is what an account or a token is for.
type Role string

// The roles. The first four can be given; Anon is the role of who brings no credentials.
const (
	Admin       Role = "admin"
	Developer   Role = "developer"
	Viewer      Role = "viewer"
	ServiceRole Role = "service"
	Anon        Role = "anonymous"
)

// ParseRole reads a role that can be given.
func ParseRole(s string) (Role, error) {
	switch r := Role(s); r {
	case Admin, Developer, Viewer, ServiceRole:
		return r, nil
	}
	return "", errs.Errorf("access.ParseRole", errs.Invalid, "role %q is not known: use admin, developer, viewer or service", s)
}

// covers reports whether whoever has role r may hand out role other: nobody gives more than they have.
func (r Role) covers(other Role) bool {
	switch r {
	case Admin:
		return other == Admin || other == Developer || other == Viewer || other == ServiceRole
	case Developer:
		return other == Developer || other == Viewer || other == ServiceRole
	case Viewer, ServiceRole:
		return other == r
	}
	return false
}

// Principal is who asks.
type Principal struct {
	Name   string   `json:"name"`
	Role   Role     `json:"role"`
	Via    string   `json:"via"`              // password, link, token, socket, server, anonymous
	Token  string   `json:"token,omitempty"`  // the token's ID
	Scopes []string `json:"scopes,omitempty"` // what the token is limited to; none means everything that the role may
}

// Actor names the principal in events and the audit log.
func (p Principal) Actor() string {
	if p.Role == Anon || p.Name == "" {
		return "anonymous"
	}
	return "user/" + p.Name
}

// Anonymous is who brings no credentials.
func Anonymous() Principal {
	return Principal{Name: "anonymous", Role: Anon, Via: "anonymous"}
}

// Socket is the owner of the data folder, who came in by its 0600 socket.
func (s *Service) Socket() Principal { return Principal{Name: "admin", Role: Admin, Via: "socket"} }

// Resource is what is asked for. A collection has no name.
type Resource struct {
	Type  string // job, model, data, ... as in Rights
	Name  string
	Owner string // account name, "" where nobody owns it
}

// Subject names the resource in events and the audit log.
func (r Resource) Subject() string { return r.Type + "/" + r.Name }

// Options are what a Service works with. The durations may be zero.
type Options struct {
	Store Store
	Clock clock.Clock
	// Demo lets anonymous callers load, predict and read status.
	Demo bool
	// Hash is how new passwords are hashed; DefaultHash where zero.
	Hash Params

	SessionIdle time.Duration // a session ends when it is not used for so long; 12 h
	SessionMax  time.Duration // and in any case after so long; 30 days
	FlushEvery  time.Duration // between writes of refusals and of times of use; 5 s
}

// Service knows the accounts, tokens, sessions and grants, and decides. Its methods may be called from any goroutine.
type Service struct {
	o        Options
	policies *cedar.PolicySet // compiled once
	hasher   *hasher
	guesses  guesses
	refusals refusals

	change sync.Mutex           // held over a change: the store and then the memory
	state  atomic.Pointer[view] // nil until it is read from the store
}

// New makes a service; it reads the store when it is first asked, and writes in the background only while Run runs.
func New(o Options) *Service {
	if o.Hash == (Params{}) {
		o.Hash = DefaultHash()
	}
	def := func(d *time.Duration, v time.Duration) {
		if *d <= 0 {
			*d = v
		}
	}
	def(&o.SessionIdle, 12*time.Hour)
	def(&o.SessionMax, 30*24*time.Hour)
	def(&o.FlushEvery, 5*time.Second)
	return &Service{
		o: o, policies: compile(),
		hasher: newHasher(o.Hash), guesses: guesses{by: map[string]guess{}}, refusals: refusals{by: map[refusal]*count{}},
	}
}
