// Package serve keeps models in service: which versions answer, how one takes over from another, and what they did.
//
// A Manager loads a version beside the one that answers, from the sealed registry into memory (plain bytes never touch
// the disk), switches, lets the requests in flight on the old version end, and frees it. A version that cannot be
// loaded changes nothing: what answered goes on answering, and the failed version says why in its status.
//
// What is wanted of a model is one record: the version that was deployed, and those added beside it. Deploy replaces
// the whole of it, Add adds to it. Versions that an alias of the registry points to are loaded as well while the model
// is in service, so that the alias answers as a label; they answer by label or number only, so that moving an alias
// never changes what a caller without one gets. Such a caller gets the highest version that is AVAILABLE among the
// deployed and added ones, as in TensorFlow Serving. While a release leads from one version to another (rollout.go), such
// callers are dealt out to the two.
//
//	m := serve.New(serve.Options{Store: db, Models: registry, Runtime: runtime.New(runtime.Options{})})
//	go m.Run(ctx) // loads what was deployed before
//	svc, err := m.Deploy(ctx, "user/ann", "mnist", 3)
//	lease, err := m.Acquire("mnist", 0, "")
//	defer lease.Release()
//	err = lease.Run(ctx, &serve.Call{In: []tensor.Tensor{pixels}})
//
// The protocols (serve/tfserving) turn requests into leases and predictions; serve/runtime computes. Neither knows
// where versions come from.
package serve

import (
	"context"
	"io"
	"time"

	"github.com/lineshaft/lineshaft/internal/artifact"
	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/internal/event"
	"github.com/lineshaft/lineshaft/job"
	"github.com/lineshaft/lineshaft/model"
	"github.com/lineshaft/lineshaft/serve/drift"
	"github.com/lineshaft/lineshaft/serve/release"
	"github.com/lineshaft/lineshaft/serve/tensor"
)

// Service is a model in service, as the API shows it.
type Service struct {
	Model    string          `json:"model"`
	Version  int64           `json:"version"`           // that was deployed; 0 where versions were only added
	Default  int64           `json:"default,omitempty"` // what answers a caller who names neither version nor label
	Versions []VersionStatus `json:"versions"`          // highest first; ended ones stay a while
	Requests int64           `json:"requests"`
	Errors   int64           `json:"errors"`
	RPS      float64         `json:"rps"`    // over the last minute, as are the latencies
	P50Ms    float64         `json:"p50_ms"` // of whole requests, in the server
	P99Ms    float64         `json:"p99_ms"`
	Actor    string          `json:"actor"`
	Created  time.Time       `json:"created"`
	Updated  time.Time       `json:"updated"`

	Batching *Batching    `json:"batching,omitempty"` // settings of its own
	Idle     job.Duration `json:"idle,omitempty"`     // without a request, after which its versions leave memory; 0: never
	Queue    *Queue       `json:"queue,omitempty"`    // what waits, and what was joined, over all its versions

	Release  *release.Release `json:"release,omitempty"`      // under way
	Last     *release.Ended   `json:"last_release,omitempty"` // the last one that ended
	Previous int64            `json:"previous,omitempty"`     // version that answered before the deployed one
}

// VersionStatus is one version of a model in service.
type VersionStatus struct {
	Version     int64     `json:"version"`
	State       State     `json:"state"`
	Error       string    `json:"error,omitempty"` // why it could not be loaded
	Labels      []string  `json:"labels,omitempty"`
	Loaded      time.Time `json:"loaded,omitzero"`
	MemoryBytes int64     `json:"memory_bytes,omitempty"`
	Requests    int64     `json:"requests"`
	Errors      int64     `json:"errors"`
	Asleep      bool      `json:"asleep,omitempty"` // out of memory until somebody asks
	Wakes       int64     `json:"wakes,omitempty"`  // how often it came back
	Work        Work      `json:"-"`                // while it is in memory

	Drift *drift.Report `json:"drift,omitempty"` // where its training data, or requests, left a reference

	Inputs  []tensor.Spec `json:"inputs,omitempty"` // while it answers
	Outputs []tensor.Spec `json:"outputs,omitempty"`
}

