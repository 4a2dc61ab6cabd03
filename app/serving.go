package app

import (
	"context"
	"encoding/json"
	"io"
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"google.golang.org/grpc"

	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/internal/units"
	"github.com/lineshaft/lineshaft/internal/web"
	"github.com/lineshaft/lineshaft/model"
	"github.com/lineshaft/lineshaft/nn/keras"
	"github.com/lineshaft/lineshaft/nn/packed"
	"github.com/lineshaft/lineshaft/serve"
	"github.com/lineshaft/lineshaft/serve/batch"
	"github.com/lineshaft/lineshaft/serve/drift"
	"github.com/lineshaft/lineshaft/serve/health"
	"github.com/lineshaft/lineshaft/serve/kserve"
	"github.com/lineshaft/lineshaft/serve/port"
	"github.com/lineshaft/lineshaft/serve/rpc"
	"github.com/lineshaft/lineshaft/serve/runtime"
	"github.com/lineshaft/lineshaft/serve/tfserving"
	tfproto "github.com/lineshaft/lineshaft/serve/tfserving/proto"
	"github.com/lineshaft/lineshaft/serve/upstream"
	"github.com/lineshaft/lineshaft/trust/access"
)

func (s *Server) openServing(ctx context.Context, _ Options) error {
	limit := s.cfg.ServeMemory
	if limit == 0 {
		for _, n := range s.fleet.Nodes() { // this machine
			limit = n.Memory / 2
		}
	}
	var err error
	if s.requests, err = s.openRequests(ctx); err != nil {
		return err
	}
	s.serving = serve.New(serve.Options{
		Store: s.db, Models: s.registry, Runtime: runtimes(s.cfg.ONNX(limit, s.log), runtime.Options{Cores: batch.NewCores(0)}), Clock: s.clock, Log: s.log, MemoryLimit: limit, Warm: s.warm, References: references{s.registry}, Requests: s.requests,
	})
	s.registry.Aliased = s.serving.SyncAliases
	s.upstreams = upstream.New(upstream.Options{
		Jobs: s.jobs, External: s.cfg.Upstreams, Clock: s.clock, Log: s.log,
		Shadowed: func(name string) bool { _, err := s.serving.Get(name); return err == nil },
	})
	s.stopper.upstreams = s.upstreams
	for _, c := range []prometheus.Collector{s.serving.Metrics(), s.upstreams.Metrics(), collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{})} {
		if err := s.metrics.Register(c); err != nil {
			return errs.E("app.openServing", errs.Other, err)
		}
	}
	return nil
}

// protocols is what the serving ports are made of, those of the whole server (`up`) and of serving alone (`serve`).
type protocols struct {
	manager   *serve.Manager
	authorize func(ctx context.Context, token, action, model string) (actor string, err error)
	load      func(ctx context.Context, actor, model, filename string, body io.Reader) (version int64, err error)
	body      units.Bytes                                                    // of one request
	upload    units.Bytes                                                    // of one model file
	registry  func(ctx context.Context) ([]model.Model, error)               // what could be served; nil: nothing else is known
	reload    func(ctx context.Context, models []*tfproto.ModelConfig) error // nil: not offered
	metrics   prometheus.Gatherer
	upstreams *upstream.Upstreams // nil: no other servers
	guard     web.Options
}

func (s *Server) protocols() protocols {
	return protocols{
		manager: s.serving, authorize: s.mayUse, load: s.load,
		body: s.cfg.BodyLimit, upload: s.cfg.UploadLimit, metrics: s.metrics, upstreams: s.upstreams,
		registry: func(ctx context.Context) ([]model.Model, error) { return s.db.ListModels(ctx, "", maxListed) },
	}
}

// maxListed is how many models of the registry the index of a model repository shows beside those in service.
const maxListed = 10_000

func (p protocols) kserve() kserve.Options {
	return kserve.Options{Manager: p.manager, Version: Version, Registry: p.registry, Load: p.load}
}

