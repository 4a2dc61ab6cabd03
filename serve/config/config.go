// Package config reads the configuration files of TensorFlow Serving: protocol buffers written as text, as
// --model_config_file, --batching_parameters_file, --monitoring_config_file and --ssl_config_file name them.
//
//	model_config_list {
//	  config {
//	    name: "mnist"
//	    base_path: "/models/mnist"
//	    model_version_policy { specific { versions: 1 versions: 2 } }
//	    version_labels { key: "stable" value: 1 }
//	  }
//	}
//
// Reading is strict, as protobuf's own reader is: a name that the message does not have, a value of another type, and a
// field that is said twice are refused with line and column. What is known and has no effect here is read and listed
// (see Models.Ignored), so that whoever moves a file over is told. Files come from an operator, not from strangers; they
// are bounded all the same (see Limit), and fuzzed.
package config

import (
	"os"
	"slices"
	"strings"

	"github.com/lineshaft/lineshaft/internal/errs"
)

// Models is a ModelServerConfig.
type Models struct {
	Models  []Model
	Ignored []string // settings that have no effect here, each with its place
}

// Model is one model: where its versions are and which of them are served.
type Model struct {
	Name     string           `text:"name"`
	BasePath string           `text:"base_path"`
	Type     Enum             `text:"model_type,MODEL_TYPE_UNSPECIFIED,TENSORFLOW,OTHER"`
	Platform string           `text:"model_platform"`
	Policy   Policy           `text:"model_version_policy"`
	Labels   map[string]int64 `text:"version_labels"`
	Logging  *Ignored         `text:"logging_config"`
}

// Policy says which versions are served; without any, the latest one. At most one of its fields is set.
type Policy struct {
	Latest   *Latest   `text:"latest"`
	All      *All      `text:"all"`
	Specific *Specific `text:"specific"`
}

// Latest serves the highest versions.
type Latest struct {
	Versions int64 `text:"num_versions"` // 0 is 1
}

// All serves every version.
type All struct{}

// Specific serves the versions that it names.
type Specific struct {
	Versions []int64 `text:"versions"`
}

// Batching is a BatchingParameters: how requests are joined. Nil is TensorFlow Serving's default.
type Batching struct {
	MaxBatchSize       *Int    `text:"max_batch_size"`
	TimeoutMicros      *Int    `text:"batch_timeout_micros"`
	MaxEnqueued        *Int    `text:"max_enqueued_batches"`
	Threads            *Int    `text:"num_batch_threads"`
	PoolName           *Text   `text:"thread_pool_name"`
	Allowed            []int64 `text:"allowed_batch_sizes"`
	PadVariable        bool    `text:"pad_variable_length_inputs"`
	SplitLarge         *Flag   `text:"enable_large_batch_splitting"`
	MaxExecution       *Int    `text:"max_execution_batch_size"`
	PaddingPolicy      *Text   `text:"batch_padding_policy"`
	LowPriorityMax     *Int    `text:"low_priority_max_batch_size"`
	LowPriorityTimeout *Int    `text:"low_priority_batch_timeout_micros"`
	LowPriorityQueue   *Int    `text:"low_priority_max_enqueued_batches"`
}

// Int is google.protobuf.Int64Value, which tells 0 from nothing.
type Int struct {
	Value int64 `text:"value"`
}

// Text is google.protobuf.StringValue.
type Text struct {
	Value string `text:"value"`
}

// Flag is google.protobuf.BoolValue.
type Flag struct {
	Value bool `text:"value"`
}

// Monitoring is a MonitoringConfig.
type Monitoring struct {
	Prometheus struct {
		Enable bool   `text:"enable"`
		Path   string `text:"path"`
	} `text:"prometheus_config"`
}

// SSL is an SSLConfig. Each text is PEM, or, where it does not begin as PEM does, the path of a file that holds it.
type SSL struct {
	Key          string `text:"server_key"`
	Cert         string `text:"server_cert"`
	CA           string `text:"custom_ca"` // of clients; the system's where empty
	ClientVerify bool   `text:"client_verify"`
}

// Limit is the largest file that is read, in bytes.
const Limit = 8 << 20

// ReadModels reads a ModelServerConfig. file names it in errors.
func ReadModels(file string, text []byte) (Models, error) {
	var c struct {
		List   *struct{ Config []Model } `text:"model_config_list"`
		Custom *Ignored                  `text:"custom_model_config"`
	}
	d := decoder{file: file}
	if err := d.decode(text, &c); err != nil {
		return Models{}, err
	}
	if c.Custom != nil {
		return Models{}, d.errorf(errs.Unsupported, c.Custom.at, "custom_model_config is not offered, as it is not by tensorflow_model_server: write model_config_list")
	}
	out := Models{Ignored: d.ignored}
	if c.List != nil {
		out.Models = c.List.Config
	}
	return out, out.Validate(file)
}

