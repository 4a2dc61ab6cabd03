// Package app puts the machine together: it reads the configuration, builds every part by hand from the bottom up, hands
// each the implementations of the interfaces that it declares, and runs them until they are to end. Reading Open shows
// the whole machine. Where jobs meet data sets, keys and the registry is launch.go.
package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/lineshaft/lineshaft/api"
	"github.com/lineshaft/lineshaft/calendar"
	"github.com/lineshaft/lineshaft/console"
	"github.com/lineshaft/lineshaft/control"
	"github.com/lineshaft/lineshaft/data"
	"github.com/lineshaft/lineshaft/exec"
	"github.com/lineshaft/lineshaft/exec/local"
	"github.com/lineshaft/lineshaft/fleet"
	"github.com/lineshaft/lineshaft/internal/clock"
	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/internal/lasting"
	"github.com/lineshaft/lineshaft/internal/sock"
	"github.com/lineshaft/lineshaft/internal/web"
	"github.com/lineshaft/lineshaft/job"
	"github.com/lineshaft/lineshaft/model"
	"github.com/lineshaft/lineshaft/sched"
	"github.com/lineshaft/lineshaft/serve"
	"github.com/lineshaft/lineshaft/serve/requestlog"
	"github.com/lineshaft/lineshaft/serve/tfserving"
	"github.com/lineshaft/lineshaft/serve/upstream"
	"github.com/lineshaft/lineshaft/solve"
	"github.com/lineshaft/lineshaft/store"
	"github.com/lineshaft/lineshaft/store/blob"
	"github.com/lineshaft/lineshaft/store/sqlite"
	"github.com/lineshaft/lineshaft/train/compress"
	"github.com/lineshaft/lineshaft/trust/access"
	"github.com/lineshaft/lineshaft/trust/seal"
	"github.com/lineshaft/lineshaft/trust/secret"
)

// Server is the whole machine, put together by hand. Open builds it from the bottom up, Run sets it going.
type Server struct {
	cfg Config
	log *slog.Logger

	lock  *os.File
	clock clock.Clock

	keys  *seal.Keyring
	blobs *blob.Store
	db    *store.DB

	access     *access.Service
	secrets    *secret.Service
	registry   *model.Registry
	compressor *compress.Service
	sets       *data.Sets
	code       *code
	fleet      *fleet.Fleet
	calendar   *calendar.Calendar
	tasks      *local.Local
	jobs       *job.Runner
	stopper    *drained
	serving    *serve.Manager
	upstreams  *upstream.Upstreams
	requests   *requestlog.Log // nil where none is kept
	loop       *control.Runner
	solver     *solve.Engine
	metrics    *prometheus.Registry

	created bool // the account admin was made by this start
	ports   ports
}

// Options of Open beside the configuration.
type Options struct {
	// Demo lets anonymous callers on loopback load models and predict, and tasks start with less isolation.
	Demo bool
	Log  *slog.Logger
}

// Open takes the data folder, builds every part and binds the ports. Close undoes it; Run does both ends.
func Open(ctx context.Context, cfg Config, opt Options) (s *Server, err error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if cfg.Data, err = filepath.Abs(cfg.Data); err != nil {
		return nil, errs.E("app.Open", errs.Invalid, err)
	}
	s = &Server{cfg: cfg, log: opt.Log, clock: clock.System{}, metrics: prometheus.NewRegistry()}
	if s.lock, err = takeFolder(cfg.Data); err != nil {
		return nil, err
	}
	for _, build := range []func(context.Context, Options) error{s.openRecords, s.openTrust, s.openModels, s.openSolver, s.openJobs, s.openServing, s.openLoop, s.bind} {
		if err := build(ctx, opt); err != nil {
			s.Close()
			return nil, err
		}
	}
	return s, nil
}

// Close frees what Open took.
func (s *Server) Close() {
	s.ports.close()
	if s.db != nil {
		s.db.Close()
	}
	s.lock.Close()
}

