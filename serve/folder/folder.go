// Package folder is a registry that is a folder: what TensorFlow Serving serves from, numbered versions under a model's
// base path.
//
//	/models/mnist/1/model.h5
//	/models/mnist/2/model.keras
//	/models/mnist/3/anything.onnx
//	/models/mnist/4/saved_model.pb, variables/…
//
// A Registry looks at the folders again and again. A version that comes is loaded beside what answers and takes over, one
// that goes is taken out when its last request has ended; which of those that are there are served is the model's policy
// (config.Policy). What goes wrong changes nothing that answers: a base path that cannot be read leaves everything in
// service, and a version that cannot be loaded is told and tried again, later and later, while the next lower one answers
// in its place.
//
// Files are written while they are looked at. A version counts when its file has rested: it was last changed a while
// before it was found, or two looks in a row find it unchanged. A file that changed while it was being read is not served.
// A version in service is what was loaded: a file that changes afterwards is reported and not read again, since one number
// must not mean two things. It counts when the server starts anew or the version went and came back.
//
// Upload takes a file that never touches the disk, as a version above all others; it stays in memory, until the server
// ends or the folder has that number itself.
//
//	reg := folder.New(folder.Options{})
//	m := serve.New(serve.Options{Store: folder.NewStore(), Models: reg, Runtime: reg.Runtime(rt)})
//	go m.Run(ctx)
//	err := reg.Configure(models)
//	err = reg.Run(ctx, m)
package folder

import (
	"cmp"
	"context"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/lineshaft/lineshaft/internal/artifact"
	"github.com/lineshaft/lineshaft/internal/clock"
	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/internal/nearest"
	"github.com/lineshaft/lineshaft/model"
	"github.com/lineshaft/lineshaft/serve"
	"github.com/lineshaft/lineshaft/serve/config"
)

const (
	rest        = 2 * time.Second // that a file must lie unchanged
	uploadsKeep = 2               // of a model, the newest
	retryFirst  = 2 * time.Second // before a version that could not be loaded is tried again; doubled each time
	retryMost   = 5 * time.Minute
)

// Options is what a Registry works with.
type Options struct {
	Clock clock.Clock
	Log   *slog.Logger // nil: none
	// Poll is how often the folders are looked at. Zero or less looks once, and until what lies there has rested.
	Poll time.Duration
	// Retries is how often a version that could not be loaded is tried again while its file stays the same; zero: 5, less: never.
	Retries int
	// UploadLimit is the largest file that Upload takes, in bytes; zero: 1 GiB.
	UploadLimit int64
}

// Registry finds versions in folders. Its methods may be called from any goroutine.
type Registry struct {
	o    Options
	turn chan struct{} // held by whoever looks at the folders or changes what is to be served
	room chan struct{} // held by the upload whose bytes are in memory
	wake chan struct{} // look now
	up   chan struct{} // closed when everything was looked at once
	once sync.Once

	mu     sync.Mutex // also over the models' own fields
	models map[string]*entry
	left   []string // models that are to be taken out of service
}