// rest is the handler of the REST port.
func (p protocols) rest() http.Handler {
	on := port.New(port.Options{Authorize: p.mayServe, BodyLimit: p.body, Guard: p.guard})
	tf := tfserving.Options{Manager: p.manager, Load: p.load, UploadLimit: p.upload, Metrics: p.metrics}
	if p.upstreams == nil {
		return on.Handler(tfserving.On(on, tf), map[string]http.Handler{"v2": kserve.On(on, p.kserve())})
	}
	tf.Others = func() (out []tfserving.Other) {
		for _, l := range p.upstreams.Listed() {
			out = append(out, tfserving.Other(l))
		}
		return out
	}
	return on.Handler(
		p.upstreams.Handler(on, tfserving.On(on, tf)),
		map[string]http.Handler{"v2": p.upstreams.Handler(on, kserve.On(on, p.kserve()))},
	)
}

// calls is the server of the gRPC port, with a line for each service that answers there.
func (p protocols) calls() *grpc.Server {
	return rpc.New(rpc.Options{Authorize: p.authorize, MessageLimit: p.body, Guard: p.guard}, func(g grpc.ServiceRegistrar, allow rpc.Allow) {
		health.Register(g, health.Options{Manager: p.manager, Allow: allow})
		tfserving.Register(g, tfserving.Calls{Manager: p.manager, Allow: allow, Reload: p.reload})
		kserve.Register(g, allow, p.kserve())
	})
}

// mayServe finds out who asks on the REST port and whether they may.
func (p protocols) mayServe(r *http.Request, action, model string) (actor string, err error) {
	token := ""
	if header := r.Header.Get("Authorization"); header != "" {
		if token, err = access.Bearer(header); err != nil {
			return "", err
		}
	}
	return p.authorize(r.Context(), token, action, model)
}

// mayUse decides for both serving ports. Who brings no token is anonymous, which the demonstration alone gives rights.
func (s *Server) mayUse(ctx context.Context, token, action, model string) (actor string, err error) {
	p := access.Anonymous()
	if token != "" {
		if p, err = s.access.Authenticate(ctx, token); err != nil {
			return "", err
		}
	}
	return p.Actor(), s.access.Authorize(ctx, p, action, access.Resource{Type: "service", Name: model})
}

// warm has a version answer the requests that are stored with it.
func (s *Server) warm(ctx context.Context, v model.Version, l serve.Lease) error {
	body, _, err := s.registry.Attached(ctx, v, model.Warmup)
	switch {
	case errs.Is(err, errs.NotFound):
		return nil
	case err != nil:
		return err
	}
	return tfserving.Warm(ctx, l, body)
}

// references are kept as attachments of versions.
type references struct{ registry *model.Registry }

func (r references) Reference(ctx context.Context, v model.Version) (*drift.Reference, error) {
	body, _, err := r.registry.Attached(ctx, v, model.Reference)
	if err != nil {
		return nil, err
	}
	return drift.Read(body)
}

func (r references) PutReference(ctx context.Context, actor string, v model.Version, ref *drift.Reference) error {
	body, err := json.Marshal(ref)
	if err == nil {
		_, err = r.registry.Attach(ctx, actor, v, model.Reference, body)
	}
	return errs.E("app.PutReference", errs.Other, err)
}

// load registers what was posted to the serving port as a new version and serves it beside the others. It moves no
// alias.
func (s *Server) load(ctx context.Context, actor, name, filename string, body io.Reader) (int64, error) {
	v, err := s.registry.Upload(ctx, actor, name, filename, body)
	if err != nil {
		return 0, err
	}
	_, err = s.serving.Add(ctx, actor, v)
	return v.Version, errs.E("app.load", errs.Other, err)
}

// convert writes a model in another format: a Keras file gets the values that small weights stand for.
func convert(w io.Writer, to model.Format, r io.ReaderAt, size int64) error {
	m, err := &keras.Model{}, error(nil)
	if packed.Is(r) {
		m.Network, err = packed.Read(r, size)
	} else {
		m, err = keras.ReadModel(r, size)
	}
	if err != nil {
		return err
	}
	switch to {
	case model.KerasH5:
		return keras.WriteH5(w, m)
	case model.KerasZip:
		return keras.WriteKeras(w, m)
	case model.Packed:
		return packed.Write(w, m.Network)
	}
	return errs.Errorf("app.convert", errs.Unsupported, "a model is not written as %q: ask for %s, %s or %s", to, model.KerasH5, model.KerasZip, model.Packed)
}
