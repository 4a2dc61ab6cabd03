package cli

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/lineshaft/lineshaft/app"
	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/internal/units"
)

// This file is the command that takes the place of tensorflow_model_server: its flags are that program's, with their
// names, meanings and defaults, as far as they mean something here. Those that do not are taken with a word, so that a
// command line that works there works here, or refused where going on without them would be wrong.

// without are flags that are taken and change nothing, with what is so instead.
func without() map[string]string {
	const (
		threads = "requests and loads share this process's threads as they come"
		session = "there is no TensorFlow session here"
		saved   = "models are Keras and ONNX files"
	)
	return map[string]string{
		"rest_api_num_threads":                        threads,
		"grpc_max_threads":                            threads,
		"num_load_threads":                            threads,
		"num_unload_threads":                          threads,
		"load_retry_interval_micros":                  "a version that cannot be loaded is tried again later and later, from 4 s to 5 min",
		"grpc_channel_arguments":                      "the channel has limits of its own",
		"flush_filesystem_caches":                     "caches are the system's",
		"tensorflow_session_parallelism":              session,
		"tensorflow_session_config_file":              session,
		"tensorflow_intra_op_parallelism":             session,
		"tensorflow_inter_op_parallelism":             session,
		"platform_config_file":                        "the format of a model is told from its file",
		"per_process_gpu_memory_fraction":             session,
		"saved_model_tags":                            saved,
		"remove_unused_fields_from_bundle_metagraph":  saved,
		"prefer_tflite_model":                         saved,
		"num_tflite_pools":                            saved,
		"num_tflite_interpreters_per_pool":            saved,
		"enable_signature_method_name_check":          saved,
		"xla_cpu_compilation_enabled":                 session,
		"xla_gpu_compilation_enabled":                 session,
		"enable_serialization_as_tensor_content":      "the form of answers is not chosen here",
		"enable_profiler":                             "TensorBoard cannot profile this server",
		"thread_pool_factory_config_file":             threads,
		"mixed_precision":                             "weights are as their file has them",
		"skip_initialize_tpu":                         session,
		"enable_model_warmup":                         "no warm-up requests are read from a model's folder",
		"num_request_iterations_for_warmup":           "no warm-up requests are read from a model's folder",
		"enable_grpc_healthcheck_service":             "the health service always answers",
		"allow_version_labels_for_unavailable_models": "a label answers as soon as its version does",
		"enable_batching":                             "requests that wait are always computed together; nobody waits for more to come",
		"enable_per_model_batching_parameters":        "batching is the same for all models",
		"tensorflow_session_run_timeout_in_ms":        session,
	}
}

// refused are flags without which going on would be wrong.
func refused() map[string]string {
	return map[string]string{
		"use_alts_credentials":         "ALTS is known inside Google's cloud only: give a certificate with --ssl_config_file",
		"rest_api_enable_cors_support": "it would let every page that a browser shows ask the models: name the pages that may with --allowed_origins=https://app.example",
	}
}

