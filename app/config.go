package app

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"

	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/internal/units"
	"github.com/lineshaft/lineshaft/sched/queue"
	"github.com/lineshaft/lineshaft/serve/upstream"
)

// Config is everything that can be set. An empty one starts: the defaults are those of Defaults. Sources, the later one
// winning: the defaults, the file (--config, or config.yaml in the data folder), the environment (LINESHAFT_ and the key
// in upper case with '_' for '-'), the flags.
type Config struct {
	Data            string      `yaml:"data"`                       // folder of everything that is kept
	Listen          string      `yaml:"listen"`                     // console and API
	ServeListen     string      `yaml:"serve-listen"`               // serving, REST
	ServeGRPCListen string      `yaml:"serve-grpc-listen"`          // serving, gRPC
	UploadLimit     units.Bytes `yaml:"upload-limit"`               // largest model, data set or code folder
	BodyLimit       units.Bytes `yaml:"body-limit"`                 // largest request of the API and of a prediction
	DiskReserve     units.Bytes `yaml:"disk-reserve"`               // uploads stop when less than this is free
	ServeMemory     units.Bytes `yaml:"serve-memory"`               // models in service hold no more together; half of the machine's when 0
	RequestLog      float64     `yaml:"request-log,omitempty"`      // part of the requests to models that is kept, sealed, for who may read it; none when 0
	RequestLogSize  units.Bytes `yaml:"request-log-size,omitempty"` // of all of them together, the oldest go first; 1 GiB when 0
	RequestLogDays  int         `yaml:"request-log-days,omitempty"` // that one is kept; 7 when 0
	KeepJobs        int         `yaml:"keep-jobs"`                  // of so many ended jobs logs and files are kept; the records of all
	TaskRead        []string    `yaml:"task-read"`                  // folders that tasks may read beside the system's, such as an environment of Python
	AllowLess       bool        `yaml:"allow-less"`                 // start tasks although an isolation feature cannot be enforced
	HiGHS           string      `yaml:"highs,omitempty"`            // HiGHS's own program, beside the configuration's; the solver within when empty
	ONNXLibrary     string      `yaml:"onnx-library,omitempty"`     // ONNX Runtime's library, beside the configuration's; the installed one when empty
	Rule            string      `yaml:"rule,omitempty"`             // file of a learned rule for the scheduler, beside the configuration's; the default when empty

	Upstreams []upstream.External `yaml:"upstreams,omitempty"` // servers elsewhere, behind the serving port

	Queues []queue.Queue `yaml:"queues,omitempty"` // how jobs share the hall; one queue, "default", when empty
	Site   Site          `yaml:"site,omitempty"`   // racks, power caps, facts of nodes, windows
}

// Defaults is the configuration of an empty file.
func Defaults() Config {
	home, err := os.UserHomeDir()
	if err != nil {
		home = "."
	}
	return Config{
		Data:            filepath.Join(home, ".lineshaft"),
		Listen:          "127.0.0.1:8080",
		ServeListen:     "127.0.0.1:8501",
		ServeGRPCListen: "127.0.0.1:8500",
		UploadLimit:     8 * units.GiB,
		BodyLimit:       64 * units.MiB,
		DiskReserve:     256 * units.MiB,
		KeepJobs:        1000,
	}
}

// Load reads the file, the environment and the flags (by key) over the defaults. A missing file is only an error where it
// was named.
func Load(file string, environ []string, flags map[string]string) (Config, error) {
	const op = "app.Load"
	c := Defaults()
	named := file != ""
	if !named {
		dir := c.Data
		if v, ok := lookup(environ, "LINESHAFT_DATA"); ok && v != "" {
			dir = v
		}
		if v := flags["data"]; v != "" {
			dir = v
		}
		file = filepath.Join(dir, "config.yaml")
	}
	text, err := os.ReadFile(file)
	switch {
	case err == nil:
		if err := yaml.UnmarshalWithOptions(text, &c, yaml.Strict(), yaml.UseJSONUnmarshaler()); err != nil {
			return c, errs.Errorf(op, errs.Invalid, "%s: %s%s", file, keyOf(text, err), yaml.FormatError(err, false, true))
		}
		if err := c.Site.Validate(); err != nil {
			return c, errs.Errorf(op, errs.Invalid, "%s: site.%v", file, err)
		}
		for _, path := range []*string{&c.Rule, &c.HiGHS, &c.ONNXLibrary} {
			if *path != "" && !filepath.IsAbs(*path) {
				*path = filepath.Join(filepath.Dir(file), *path)
			}
		}
	case named || !os.IsNotExist(err):
		return c, errs.Errorf(op, errs.Invalid, "cannot read the configuration: %v", err)
	}
	v := reflect.ValueOf(&c).Elem()
	for i := range v.NumField() {
		key, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("yaml"), ",")
		name := "LINESHAFT_" + strings.ToUpper(strings.ReplaceAll(key, "-", "_"))
		if s, ok := lookup(environ, name); ok {
			if err := set(v.Field(i), s); err != nil {
				return c, errs.Errorf(op, errs.Invalid, "environment variable %s=%q: %v", name, s, err)
			}
		}
		if s, ok := flags[key]; ok {
			if err := set(v.Field(i), s); err != nil {
				return c, errs.Errorf(op, errs.Invalid, "--%s %q: %v", key, s, err)
			}
		}
	}
	return c, c.Validate()
}

