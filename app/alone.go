package app

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/lineshaft/lineshaft/internal/clock"
	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/internal/units"
	"github.com/lineshaft/lineshaft/internal/web"
	"github.com/lineshaft/lineshaft/serve"
	"github.com/lineshaft/lineshaft/serve/batch"
	"github.com/lineshaft/lineshaft/serve/config"
	"github.com/lineshaft/lineshaft/serve/folder"
	"github.com/lineshaft/lineshaft/serve/onnx"
	"github.com/lineshaft/lineshaft/serve/runtime"
	tfproto "github.com/lineshaft/lineshaft/serve/tfserving/proto"
)

// Alone is what `lineshaft serve` is told: serving and nothing else, in the place of tensorflow_model_server. The
// models are those of folders, nobody has an account, and nothing is written.
type Alone struct {
	Host       string // to listen on; loopback where empty
	Port       int    // gRPC and REST, told apart; 0: none
	RESTPort   int    // REST too; 0: none
	GRPCSocket string // path of a Unix socket, gRPC; "": none

	Name, BasePath string // one model
	ConfigFile     string // or a ModelServerConfig
	ConfigPoll     time.Duration
	BatchingFile   string
	MonitoringFile string
	SSLFile        string

	Poll        time.Duration // of the folders; 0: once
	Retries     int           // of a version that cannot be loaded
	RESTTimeout time.Duration // 0: none
	BodyLimit   units.Bytes
	UploadLimit units.Bytes
	Hosts       []string // names that the Host header may carry beside loopback's and the certificate's
	Origins     []string // of pages that may call

	ONNX onnx.Options // which library serves ONNX models

	Out io.Writer // what people read
	Err io.Writer // the log
}

// alone is the server, put together by hand.
type alone struct {
	o        Alone
	log      *slog.Logger
	models   []config.Model
	text     string // of the configuration file that is in force
	batching config.Batching
	metrics  string // path; "": none
	secure   *tls.Config
	named    func(host string) bool
	public   bool // others than this machine can reach it

	folders *folder.Registry
	manager *serve.Manager
	gather  prometheus.Gatherer
}

// Serve serves the models of folders until ctx ends; then requests under way end first.
func Serve(ctx context.Context, o Alone) error {
	s := &alone{o: o, log: slog.New(slog.NewTextHandler(o.Err, nil))}
	for _, step := range []func() error{s.read, s.address, s.assemble} {
		if err := step(); err != nil {
			return err
		}
	}
	ports, err := s.bind(ctx)
	if err != nil {
		return err
	}
	return s.run(ctx, ports)
}

// read takes in every file that is named, before anything begins.
func (s *alone) read() error {
	const op = "app.Serve"
	o := s.o
	switch {
	case o.ConfigFile != "":
		if err := s.readModels(); err != nil {
			return err
		}
	case o.BasePath == "":
		return errs.Errorf(op, errs.Invalid, "say what to serve: --model_base_path=FOLDER, which holds numbered versions such as FOLDER/1/model.h5, or --model_config_file=FILE for several models")
	default:
		s.models = []config.Model{{Name: o.Name, BasePath: o.BasePath}}
		if err := (config.Models{Models: s.models}).Validate("--model_name"); err != nil {
			return err
		}
	}
	s.metrics = metricsPath
	for _, f := range []struct {
		path string
		read func(file string, text []byte) error
	}{
		{o.BatchingFile, func(file string, text []byte) (err error) {
			s.batching, _, err = config.ReadBatching(file, text)
			return err
		}},
		{o.MonitoringFile, func(file string, text []byte) error {
			m, err := config.ReadMonitoring(file, text)
			if s.metrics = ""; m.Prometheus.Enable {
				s.metrics = cmp.Or(m.Prometheus.Path, metricsPath)
			}
			return err
		}},
		{o.SSLFile, s.readSSL},
	} {
		if f.path == "" {
			continue
		}
		text, err := readConfig(f.path)
		if err != nil {
			return err
		}
		if err := f.read(f.path, text); err != nil {
			return err
		}
	}
	return nil
}

// metricsPath is where TensorFlow Serving shows metrics, and the handler of serve/tfserving.
const metricsPath = "/monitoring/prometheus/metrics"

func readConfig(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err == nil {
		defer f.Close()
		var text []byte
		if text, err = io.ReadAll(io.LimitReader(f, config.Limit+1)); err == nil {
			return text, nil
		}
	}
	return nil, errs.Errorf("app.Serve", errs.Invalid, "cannot read the configuration: %v", err)
}

