package cli

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"os"

	"github.com/spf13/cobra"

	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/internal/units"
	"github.com/lineshaft/lineshaft/serve/onnx"
)

// engine is what computes models of some formats, as it stands on this machine.
type engine struct {
	Name    string `json:"runtime"`
	Serves  string `json:"serves"`
	Ready   bool   `json:"ready"`
	Version string `json:"version,omitempty"`
	Found   string `json:"found"`
}

func runtimeCommand(e *env) *cobra.Command {
	list := &cobra.Command{
		Use:   "list",
		Short: "Say which runtimes serve models here, and what the others need",
		Args:  takes,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := e.load(nil)
			if err != nil {
				return err
			}
			all := []engine{{Name: "native", Serves: "Keras (.h5, .keras)", Ready: true, Found: "part of this program"}}
			o := engine{Name: "onnx", Serves: "ONNX (.onnx)"}
			if found, err := onnx.Try(cmd.Context(), c.ONNX(0, nil)); err != nil {
				o.Found = err.Error()
			} else {
				o.Ready, o.Version, o.Found = true, found.Version, found.Library+"; its process has "+cmp.Or(found.Confined, "every right of this user: this kernel confines nothing")
			}
			all = append(all, o)
			return e.show(all, func(w io.Writer) {
				t := newTable("", "RUNTIME", "SERVES", "READY", "VERSION", "FOUND")
				for _, r := range all {
					t.row(r.Name, r.Serves, yesNo(r.Ready), r.Version, r.Found)
				}
				e.print(w, t)
			})
		},
	}
	return group(&cobra.Command{Use: "runtime", Short: "Install and list what computes models"}, list, installCommand(e))
}

func installCommand(e *env) *cobra.Command {
	var index, from string
	dry := false
	cmd := &cobra.Command{
		Use:   "install NAME",
		Short: "Fetch ONNX Runtime, which ONNX models need",
		Long: fmt.Sprintf(`Fetch ONNX Runtime %s, which ONNX models need, into the data folder.

The library comes from its package in the Python index; package and library must have the SHA-256 that this
program names, so that it does not matter which index they come from. A server that runs needs no restart.
Where the machine reaches no index, fetch the package elsewhere (pip download --no-deps onnxruntime==%[1]s)
and name it with --from. A library of your own is named with onnx-library in the configuration instead.`, onnx.Release),
		Example: "  lineshaft runtime install onnx\n  lineshaft runtime install onnx --from onnxruntime-1.32.0-….whl",
		Args:    takes, ValidArgs: []string{"onnx"},
		RunE: func(cmd *cobra.Command, args []string) error {
			const op = "cli.install"
			if args[0] != "onnx" {
				return errs.Errorf(op, errs.NotFound, "no runtime %q is installed by this command: onnx is", args[0])
			}
			c, err := e.load(nil)
			if err != nil {
				return err
			}
			if dry {
				path, err := onnx.Place(c.ONNX(0, nil).Folder)
				if err != nil {
					return err
				}
				return e.done(onnx.Found{Version: onnx.Release, Library: path}, true, "ONNX Runtime %s would be installed as %s", onnx.Release, path)
			}
			client, err := e.packageClient()
			if err != nil {
				return err
			}
			b := e.bar()
			path, err := onnx.Install(cmd.Context(), c.ONNX(0, nil).Folder, onnx.Source{
				Index: cmp.Or(index, e.getenv("PIP_INDEX_URL")), File: from, Client: client,
				Progress: func(done, total units.Bytes) {
					b.draw("fetching ONNX Runtime "+onnx.Release, float64(done)/float64(total), total.String())
				},
			})
			b.clear()
			if err != nil {
				return err
			}
			found, err := onnx.Try(cmd.Context(), c.ONNX(0, nil))
			if err != nil {
				return err
			}
			return e.done(found, false, "ONNX Runtime %s is installed (%s); serve a model with `lineshaft models upload NAME model.onnx` and `lineshaft deploy NAME`", found.Version, path)
		},
	}
	cmd.Flags().StringVar(&index, "index", "", "`URL` of a package index (default PIP_INDEX_URL, or "+onnx.Index+")")
	cmd.Flags().StringVar(&from, "from", "", "`file` of the package, fetched before; nothing is fetched then")
	dryRun(cmd, &dry)
	return cmd
}

// packageClient trusts what pip trusts: PIP_CERT beside the system's certificates.
func (e *env) packageClient() (*http.Client, error) {
	file := e.getenv("PIP_CERT")
	if file == "" {
		return http.DefaultClient, nil
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, errs.Errorf("cli.install", errs.Invalid, "PIP_CERT: %w", err)
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	pool.AppendCertsFromPEM(text)
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.TLSClientConfig = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	return &http.Client{Transport: t}, nil
}