// New makes a registry without models.
func New(o Options) *Registry {
	if o.Clock == nil {
		o.Clock = clock.System{}
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Retries == 0 {
		o.Retries = 5
	}
	if o.UploadLimit <= 0 {
		o.UploadLimit = 1 << 30
	}
	return &Registry{
		o: o, models: map[string]*entry{},
		turn: make(chan struct{}, 1), room: make(chan struct{}, 1), wake: make(chan struct{}, 1), up: make(chan struct{}),
	}
}

// entry is one model.
type entry struct {
	config.Model
	found   map[int64]*found
	uploads map[int64]*upload
	serving map[int64]string // the digest that each version was loaded with
	labels  map[string]int64 // that the manager knows of
	asked   bool             // the manager knows the model
	why     string           // why no version is there, or why one that is there is not served
	waits   bool             // something there is not served
	given   string           // the reason that the manager has
	told    string           // the reason that was logged
}

// found is a version as it lies in the folder.
type found struct {
	version int64
	path    string // of its file
	format  model.Format
	size    int64
	print   string    // tells the file from a changed one
	since   time.Time // the print was first seen
	rested  bool
	fault   error // why it is no version yet
	tries   int   // loads of that print that failed
	due     time.Time
	warned  bool // that it changed while in service
}

// Configure says which models there are, replacing what was said before. What is new is served from the next look on,
// which comes at once; what is gone is taken out of service.
func (r *Registry) Configure(models []config.Model) error {
	for _, c := range models {
		if scheme, _, remote := strings.Cut(c.BasePath, "://"); remote {
			return errs.Errorf("folder.Configure", errs.Unsupported, "model %q: base path %q is in %s storage, and only folders of this machine are read: mount it, or copy the versions into a folder",
				c.Name, c.BasePath, scheme)
		}
		if c.Platform != "" && !strings.HasPrefix(c.Platform, "tensorflow") {
			r.o.Log.Info("model_platform has no effect: the format is told from each version's file", "model", c.Name, "model_platform", c.Platform)
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	next := map[string]*entry{}
	for _, c := range models {
		e := r.models[c.Name]
		if e == nil || e.BasePath != c.BasePath {
			fresh := &entry{found: map[int64]*found{}, uploads: map[int64]*upload{}, serving: map[int64]string{}}
			if e != nil {
				fresh.uploads, fresh.asked = e.uploads, e.asked
			}
			e = fresh
		}
		e.Model = c
		next[c.Name] = e
	}
	for name := range r.models {
		if next[name] == nil {
			r.left = append(r.left, name)
		}
	}
	r.left = slices.DeleteFunc(r.left, func(name string) bool { return next[name] != nil })
	r.models = next
	select {
	case r.wake <- struct{}{}:
	default: // it will look anyway
	}
	return nil
}

// Names lists the models.
func (r *Registry) Names() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var names []string
	for name := range r.models {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// entry finds a model; r.mu is held.
func (r *Registry) entry(name string) (*entry, error) {
	if e := r.models[name]; e != nil {
		return e, nil
	}
	var names []string
	for n := range r.models {
		names = append(names, n)
	}
	slices.Sort(names)
	hint := "served are: " + cmp.Or(strings.Join(names, ", "), "none")
	if best := nearest.Name(name, names); best != "" {
		hint = "did you mean " + best + "?"
	}
	return nil, errs.Errorf("folder.Model", errs.NotFound, "no model %.80q is served here; %s", name, hint)
}

// Resolve finds a version by number, by label, or, with neither, the highest.
func (r *Registry) Resolve(_ context.Context, name string, version int64, label string) (model.Version, error) {
	const op = "folder.Resolve"
	r.mu.Lock()
	defer r.mu.Unlock()
	e, err := r.entry(name)
	if err != nil {
		return model.Version{}, err
	}
	if label != "" {
		if version = e.Labels[label]; version == 0 {
			return model.Version{}, errs.Errorf(op, errs.NotFound, "model %q has no label %.80q", name, label)
		}
	}
	if version == 0 {
		version = e.top(func(f *found) bool { return f.ready() })
	}
	f, u := e.source(version, r.o.Clock.Now())
	switch {
	case f != nil && u == nil && e.serving[version] != "":
		return f.as(name, e.serving[version]), nil
	case f != nil:
		return f.as(name, f.print), nil
	case u != nil:
		return u.as(name), nil
	}
	switch f := e.found[version]; {
	case f == nil:
		return model.Version{}, errs.Errorf(op, errs.NotFound, "model %q has no version %d in %s", name, version, e.BasePath)
	case f.fault != nil:
		return model.Version{}, f.fault
	}
	return model.Version{}, errs.Errorf(op, errs.Unavailable, "version %d of model %q is still being copied, or was tried and waits to be tried again", version, name)
}

// source is what a version comes from: the folder, or, where it has none or none that can be had now, an upload. Both are
// given where the folder's is to take the place of the upload. r.mu is held.
func (e *entry) source(n int64, now time.Time) (*found, *upload) {
	f, u := e.found[n], e.uploads[n]
	if f != nil && (f.ready() && !now.Before(f.due) || u == nil && e.serving[n] != "") {
		return f, u
	}
	return nil, u
}

// top is the highest number there is, of what was found only where it counts. r.mu is held.
func (e *entry) top(counts func(*found) bool) int64 {
	top := int64(0)
	for n, f := range e.found {
		if counts(f) {
			top = max(top, n)
		}
	}
	for n := range e.uploads {
		top = max(top, n)
	}
	return top
}

func (f *found) ready() bool { return f.rested && f.fault == nil }

func (f *found) as(name, digest string) model.Version {
	return model.Version{Model: name, Version: f.version, Digest: digest, Size: f.size, Format: f.format, Source: "folder", Creator: actor, Created: f.since}
}

// Model finds a model with its labels, those whose version is there.
func (r *Registry) Model(_ context.Context, name string) (model.Model, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	e, err := r.entry(name)
	if err != nil {
		return model.Model{}, err
	}
	return model.Model{
		Name: name, Versions: len(e.found) + len(e.uploads), Aliases: e.ready(),
		Latest: e.top(func(*found) bool { return true }),
	}, nil
}

// ready are the labels whose version can be served.
func (e *entry) ready() map[string]int64 {
	out := map[string]int64{}
	for label, n := range e.Labels {
		if f := e.found[n]; f != nil && (f.ready() || e.serving[n] != "") || e.uploads[n] != nil {
			out[label] = n
		}
	}
	return out
}

// Open gives the bytes of a version.
func (r *Registry) Open(_ context.Context, v model.Version) (artifact.ReaderAt, error) {
	const op = "folder.Open"
	r.mu.Lock()
	e, err := r.entry(v.Model)
	if err != nil {
		r.mu.Unlock()
		return nil, err
	}
	f, u := e.found[v.Version], e.uploads[v.Version]
	r.mu.Unlock()
	switch {
	case u != nil && u.digest == v.Digest && u.bytes != nil:
		return u.open(), nil
	case f == nil || f.print != v.Digest:
		return nil, errs.Errorf(op, errs.NotFound, "%s is not there any more", v.Subject())
	}
	l := &lying{as: *f}
	if f.format == model.SavedModel {
		l.ReaderAt = tree{f.path}
	} else if l.ReaderAt, err = os.Open(f.path); err != nil {
		return nil, errs.E(op, errs.NotFound, err)
	}
	if err := l.check(); err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}

var _ serve.Models = (*Registry)(nil)