// Record is what is wanted of a model, as it is stored.
type Record struct {
	Model   string    `json:"model"`
	Version int64     `json:"version"`         // deployed; 0: none
	Added   []int64   `json:"added,omitempty"` // beside it, oldest first
	Actor   string    `json:"actor"`
	Created time.Time `json:"created"`
	Updated time.Time `json:"updated"`

	Batching *Batching    `json:"batching,omitempty"`
	Idle     job.Duration `json:"idle,omitempty"`

	Release  *release.Release `json:"release,omitempty"`
	Last     *release.Ended   `json:"last_release,omitempty"`
	Previous int64            `json:"previous,omitempty"` // that was deployed before Version
}

// Store keeps the records.
type Store interface {
	PutService(ctx context.Context, r Record, events ...event.Event) error
	DeleteService(ctx context.Context, model string, events ...event.Event) error
	Services(ctx context.Context) ([]Record, error)
	// Emit records events that belong to no record: a version that failed to load.
	Emit(ctx context.Context, events ...event.Event) error
}

// Models is the registry: *model.Registry.
type Models interface {
	Resolve(ctx context.Context, name string, version int64, alias string) (model.Version, error)
	Open(ctx context.Context, v model.Version) (artifact.ReaderAt, error)
	Model(ctx context.Context, name string) (model.Model, error)
}

// Runtime turns the bytes of a version into something that answers.
type Runtime interface {
	Load(ctx context.Context, format model.Format, r io.ReaderAt, size int64) (Servable, error)
}

// Servable is a version in memory. Run may be called from many goroutines.
type Servable interface {
	Signature() Signature
	// Run computes c.Out from c.In, which fit the signature.
	Run(ctx context.Context, c *Call) error
	MemoryBytes() int64
	// Close frees the memory; no Run runs or follows.
	Close()
}

// Signature is what a version takes and gives.
type Signature struct {
	Inputs, Outputs []tensor.Spec
	// Batched says that the first dimension of every input and output counts rows that are independent of each other, so
	// that requests may be joined and split along it.
	Batched bool
}

// Call is one request to a version.
type Call struct {
	In  []tensor.Tensor // in the order of the signature's inputs
	Out []tensor.Tensor // in the order of its outputs; Run fills them and uses their memory again
	// Rows is how many rows In has where the signature is Batched, else 1; Check counts them.
	Rows     int
	Priority int // higher goes first
}

// Check holds a call against the signature, counts its rows and makes room for as many outputs as there are.
func (s Signature) Check(c *Call) error {
	const op = "serve.Check"
	if len(c.In) != len(s.Inputs) {
		return errs.Errorf(op, errs.Invalid, "the model has %d inputs, and %d came", len(s.Inputs), len(c.In))
	}
	c.Rows = 1
	for i := range c.In {
		if err := s.Inputs[i].Check(&c.In[i]); err != nil {
			return err
		}
		if !s.Batched {
			continue
		}
		rows := c.In[i].Shape[0]
		switch {
		case rows == 0:
			return errs.Errorf(op, errs.Invalid, "the input %q has no rows: send at least one", s.Inputs[i].Name)
		case i > 0 && rows != c.Rows:
			return errs.Errorf(op, errs.Invalid, "the input %q has %d rows and %q has %d: all inputs of a request have as many", s.Inputs[0].Name, c.Rows, s.Inputs[i].Name, rows)
		}
		c.Rows = rows
	}
	if n := len(s.Outputs); cap(c.Out) < n {
		c.Out = append(c.Out[:cap(c.Out)], make([]tensor.Tensor, n-cap(c.Out))...)
	} else {
		c.Out = c.Out[:n]
	}
	return nil
}