func (s *Server) path(name string) string { return filepath.Join(s.cfg.Data, name) }

func (s *Server) openRecords(ctx context.Context, _ Options) (err error) {
	if s.keys, err = s.openKeys(); err != nil {
		return err
	}
	if s.blobs, err = blob.Open(s.path(blobsFolder), s.keys); err != nil {
		return err
	}
	s.blobs.Reserve = int64(s.cfg.DiskReserve)
	db, err := sqlite.Open(ctx, s.path(databaseFile))
	if err != nil {
		return err
	}
	s.db = store.New(db, s.clock, s.keys)
	return s.sweep(ctx)
}

// sweep removes sealed files that a crash left without a record.
func (s *Server) sweep(ctx context.Context) error {
	held, err := s.db.WrappedKeys(ctx)
	if err != nil {
		return err
	}
	var keys []string
	for _, h := range held {
		if h.Context == blob.Context {
			keys = append(keys, h.Wrapped...)
		}
	}
	n, err := s.blobs.Sweep(keys)
	if n > 0 {
		s.log.Info("removed sealed files that no record speaks of", "files", n)
	}
	return err
}

func (s *Server) openModels(context.Context, Options) error {
	limit := int64(s.cfg.UploadLimit)
	s.registry = &model.Registry{Store: s.db, Blobs: s.blobs, Clock: s.clock, Check: checkModel, Limit: limit, Attachments: s.db, Keys: s.keys}
	s.compressor = compress.New(s.registry, s.blobs, s.clock)
	s.sets = &data.Sets{Store: s.db, Blobs: s.blobs, Clock: s.clock, Limit: limit}
	s.code = &code{db: s.db, blobs: s.blobs, limit: min(limit, maxCode)}
	return nil
}

func (s *Server) openJobs(ctx context.Context, opt Options) (err error) {
	if s.tasks, err = local.New(local.Options{Dir: s.path(tasksFolder), Hide: []string{s.cfg.Data}, Read: s.cfg.TaskRead, Reserve: s.cfg.DiskReserve, Log: s.log}); err != nil {
		return err
	}
	if s.fleet, err = fleet.Open(ctx, s.db, s.clock); err != nil {
		return err
	}
	if err := s.fleet.Describe(s.cfg.Site.Site); err != nil {
		return err
	}
	if err := s.look(ctx); err != nil {
		return err
	}
	s.unseen()
	if s.calendar, err = calendar.Open(ctx, calendar.Options{Store: s.db, Clock: s.clock, Log: s.log, Nodes: s.fleet.Nodes, Queue: s.cfg.share().Queue, User: s.account}); err != nil {
		return err
	}
	l := &launcher{
		db: s.db, keys: s.keys, blobs: s.blobs, sets: s.sets, registry: s.registry, code: s.code, log: s.log,
		secret: s.secretFor, outputs: s.tasks, less: s.cfg.AllowLess || opt.Demo,
	}
	site, err := s.withRule(s.cfg.share())
	if err != nil {
		return err
	}
	var solver sched.Solver
	if s.solver.Built() {
		solver = s.solver
	}
	s.stopper = &drained{Tasks: s.tasks, log: s.log}
	s.jobs = job.NewRunner(job.Options{
		Solver: solver,
		Store:  s.db, Tasks: s.stopper, Outputs: s.tasks, Meters: s.tasks, Clock: s.clock, Log: s.log,
		Nodes: s.fleet.Nodes, Reserved: s.calendar.Reserved, Launch: l.launch, OnFinish: l.finish, Keep: s.cfg.KeepJobs, Site: site,
	})
	return nil
}

// lookEvery is how often the machine is looked at: its disk fills and empties by others' doing too.
const lookEvery = 10 * time.Second

// look reports what this machine has.
func (s *Server) look(ctx context.Context) error {
	facts, err := s.tasks.Facts(ctx)
	if err != nil {
		return err
	}
	return s.fleet.Report(node(facts))
}