// readModels reads the file of models. Paths in it that are not absolute are beside the folder the server was started
// in, as they are for tensorflow_model_server.
func (s *alone) readModels() error {
	text, err := readConfig(s.o.ConfigFile)
	if err != nil {
		return err
	}
	m, err := config.ReadModels(s.o.ConfigFile, text)
	if err != nil {
		return err
	}
	for _, note := range m.Ignored {
		s.log.Info(note)
	}
	s.models, s.text = m.Models, string(text)
	return nil
}

func (s *alone) readSSL(file string, text []byte) error {
	c, err := config.ReadSSL(file, text)
	if err != nil {
		return err
	}
	var ca []byte
	if c.ClientVerify {
		if c.CA == "" {
			return errs.Errorf("app.Serve", errs.Invalid, "%s: client_verify needs custom_ca, the authority that signs the clients' certificates", file)
		}
		ca = []byte(c.CA)
	}
	if s.secure, err = web.Secure([]byte(c.Cert), []byte(c.Key), ca); err != nil {
		return errs.Errorf("app.Serve", errs.Invalid, "%s: %w", file, err)
	}
	leaf, err := x509.ParseCertificate(s.secure.Certificates[0].Certificate[0])
	if err != nil {
		return errs.Errorf("app.Serve", errs.Invalid, "%s: server_cert: %v", file, err)
	}
	s.named = func(host string) bool { return leaf.VerifyHostname(host) == nil }
	return nil
}

// address refuses to be reached by others in the clear.
func (s *alone) address() error {
	const op = "app.Serve"
	o := &s.o
	o.Host = cmp.Or(o.Host, "127.0.0.1")
	if o.Port == 0 && o.RESTPort == 0 && o.GRPCSocket == "" {
		return errs.Errorf(op, errs.Invalid, "nothing to listen on: --port=8501 answers gRPC and REST both")
	}
	for name, port := range map[string]int{"port": o.Port, "rest_api_port": o.RESTPort} {
		if port < 0 || port > 65535 {
			return errs.Errorf(op, errs.Invalid, "--%s=%d is no port: 1 to 65535, or 0 for none", name, port)
		}
	}
	if o.RESTPort == o.Port {
		o.RESTPort = 0 // --port answers REST too
	}
	ip := net.ParseIP(o.Host)
	if ip == nil && o.Host != "localhost" {
		return errs.Errorf(op, errs.Invalid, "--host=%s is no address: 127.0.0.1 is this machine alone, 0.0.0.0 every network it is in", o.Host)
	}
	s.public = ip != nil && !ip.IsLoopback()
	if s.public && s.secure == nil {
		return errs.Errorf(op, errs.Invalid, "--host=%s can be reached by others, and nobody has an account here: give a certificate with --ssl_config_file (client_verify in it asks clients for theirs), or listen on 127.0.0.1 behind a proxy", o.Host)
	}
	return nil
}

// assemble builds the parts.
func (s *alone) assemble() error {
	s.folders = folder.New(folder.Options{Log: s.log, Poll: s.o.Poll, Retries: s.o.Retries, UploadLimit: int64(s.o.UploadLimit)})
	if err := s.folders.Configure(s.models); err != nil {
		return err
	}
	joined, notes, err := batch.FromTensorFlow(s.batching)
	if err != nil {
		return errs.Errorf("app.Serve", errs.Invalid, "%s: %w", s.o.BatchingFile, err)
	}
	for _, note := range notes {
		s.log.Info(note, "file", s.o.BatchingFile)
	}
	rt := runtimes(s.onnx(), runtime.Options{Cores: batch.NewCores(0), Batching: joined})
	s.manager = serve.New(serve.Options{
		Store: folder.NewStore(), Models: s.folders, Runtime: s.folders.Runtime(rt), Clock: clock.System{}, Log: s.log,
		Advice: "in service are: " + cmp.Or(strings.Join(s.folders.Names(), ", "), "none"),
	})
	metrics := prometheus.NewRegistry()
	for _, c := range []prometheus.Collector{s.manager.Metrics(), collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{})} {
		if err := metrics.Register(c); err != nil {
			return errs.E("app.Serve", errs.Other, err)
		}
	}
	if s.metrics != "" {
		s.gather = metrics
	}
	return nil
}

// onnx is how ONNX models are served; of the data folder only the installed library is used here.
func (s *alone) onnx() onnx.Options {
	o := s.o.ONNX
	o.Log = s.log
	return o
}

func (s *alone) protocols() protocols {
	return protocols{
		manager: s.manager, authorize: s.may, body: s.o.BodyLimit, upload: s.o.UploadLimit, metrics: s.gather,
		load: func(ctx context.Context, actor, name, filename string, body io.Reader) (int64, error) {
			return s.folders.Upload(ctx, s.manager, actor, name, filename, body)
		},
		reload: s.reload,
		guard:  web.Options{Hosts: s.o.Hosts, Origins: s.o.Origins, Named: s.named},
	}
}