func serveCommand(e *env) *cobra.Command {
	o := app.Alone{Out: e.out, Err: e.err, BodyLimit: 64 * units.MiB, UploadLimit: units.GiB}
	var configPoll, poll, timeout int64
	var body, upload string
	var version bool
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Serve models from folders, alone: tensorflow_model_server's command with another program name",
		Long: `Serve models from folders, alone: tensorflow_model_server's command with another program name.

A model is a folder of numbered versions, FOLDER/1/model.h5 (or .keras, .onnx). Versions that come are loaded beside
what answers and take over, versions that go are taken out; nothing else of Lineshaft is needed, and nothing is written.
--port answers gRPC and REST both, told apart by protocol. The server listens to this machine alone unless --host says
otherwise, which needs --ssl_config_file: nobody has an account here.`,
		Example: `  lineshaft serve --port=8501 --model_name=mnist --model_base_path=/models/mnist
  lineshaft serve --port=8500 --rest_api_port=8501 --model_config_file=models.config --model_config_file_poll_wait_seconds=30
  curl -d '{"instances": [[0, …]]}' http://localhost:8501/v1/models/mnist:predict`,
		Args: takes,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if version {
				fmt.Fprintln(e.out, "lineshaft", app.Version)
				return nil
			}
			for _, n := range []struct {
				name string
				v    int64
				unit time.Duration
				to   *time.Duration
			}{
				{"model_config_file_poll_wait_seconds", configPoll, time.Second, &o.ConfigPoll},
				{"file_system_poll_wait_seconds", poll, time.Second, &o.Poll},
				{"rest_api_timeout_in_ms", timeout, time.Millisecond, &o.RESTTimeout},
			} {
				if n.v > 1<<31 {
					return errs.Errorf("cli.serve", errs.Invalid, "--%s=%d is too long", n.name, n.v)
				}
				*n.to = time.Duration(n.v) * n.unit
			}
			for _, l := range []struct {
				name, text string
				to         *units.Bytes
			}{{"body_limit", body, &o.BodyLimit}, {"upload_limit", upload, &o.UploadLimit}} {
				if l.text == "" {
					continue
				}
				v, err := units.ParseBytes(l.text)
				if err != nil || v <= 0 {
					return errs.Errorf("cli.serve", errs.Invalid, "--%s=%s is no size, for example 64MiB", l.name, l.text)
				}
				*l.to = v
			}
			if err := e.foreign(cmd); err != nil {
				return err
			}
			c, err := e.load(nil)
			if err != nil {
				return err
			}
			o.ONNX = c.ONNX(0, nil)
			if o.Retries == 0 {
				o.Retries = -1 // tried once, and not again
			}
			return app.Serve(cmd.Context(), o)
		},
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.IntVar(&o.Port, "port", 8500, "`port` of gRPC and REST, told apart by protocol; 0: none")
	f.IntVar(&o.RESTPort, "rest_api_port", 0, "a second `port`; 0: none")
	f.StringVar(&o.GRPCSocket, "grpc_socket_path", "", "`path` of a Unix socket that answers gRPC too")
	f.StringVar(&o.Host, "host", "127.0.0.1", "`address` to listen on; one that others can reach needs --ssl_config_file")
	f.StringVar(&o.Name, "model_name", "default", "`name` of the model")
	f.StringVar(&o.BasePath, "model_base_path", "", "`folder` of its numbered versions")
	f.StringVar(&o.ConfigFile, "model_config_file", "", "`file` with a ModelServerConfig: several models, policies, labels")
	f.Int64Var(&configPoll, "model_config_file_poll_wait_seconds", 0, "read that file again every so many `seconds`; 0: never")
	f.Int64Var(&poll, "file_system_poll_wait_seconds", 1, "look at the folders every so many `seconds`; 0: once")
	f.IntVar(&o.Retries, "max_num_load_retries", 5, "try a version that cannot be loaded so many `times` more")
	f.StringVar(&o.BatchingFile, "batching_parameters_file", "", "`file` with BatchingParameters")
	f.StringVar(&o.MonitoringFile, "monitoring_config_file", "", "`file` with a MonitoringConfig (without: metrics at /monitoring/prometheus/metrics)")
	f.StringVar(&o.SSLFile, "ssl_config_file", "", "`file` with an SSLConfig: certificate, key, and whether clients need one")
	f.Int64Var(&timeout, "rest_api_timeout_in_ms", 30000, "`milliseconds` that a REST request may take; 0: any")
	f.StringVar(&body, "body_limit", "", "largest `size` of a request (default 64MiB)")
	f.StringVar(&upload, "upload_limit", "", "largest `size` of a model that comes by :load, which stays in memory (default 1GiB)")
	f.StringSliceVar(&o.Hosts, "allowed_hosts", nil, "`names` that clients may call this server by, beside localhost and the certificate's")
	f.StringSliceVar(&o.Origins, "allowed_origins", nil, "`pages` that browsers may call from, such as https://app.example")
	f.BoolVar(&version, "version", false, "print the version and end")
	for _, names := range []map[string]string{without(), refused()} {
		for name := range names {
			f.Var(&anything{}, name, "")
			f.Lookup(name).NoOptDefVal, f.Lookup(name).Hidden = "true", true
		}
	}
	own := map[string]bool{}
	f.VisitAll(func(f *pflag.Flag) { own[f.Name] = true })
	f.SetNormalizeFunc(func(_ *pflag.FlagSet, name string) pflag.NormalizedName {
		if under := strings.ReplaceAll(name, "-", "_"); own[under] {
			name = under // --model-name is --model_name
		}
		return pflag.NormalizedName(name)
	})
	_ = cmd.MarkFlagDirname("model_base_path") // only fails for a flag that is not there
	return cmd
}

// foreign says what becomes of the flags that are tensorflow_model_server's alone.
func (e *env) foreign(cmd *cobra.Command) (err error) {
	idle, no := without(), refused()
	cmd.Flags().Visit(func(f *pflag.Flag) {
		if why, ok := idle[f.Name]; ok {
			e.note("--%s has no effect here: %s", f.Name, why)
		}
		if why, ok := no[f.Name]; ok && !slices.Contains([]string{"false", "0", "f"}, strings.ToLower(f.Value.String())) {
			err = errs.Errorf("cli.serve", errs.Unsupported, "--%s is not offered: %s", f.Name, why)
		}
	})
	return err
}

// anything is a flag of which the value is not looked at.
type anything struct{ text string }

func (a *anything) String() string     { return a.text }
func (a *anything) Set(s string) error { a.text = s; return nil }
func (*anything) Type() string         { return "value" }