// unseen says which nodes are described and not there: a name may be wrong.
func (s *Server) unseen() {
	nodes := s.fleet.Nodes()
	for _, n := range s.cfg.Site.Nodes {
		if !slices.ContainsFunc(nodes, func(m fleet.Node) bool { return m.Name == n.Name }) {
			s.log.Warn("the configuration describes a node that is not there; `lineshaft fleet` shows the names", "key", "site.nodes", "node", n.Name)
		}
	}
}

func (s *Server) lookOften(ctx context.Context) error {
	failing := lasting.New(s.log, s.clock, "node: this machine could not be looked at")
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			if err := s.look(ctx); err != nil {
				failing.Met(err)
				continue
			}
			failing.Over()
		}
	}
}

// node is a machine's facts as the fleet keeps them.
func node(f exec.Facts) fleet.Node {
	n := fleet.Node{Name: f.Name, CPU: f.CPU, Memory: f.Memory, Disk: f.Disk}
	for _, a := range f.Accelerators {
		n.Accelerators = append(n.Accelerators, fleet.Accelerator{ID: a.Index, Model: a.Model, Memory: a.Memory})
	}
	return n
}

func (s *Server) openLoop(context.Context, Options) error {
	s.loop = control.NewRunner(control.Options{
		Store: s.db, Jobs: s.jobs, Tasks: s.jobs, Services: s.serving, Scaled: s.upstreams, Clock: s.clock, Log: s.log,
		Policies: []control.Policy{
			control.Restart(control.RestartOptions{}), control.Grants(control.GrantsOptions{}), control.Defragment(control.DefragmentOptions{}),
			control.Scale(control.ScaleOptions{}), control.Release(),
		},
	})
	return nil
}

// ports are the sockets the server listens on, in the order in which they are told to people.
type ports struct {
	api, rest, grpc, owner net.Listener
}

func (p ports) close() {
	for _, l := range []net.Listener{p.api, p.rest, p.grpc, p.owner} {
		if l != nil {
			l.Close()
		}
	}
}

func (s *Server) bind(ctx context.Context, _ Options) (err error) {
	for _, p := range []struct {
		key, addr string
		to        *net.Listener
	}{{"listen", s.cfg.Listen, &s.ports.api}, {"serve-listen", s.cfg.ServeListen, &s.ports.rest}, {"serve-grpc-listen", s.cfg.ServeGRPCListen, &s.ports.grpc}} {
		if *p.to, err = (&net.ListenConfig{}).Listen(ctx, "tcp", p.addr); err != nil {
			return errs.Errorf("app.bind", errs.Unavailable, "cannot listen on %s: %v; give another with --%s HOST:PORT (port 0 takes a free one)", p.addr, cause(err), p.key)
		}
	}
	s.ports.owner, err = sock.Listen(s.cfg.Data)
	return err
}

// cause is what the system said, without the address again.
func cause(err error) error {
	var sys *os.SyscallError
	if errors.As(err, &sys) {
		return sys.Err
	}
	return err
}

// URL is the address of the console and the API.
func (s *Server) URL() string { return "http://" + s.ports.api.Addr().String() }

// ServeURL is the address of serving by REST.
func (s *Server) ServeURL() string { return "http://" + s.ports.rest.Addr().String() }

// GRPCAddr is the address of serving by gRPC.
func (s *Server) GRPCAddr() string { return s.ports.grpc.Addr().String() }

// Data is the data folder's absolute path.
func (s *Server) Data() string { return s.cfg.Data }

// SignInLink makes a link that signs the account admin in once, within the hour.
func (s *Server) SignInLink(ctx context.Context) (string, error) {
	code, err := s.access.NewLink(ctx, "admin")
	if err != nil {
		return "", err
	}
	// After '#' it stays in the browser: neither logs nor a Referer header carry it.
	return s.URL() + "/signin#" + code, nil
}

