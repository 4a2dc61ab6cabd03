package config_test

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/serve/config"
)

func TestAModelListReadsAsTensorFlowServingReadsIt(t *testing.T) {
	got, err := config.ReadModels("models.config", []byte(`
# two models
model_config_list: {
  config: {
    name: "mnist", base_path: '/models/' "mnist"
    model_platform: "tensorflow";
    model_version_policy { specific: < versions: [1, 0x2] versions: 3 > }
    version_labels { key: "stable" value: 1 }
    version_labels: { key: 'canary' value: 2 }
    logging_config { log_collector_config { type: "x" } [a.b/c.D] { n: -1.5e-3f } }
  }
  config { name: "\x6d\162i\u0073" base_path: "/m" model_type: TENSORFLOW model_version_policy { latest { num_versions: 2 } } }
}`))
	if err != nil {
		t.Fatal(err)
	}
	want := []config.Model{
		{
			Name: "mnist", BasePath: "/models/mnist", Platform: "tensorflow",
			Policy: config.Policy{Specific: &config.Specific{Versions: []int64{1, 2, 3}}}, Labels: map[string]int64{"stable": 1, "canary": 2},
		},
		{Name: "mris", BasePath: "/m", Type: 1, Policy: config.Policy{Latest: &config.Latest{Versions: 2}}},
	}
	got.Models[0].Logging = nil
	if !reflect.DeepEqual(got.Models, want) {
		t.Errorf("%+v", got.Models)
	}
	if len(got.Ignored) != 1 || got.Ignored[0] != "models.config:10: logging_config has no effect here" {
		t.Errorf("%q", got.Ignored)
	}
}

func TestAnEmptyFileIsAnEmptyConfiguration(t *testing.T) {
	if got, err := config.ReadModels("f", []byte(" # nothing")); err != nil || len(got.Models) != 0 {
		t.Errorf("%v, %v", got, err)
	}
}

func TestWhatIsWrongIsSaidWithItsPlace(t *testing.T) {
	model := func(s string) string {
		return "model_config_list { config { name: \"m\" base_path: \"/m\"\n" + s + " } }"
	}
	for text, want := range map[string]string{
		"model_confg_list {}":                              `f:1:1: unknown field "model_confg_list"; did you mean "model_config_list"?`,
		"model_config_list {\n  config {":                  `f:2:11: this message is not closed: '}' is missing`,
		"model_config_list { config { name: 5 } }":         `f:1:36: name takes a string, not a number, "5"`,
		"model_config_list { config { name: \"a } }":       `f:1:36: the string is not closed on its line`,
		"model_config_list {} model_config_list {}":        `f:1:22: model_config_list is said twice; the first is in line 1`,
		"model_config_list = 5":                            `f:1:19: after "model_config_list" a ':' with a value or a '{' is expected, not '='`,
		"model_config_list { config { } }":                 `f: model 1 of model_config_list has no name`,
		"model_config_list { config { name: \"m\" } }":     `f: model "m" has no base_path`,
		"model_config_list { config { name: \"a/b\" } }":   `"a/b" cannot name a model`,
		"custom_model_config {}":                           `f:1:1: custom_model_config is not offered`,
		"}":                                                `f:1:1: a field's name is expected, not '}'`,
		model(`model_version_policy { latest {} all {} }`): `say one of latest, all and specific`,
		model(`model_version_policy { specific {} }`):      `specific names no version`,
		model(`model_version_policy { all { x: 1 } }`):     `f:2:30: unknown field "x": this message has none`,
		model(`version_labels { key: "a" value: 1 } version_labels { key: "a" value: 2 }`): `f:2:38: version_labels has the key "a" twice`,
		model(`version_labels: "a"`): `an entry of version_labels is written`,
		model(`model_version_policy { specific { versions: 1 } } version_labels { key: "a" value: 2 }`): `the label "a" names version 2, which model_version_policy does not serve`,
		model(`model_version_policy { specific { versions: 99999999999999999999 } }`):                   `takes a whole number of 64 bits`,
		model(`model_type: PYTORCH`): `f:2:13: model_type is one of MODEL_TYPE_UNSPECIFIED, TENSORFLOW, OTHER, not "PYTORCH"`,
		model(`name: "é" ü`):         `f:2:11: a field's name is expected, not 'ü'`,
		model(`base_path: "\q"`):     `begins no escape that is known`,
		strings.Repeat("a{", 40):     `more than 32 deep`,
		"\xff":                       `f is no text`,
	} {
		_, err := config.ReadModels("f", []byte(text))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s\n got %v\nwant %s", text, err, want)
		}
		if k := errs.KindOf(err); k != errs.Invalid && k != errs.Unsupported {
			t.Errorf("%s: kind %s", text, k)
		}
	}
}