// reload serves exactly the models that a caller names, until the configuration file changes.
func (s *alone) reload(ctx context.Context, models []*tfproto.ModelConfig) error {
	var list config.Models
	for _, m := range models {
		c := config.Model{Name: m.GetName(), BasePath: m.GetBasePath(), Platform: m.GetModelPlatform(), Labels: m.GetVersionLabels()}
		p := m.GetModelVersionPolicy()
		if p.GetLatest() != nil {
			c.Policy.Latest = &config.Latest{Versions: int64(p.GetLatest().GetNumVersions())}
		}
		if p.GetAll() != nil {
			c.Policy.All = &config.All{}
		}
		if p.GetSpecific() != nil {
			c.Policy.Specific = &config.Specific{Versions: p.GetSpecific().GetVersions()}
		}
		list.Models = append(list.Models, c)
	}
	if err := list.Validate("the request"); err != nil {
		return err
	}
	return s.folders.Reload(ctx, s.manager, list.Models)
}

// may lets everybody in who reaches the port. Putting models there is for this machine and for clients that are known.
func (s *alone) may(_ context.Context, _, action, _ string) (string, error) {
	if action == "deploy" { // by KServe's model repository
		return "", errs.Errorf("app.Serve", errs.Unsupported, "what is served here is what lies in the models' folders: put a version there, or take it away")
	}
	if action == "load" && s.public && s.secure.ClientCAs == nil {
		return "", errs.Errorf("app.Serve", errs.Denied, "a server that anybody can reach takes no models from them: put the file into the model's folder, or let client_verify in --ssl_config_file ask clients for a certificate")
	}
	return "anonymous", nil
}

// rest is the handler of the REST port: that of `up`, with what tensorflow_model_server can be told.
func (s *alone) rest() http.Handler {
	h := s.protocols().rest()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if origin := r.Header.Get("Origin"); origin != "" && slices.Contains(s.o.Origins, origin) {
			w.Header().Set("Access-Control-Allow-Origin", origin)
			w.Header().Add("Vary", "Origin")
			if r.Method == http.MethodOptions {
				w.Header().Set("Access-Control-Allow-Methods", "GET, POST")
				w.Header().Set("Access-Control-Allow-Headers", "Content-Type, Inference-Header-Content-Length")
				w.WriteHeader(http.StatusNoContent)
				return
			}
		}
		if s.metrics != metricsPath && r.URL.Path == s.metrics {
			u := *r.URL
			u.Path = metricsPath
			again := *r
			again.URL = &u
			r = &again
		}
		if s.o.RESTTimeout > 0 && !strings.HasSuffix(r.URL.Path, ":load") {
			ctx, cancel := context.WithTimeout(r.Context(), s.o.RESTTimeout)
			defer cancel()
			r = r.WithContext(ctx)
		}
		h.ServeHTTP(w, r)
	})
}

// alonePorts are the listeners; nil where there is none.
type alonePorts struct {
	rest, calls []net.Listener
}

func (p alonePorts) close() {
	for _, l := range slices.Concat(p.rest, p.calls) {
		l.Close()
	}
}

func (s *alone) bind(ctx context.Context) (p alonePorts, err error) {
	const op = "app.Serve"
	for _, name := range []string{"port", "rest_api_port"} {
		port := s.o.Port
		if name == "rest_api_port" {
			port = s.o.RESTPort
		}
		if port == 0 {
			continue
		}
		addr := net.JoinHostPort(s.o.Host, strconv.Itoa(port))
		ln, err := (&net.ListenConfig{}).Listen(ctx, "tcp", addr)
		if err != nil {
			p.close()
			return p, errs.Errorf(op, errs.Unavailable, "cannot listen on %s: %v; give another with --%s", addr, cause(err), name)
		}
		h1, h2 := web.Split(web.Listener(ln), s.secure)
		p.rest, p.calls = append(p.rest, h1), append(p.calls, h2)
	}
	if path := s.o.GRPCSocket; path != "" {
		ln, err := listenSocket(ctx, path)
		if err != nil {
			p.close()
			return p, err
		}
		p.calls = append(p.calls, ln)
	}
	return p, nil
}