// face is the handler of the console's and the API's port, and of the owner's socket.
func (s *Server) face(ctx context.Context) http.Handler {
	var requests api.Requests // an interface that holds a nil log is not nil
	if s.requests != nil {
		requests = s.requests
	}
	return api.New(api.Options{
		Requests: requests,
		Jobs:     s.jobs, Models: s.registry, Sets: s.sets, Code: s.code, Services: s.serving, Upstreams: s.upstreams, Fleet: s.fleet, Calendar: s.calendar, Control: s.loop, Solver: s.solver,
		Access: s.access, Secrets: s.secrets, Shells: s.tasks, Keys: s.rotator(), Rows: s.db,
		Predict: func(ctx context.Context, model string, version int64, label string, body []byte) ([]byte, error) {
			return tfserving.Predict(ctx, s.serving, model, version, label, body, nil)
		},
		Compressor: s.compressor, Convert: convert, Console: console.Handler(), Addresses: api.Addresses{Console: s.URL(), Serving: s.ServeURL(), ServingGRPC: s.GRPCAddr()}, Version: Version, Clock: s.clock, Log: s.log,
		BodyLimit: int64(s.cfg.BodyLimit), UploadLimit: int64(s.cfg.UploadLimit),
		Ready: s.ready, Closing: ctx, Registerer: s.metrics, Gatherer: s.metrics,
	})
}

// ready says what is not there yet: the models that were in service when the server last ended.
func (s *Server) ready(context.Context) error {
	select {
	case <-s.serving.Restored():
		return nil
	default:
		return errs.Errorf("app.ready", errs.Unavailable, "the models in service are being loaded: try again in a moment")
	}
}

// drain is how long requests under way may take when the server stops.
const drain = 5 * time.Second

// Run serves until ctx ends, then lets requests end, stops every part and frees the folder. Tasks run on. An error is
// that of the part that broke first.
func (s *Server) Run(ctx context.Context) error {
	defer s.Close()
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var parts sync.WaitGroup
	part := func(name string, run func(context.Context) error) {
		parts.Go(func() {
			if err := run(ctx); err != nil && ctx.Err() == nil {
				stop(errs.E("app.Run", errs.Other, fmt.Errorf("%s: %w", name, err)))
			}
		})
	}
	part("access", s.access.Run)
	part("jobs", s.jobs.Run)
	part("tasks", func(ctx context.Context) error { return s.tasks.Watch(ctx, s.jobs.Observed) })
	part("node", s.lookOften)
	part("calendar", s.calendar.Run)
	part("serving", s.serving.Run)
	part("upstreams", s.upstreams.Run)
	if s.requests != nil {
		part("request log", s.requests.Run)
	}
	part("loop", s.loop.Run)
	part("solver", s.compileSolver)
	part("http", s.listen)
	parts.Wait()
	s.stopper.owned.Wait()
	if err := context.Cause(ctx); !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// listen answers on every port until ctx ends.
func (s *Server) listen(ctx context.Context) error {
	rest, face, calls := web.NewServer(s.protocols().rest(), s.log), web.NewServer(s.face(ctx), s.log), s.protocols().calls()
	face.ConnContext = api.ConnContext
	ended := make(chan error, 4)
	for _, serve := range []func() error{
		func() error { return face.Serve(web.Listener(s.ports.api)) },
		func() error { return face.Serve(web.Listener(s.ports.owner)) },
		func() error { return rest.Serve(web.Listener(s.ports.rest)) },
		func() error { return calls.Serve(web.Listener(s.ports.grpc)) },
	} {
		go func() { ended <- serve() }()
	}
	var err error
	left := cap(ended)
	select {
	case <-ctx.Done():
	case err = <-ended:
		left--
	}
	patience, cancel := context.WithTimeout(context.WithoutCancel(ctx), drain)
	defer cancel()
	stop := context.AfterFunc(patience, calls.Stop)
	defer stop()
	for _, srv := range []*http.Server{face, rest} {
		if srv.Shutdown(patience) != nil {
			srv.Close()
		}
	}
	calls.GracefulStop()
	for range left {
		s.log.Debug("a port is closed", "err", <-ended)
	}
	return err
}