func TestBatchingParametersAreReadAndHeldAgainstTheirRules(t *testing.T) {
	b, _, err := config.ReadBatching("b", []byte("max_batch_size { value: 32 } batch_timeout_micros { value: 0 }\nallowed_batch_sizes: [8, 16] allowed_batch_sizes: 32 pad_variable_length_inputs: true"))
	if err != nil || b.MaxBatchSize.Value != 32 || b.TimeoutMicros.Value != 0 || b.Threads != nil || len(b.Allowed) != 3 || !b.PadVariable {
		t.Errorf("%+v, %v", b, err)
	}
	for text, want := range map[string]string{
		"max_batch_size: 32":                                 "b:1:17: max_batch_size is written max_batch_size { value: 32 }",
		"max_batch_size { value: 0 }":                        "max_batch_size is 0 and must be at least 1",
		"allowed_batch_sizes: [2, 2]":                        "allowed_batch_sizes must rise",
		"allowed_batch_sizes: 4 max_batch_size { value: 8 }": "the last of allowed_batch_sizes, 4, must be the largest batch, 8",
		"pad_variable_length_inputs: maybe":                  "pad_variable_length_inputs is true or false",
		"num_batch_thread { value: 1 }":                      `did you mean "num_batch_threads"?`,
		"max_enqueued_batches { value: -1 }":                 "must be at least 1",
	} {
		if _, _, err := config.ReadBatching("b", []byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func TestMonitoringAndSSLAreRead(t *testing.T) {
	m, err := config.ReadMonitoring("m", []byte(`prometheus_config { enable: true path: "/metrics" }`))
	if err != nil || !m.Prometheus.Enable || m.Prometheus.Path != "/metrics" {
		t.Errorf("%+v, %v", m, err)
	}
	if _, err := config.ReadMonitoring("m", []byte(`prometheus_config { path: "metrics" }`)); err == nil {
		t.Error("a path without '/' is taken")
	}
	path := filepath.Join(t.TempDir(), "cert.pem")
	if err := os.WriteFile(path, []byte("-----BEGIN CERTIFICATE-----\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := config.ReadSSL("s", []byte("server_key: '-----BEGIN KEY-----\\n'\n'x' server_cert: '"+path+"' client_verify: true"))
	if err != nil || s.Key != "-----BEGIN KEY-----\nx" || s.Cert != "-----BEGIN CERTIFICATE-----\n" || !s.ClientVerify {
		t.Errorf("%+v, %v", s, err)
	}
	if _, err := config.ReadSSL("s", []byte("server_key: '/nowhere' server_cert: 'x'")); err == nil || !strings.Contains(err.Error(), "server_key is neither PEM") {
		t.Error(err)
	}
	if _, err := config.ReadSSL("s", nil); err == nil || !strings.Contains(err.Error(), "both needed") {
		t.Error(err)
	}
}

func FuzzConfigurationFiles(f *testing.F) {
	f.Add([]byte(`model_config_list { config { name: "m" base_path: "/m" version_labels { key: "a" value: 1 } } }`))
	f.Add([]byte(`max_batch_size { value: 128 } allowed_batch_sizes: [1, 2]`))
	f.Add([]byte(`prometheus_config: < enable: true, path: "/x\n" >`))
	f.Add([]byte("a: \"\\u00e9\\777\" 'b' [x.y/z]: -inf # c"))
	f.Fuzz(func(t *testing.T, text []byte) {
		check := func(err error) {
			if err != nil && errs.KindOf(err) == errs.Other {
				t.Errorf("an error without a kind: %v", err)
			}
		}
		m, err := config.ReadModels("f", text)
		check(err)
		if err == nil {
			for _, c := range m.Models {
				if c.Name == "" || c.BasePath == "" {
					t.Errorf("%+v", c)
				}
			}
		}
		_, _, err = config.ReadBatching("f", text)
		check(err)
		_, err = config.ReadMonitoring("f", text)
		check(err)
	})
}
