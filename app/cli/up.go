package cli

import (
	"slices"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/lineshaft/lineshaft/app"
)

// upKeys are the keys of the configuration that `up` takes as flags.
func upKeys() []string {
	return []string{"listen", "serve-listen", "serve-grpc-listen", "upload-limit", "body-limit", "disk-reserve", "serve-memory", "keep-jobs", "allow-less", "request-log", "rule", "highs", "onnx-library"}
}

func upCommand(e *env) *cobra.Command {
	o := app.UpOptions{Out: e.out, Err: e.err, Live: terminal(e.out) >= 0}
	cmd := &cobra.Command{
		Use:   "up",
		Short: "Start the server: console and API, serving, and the tasks of this machine",
		Long: `Start the server: console and API, serving, and the tasks of this machine.

An empty configuration starts; on a new data folder it prints a link that signs the admin in once. Ctrl-C ends the
server and not the tasks: they run on, and the next start finds them.

--demo tells the story of one model as an ordinary client would: it imports MNIST, trains a network on it as a job,
keeps it sealed, serves it, and asks it ten digits. Killed and started again it goes on where it was.`,
		Example: `  lineshaft up --demo
  lineshaft up --data /srv/lineshaft --listen 127.0.0.1:9080`,
		Args: takes,
		RunE: func(cmd *cobra.Command, _ []string) error {
			flags := map[string]string{}
			cmd.Flags().Visit(func(f *pflag.Flag) {
				if slices.Contains(upKeys(), f.Name) {
					flags[f.Name] = f.Value.String()
				}
			})
			cfg, err := e.load(flags)
			if err != nil {
				return err
			}
			return app.Up(cmd.Context(), cfg, o)
		},
	}
	f := cmd.Flags()
	f.String("listen", "", "`address` of console and API (default 127.0.0.1:8080)")
	f.String("serve-listen", "", "`address` of serving, REST (default 127.0.0.1:8501)")
	f.String("serve-grpc-listen", "", "`address` of serving, gRPC (default 127.0.0.1:8500)")
	f.String("upload-limit", "", "largest `size` of a model, data set or code folder (default 8GiB)")
	f.String("body-limit", "", "largest `size` of a request or prediction (default 64MiB)")
	f.String("keep-jobs", "", "keep logs and files of so `many` ended jobs (default 1000)")
	f.String("request-log", "", "`part` of the requests to models that is kept, sealed, such as 0.01 (default none)")
	f.String("serve-memory", "", "`size` that models in service hold together at most (default half of the memory)")
	f.String("disk-reserve", "", "stop uploads when less than this `size` is free (default 256MiB)")
	f.String("allow-less", "", "`true` starts tasks although some isolation cannot be enforced here (default false)")
	f.String("rule", "", "`file` of a learned rule for the scheduler (twin learn writes one)")
	f.String("onnx-library", "", "`path` of ONNX Runtime's library, in the place of the one that `lineshaft runtime install onnx` fetches")
	f.String("highs", "", "`path` of HiGHS's own program, which then solves in the place of the one within")
	f.BoolVar(&o.Demo, "demo", false, "tell the story of one model, and let anybody on this machine ask the models served")
	f.BoolVar(&o.Once, "once", false, "with --demo: end when the story is told")
	f.IntVar(&o.Epochs, "epochs", 0, "with --demo: train this `number` of epochs (default 20)")
	f.StringVar(&o.MNIST, "mnist", "", "with --demo: `folder` of MNIST's four files (default mnist beside this program)")
	_ = cmd.MarkFlagDirname("mnist") // only fails for a flag that is not there
	return cmd
}