// listenSocket makes a socket for the owner of the process; one that a server left that is gone is replaced.
func listenSocket(ctx context.Context, path string) (net.Listener, error) {
	const op = "app.Serve"
	if info, err := os.Lstat(path); err == nil && info.Mode()&os.ModeSocket != 0 {
		if c, err := net.DialTimeout("unix", path, time.Second); err == nil {
			c.Close()
			return nil, errs.Errorf(op, errs.Exists, "another server answers on %s: give another path with --grpc_socket_path", path)
		}
		os.Remove(path)
	}
	ln, err := (&net.ListenConfig{}).Listen(ctx, "unix", path)
	if err != nil {
		return nil, errs.Errorf(op, errs.Unavailable, "cannot listen on %s: %v; give another path with --grpc_socket_path", path, cause(err))
	}
	if err := os.Chmod(path, 0o600); err != nil {
		ln.Close()
		return nil, errs.E(op, errs.Other, err)
	}
	return ln, nil
}

// run answers until ctx ends or a part breaks. Models are followed and ports answer from the start, so that a client
// learns that a model is still being loaded.
func (s *alone) run(asked context.Context, p alonePorts) error {
	ctx, stop := context.WithCancelCause(asked)
	defer stop(nil)
	s.greet()
	rest, calls := web.NewServer(s.rest(), s.log), s.protocols().calls()
	var ports, parts sync.WaitGroup
	part := func(to *sync.WaitGroup, run func() error) {
		to.Go(func() {
			if err := run(); err != nil && ctx.Err() == nil {
				stop(err)
			}
		})
	}
	for _, ln := range p.rest {
		part(&ports, func() error { return rest.Serve(ln) })
	}
	for _, ln := range p.calls {
		part(&ports, func() error { return calls.Serve(ln) })
	}
	looking, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	part(&parts, func() error { return s.manager.Run(looking) })
	part(&parts, func() error { return s.folders.Run(ctx, s.manager) })
	part(&parts, func() error { return s.followConfig(ctx) })
	part(&parts, func() error { return s.announce(ctx) })
	<-ctx.Done()
	// Requests under way end before what answers them.
	patience, cancel := context.WithTimeout(context.WithoutCancel(ctx), drain)
	defer cancel()
	defer context.AfterFunc(patience, calls.Stop)()
	if rest.Shutdown(patience) != nil {
		rest.Close()
	}
	calls.GracefulStop()
	p.close()
	ports.Wait()
	end()
	parts.Wait()
	if asked.Err() != nil {
		return nil
	}
	return context.Cause(ctx)
}

// followConfig reads the file of models again and again where it is asked to.
func (s *alone) followConfig(ctx context.Context) error {
	if s.o.ConfigFile == "" || s.o.ConfigPoll <= 0 {
		return nil
	}
	tick := time.NewTicker(s.o.ConfigPoll)
	defer tick.Stop()
	said := ""
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		before := s.text
		err := s.readModels()
		if err == nil && s.text != before {
			if err = s.folders.Configure(s.models); err == nil {
				s.log.Info("the configuration of models changed and is in force", "file", s.o.ConfigFile, "models", s.folders.Names())
			}
		}
		switch {
		case err == nil:
			said = ""
		case err.Error() != said:
			said = err.Error()
			s.log.Warn("the configuration of models cannot be used; what was in force goes on", "error", said)
		}
	}
}

// greet says where everything is.
func (s *alone) greet() {
	o := s.o
	scheme := "http"
	if s.secure != nil {
		scheme = "https"
	}
	fmt.Fprintf(o.Out, "Lineshaft 天轴 %s, serving alone\n", Version)
	if o.Port != 0 {
		addr := net.JoinHostPort(o.Host, strconv.Itoa(o.Port))
		fmt.Fprintf(o.Out, "  REST   %s://%s\n  gRPC   %s\n", scheme, addr, addr)
	}
	if o.RESTPort != 0 {
		fmt.Fprintf(o.Out, "  REST   %s://%s\n", scheme, net.JoinHostPort(o.Host, strconv.Itoa(o.RESTPort)))
	}
	if o.GRPCSocket != "" {
		fmt.Fprintf(o.Out, "  gRPC   unix:%s\n", o.GRPCSocket)
	}
	for _, m := range s.models {
		path := m.BasePath
		if abs, err := filepath.Abs(path); err == nil {
			path = abs
		}
		fmt.Fprintf(o.Out, "  model  %s from %s\n", m.Name, path)
	}
}

// announce says which models answer when all folders were looked at once.
func (s *alone) announce(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return nil
	case <-s.folders.Up():
	}
	for _, m := range s.manager.List() {
		if m.Default != 0 {
			fmt.Fprintf(s.o.Out, "  %s answers with version %d\n", m.Model, m.Default)
			continue
		}
		why := "it has no version"
		if lease, err := s.manager.Acquire(m.Model, 0, ""); err != nil {
			why = err.Error()
		} else {
			lease.Release()
		}
		fmt.Fprintf(s.o.Out, "  %s does not answer yet: %s\n", m.Model, why)
	}
	return nil
}