// keyOf is the key of the value that an error quotes, "site.caps[0].watts: ", where the error does not say where it is.
func keyOf(text []byte, err error) string {
	var placed yaml.Error
	if errors.As(err, &placed) {
		return ""
	}
	f, broken := parser.ParseBytes(text, 0)
	if broken != nil {
		return ""
	}
	v := &quoted{message: err.Error()}
	for _, doc := range f.Docs {
		ast.Walk(v, doc.Body)
	}
	return v.key
}

type quoted struct{ message, key string }

func (q *quoted) Visit(n ast.Node) ast.Visitor {
	if scalar, ok := n.(ast.ScalarNode); ok && q.key == "" && strings.Contains(q.message, strconv.Quote(scalar.GetToken().Value)) {
		q.key = strings.TrimPrefix(n.GetPath(), "$.") + ": "
	}
	return q
}

// set takes text as it is (a path may look like YAML), anything else as YAML reads it.
func set(field reflect.Value, s string) error {
	if field.Kind() == reflect.String {
		field.SetString(s)
		return nil
	}
	if err := yaml.UnmarshalWithOptions([]byte(s), field.Addr().Interface(), yaml.UseJSONUnmarshaler()); err != nil {
		return fmt.Errorf("%s", yaml.FormatError(err, false, false))
	}
	return nil
}

func lookup(environ []string, name string) (string, bool) {
	for i := len(environ) - 1; i >= 0; i-- {
		if v, ok := strings.CutPrefix(environ[i], name+"="); ok {
			return v, true
		}
	}
	return "", false
}

// Validate refuses what cannot work or would be unsafe.
func (c Config) Validate() error {
	const op = "app.Config"
	if c.Data == "" {
		return errs.Errorf(op, errs.Invalid, "data: name the folder to keep everything in")
	}
	for key, addr := range map[string]string{"listen": c.Listen, "serve-listen": c.ServeListen, "serve-grpc-listen": c.ServeGRPCListen} {
		host, port, err := net.SplitHostPort(addr)
		if err != nil {
			return errs.Errorf(op, errs.Invalid, "%s: %q is not HOST:PORT, for example 127.0.0.1:8080", key, addr)
		}
		if n, err := net.LookupPort("tcp", port); err != nil || n < 0 {
			return errs.Errorf(op, errs.Invalid, "%s: %q has no valid port", key, addr)
		}
		if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
			return errs.Errorf(op, errs.Invalid,
				"%s: %q is not a loopback address, and this version serves no TLS: listen on 127.0.0.1 and put a TLS proxy or an SSH tunnel in front", key, addr)
		}
	}
	if c.UploadLimit <= 0 || c.BodyLimit <= 0 {
		return errs.Errorf(op, errs.Invalid, "upload-limit and body-limit must be above zero")
	}
	if c.ServeMemory < 0 {
		return errs.Errorf(op, errs.Invalid, "serve-memory must not be negative: 0 is half of the machine's memory")
	}
	if c.KeepJobs < 1 {
		return errs.Errorf(op, errs.Invalid, "keep-jobs must be above zero: the logs of so many ended jobs are kept")
	}
	if err := c.Site.Validate(); err != nil {
		return errs.Errorf(op, errs.Invalid, "site.%v", err)
	}
	names := map[string]bool{}
	for i, u := range c.Upstreams {
		if err := u.Validate(); err != nil {
			return errs.Errorf(op, errs.Invalid, "upstreams[%d]: %v", i, err)
		}
		if names[u.Name] {
			return errs.Errorf(op, errs.Invalid, "upstreams[%d]: %s is there twice", i, u.Name)
		}
		names[u.Name] = true
	}
	return c.share().Validate()
}

// YAML prints the configuration as a file that gives it again.
func (c Config) YAML() ([]byte, error) { return yaml.Marshal(c) }