// Validate says what is wrong with models that parse.
func (m Models) Validate(file string) error {
	const op = "config.Models"
	seen := map[string]bool{}
	for i, c := range m.Models {
		switch {
		case c.Name == "":
			return errs.Errorf(op, errs.Invalid, "%s: model %d of model_config_list has no name: give it one, name: \"mnist\"", file, i+1)
		case strings.ContainsAny(c.Name, "/: \t\n") || len(c.Name) > 200:
			return errs.Errorf(op, errs.Invalid, "%s: %.80q cannot name a model: a name has no '/', ':' or space, and at most 200 letters", file, c.Name)
		case seen[c.Name]:
			return errs.Errorf(op, errs.Invalid, "%s: model %q is there twice: one entry per name", file, c.Name)
		case c.BasePath == "":
			return errs.Errorf(op, errs.Invalid, "%s: model %q has no base_path: name the folder that holds its numbered versions", file, c.Name)
		}
		seen[c.Name] = true
		if err := c.Policy.validate(); err != nil {
			return errs.Errorf(op, errs.Invalid, "%s: model %q: model_version_policy: %v", file, c.Name, err)
		}
		for label, n := range c.Labels {
			if label == "" || n <= 0 {
				return errs.Errorf(op, errs.Invalid, "%s: model %q: version_labels: %q → %d: a label has a name and a version from 1 on", file, c.Name, label, n)
			}
			if s := c.Policy.Specific; s != nil && !slices.Contains(s.Versions, n) {
				return errs.Errorf(op, errs.Invalid, "%s: model %q: the label %q names version %d, which model_version_policy does not serve: add versions: %d to it", file, c.Name, label, n, n)
			}
		}
	}
	return nil
}

func (p Policy) validate() error {
	const op = "config.Policy"
	n := 0
	for _, set := range []bool{p.Latest != nil, p.All != nil, p.Specific != nil} {
		if set {
			n++
		}
	}
	switch {
	case n > 1:
		return errs.Errorf(op, errs.Invalid, "say one of latest, all and specific, not several")
	case p.Latest != nil && p.Latest.Versions < 0:
		return errs.Errorf(op, errs.Invalid, "num_versions is %d and must not be negative", p.Latest.Versions)
	case p.Specific != nil && len(p.Specific.Versions) == 0:
		return errs.Errorf(op, errs.Invalid, "specific names no version: write versions: 1")
	case p.Specific != nil && slices.Min(p.Specific.Versions) < 1:
		return errs.Errorf(op, errs.Invalid, "version %d: versions are numbered from 1 on", slices.Min(p.Specific.Versions))
	}
	return nil
}

// ReadBatching reads BatchingParameters.
func ReadBatching(file string, text []byte) (b Batching, ignored []string, err error) {
	d := decoder{file: file}
	if err := d.decode(text, &b); err != nil {
		return b, nil, err
	}
	return b, d.ignored, b.validate(file)
}

func (b Batching) validate(file string) error {
	const op = "config.Batching"
	for _, v := range []struct {
		name  string
		n     *Int
		least int64
	}{
		{"max_batch_size", b.MaxBatchSize, 1},
		{"batch_timeout_micros", b.TimeoutMicros, 0},
		{"max_enqueued_batches", b.MaxEnqueued, 1},
		{"num_batch_threads", b.Threads, 1},
		{"max_execution_batch_size", b.MaxExecution, 1},
	} {
		if v.n != nil && v.n.Value < v.least {
			return errs.Errorf(op, errs.Invalid, "%s: %s is %d and must be at least %d", file, v.name, v.n.Value, v.least)
		}
	}
	if len(b.Allowed) == 0 {
		return nil
	}
	for i, n := range b.Allowed {
		if n < 1 || i > 0 && n <= b.Allowed[i-1] {
			return errs.Errorf(op, errs.Invalid, "%s: allowed_batch_sizes must rise from 1 on, and %d does not", file, n)
		}
	}
	most := b.MaxBatchSize
	if b.SplitLarge != nil && b.SplitLarge.Value && b.MaxExecution != nil {
		most = b.MaxExecution
	}
	if last := b.Allowed[len(b.Allowed)-1]; most != nil && last != most.Value {
		return errs.Errorf(op, errs.Invalid, "%s: the last of allowed_batch_sizes, %d, must be the largest batch, %d", file, last, most.Value)
	}
	return nil
}

// ReadMonitoring reads a MonitoringConfig.
func ReadMonitoring(file string, text []byte) (m Monitoring, err error) {
	d := decoder{file: file}
	if err := d.decode(text, &m); err != nil {
		return m, err
	}
	if p := m.Prometheus.Path; p != "" && !strings.HasPrefix(p, "/") {
		return m, errs.Errorf("config.Monitoring", errs.Invalid, "%s: prometheus_config: path %q must begin with '/'", file, p)
	}
	return m, nil
}

// ReadSSL reads an SSLConfig; its texts are PEM afterwards.
func ReadSSL(file string, text []byte) (s SSL, err error) {
	const op = "config.SSL"
	d := decoder{file: file}
	if err := d.decode(text, &s); err != nil {
		return s, err
	}
	for _, t := range []struct {
		name string
		text *string
	}{{"server_key", &s.Key}, {"server_cert", &s.Cert}, {"custom_ca", &s.CA}} {
		if *t.text == "" || strings.HasPrefix(strings.TrimSpace(*t.text), "-----BEGIN") {
			continue
		}
		b, err := os.ReadFile(*t.text)
		if err != nil {
			return s, errs.Errorf(op, errs.Invalid, "%s: %s is neither PEM (-----BEGIN …) nor a file that can be read: %v", file, t.name, err)
		}
		*t.text = string(b)
	}
	if s.Key == "" || s.Cert == "" {
		return s, errs.Errorf(op, errs.Invalid, "%s: server_key and server_cert are both needed", file)
	}
	return s, nil
}
