package cli

import (
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/lineshaft/lineshaft/client"
	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/model"
	"github.com/lineshaft/lineshaft/serve/layout"
)

func modelsCommand(e *env) *cobra.Command {
	list := listing[model.Model]{
		topic: "models",
		fetch: func(ctx context.Context, c *client.Client) ([]model.Model, error) { return c.Models(ctx) },
		table: func(models []model.Model) *table {
			t := newTable("no models; train one with `register:` in its job, or `lineshaft models upload NAME FILE`", "NAME", "VERSIONS>", "LATEST>", "ALIASES", "UPDATED>")
			for _, m := range models {
				t.row(m.Name, m.Versions, m.Latest, aliasText(m.Aliases, 0), e.age(m.Updated))
			}
			return t
		},
	}.command(e, &cobra.Command{Use: "list", Short: "List models"})
	show := &cobra.Command{
		Use: "show MODEL", Aliases: []string{"get"},
		Short:   "Show a model with its versions, or one version with where it comes from",
		Example: "  lineshaft models show mnist\n  lineshaft models show mnist:3\n  lineshaft models show mnist@prod",
		Args:    takes, ValidArgsFunction: e.completeModels(),
		RunE: func(cmd *cobra.Command, args []string) error { return e.showModel(cmd.Context(), args[0]) },
	}
	return group(&cobra.Command{Use: "models [MODEL]", Short: "List models; show, upload, export, verify, quantize, prune one; move its aliases", Aliases: []string{"model"}},
		list, show, uploadCommand(e), aliasCommand(e), exportCommand(e), verifyCommand(e), warmupCommand(e), quantizeCommand(e), pruneCommand(e))
}

// aliasText lists aliases as "prod→3", or, of one version, as "prod".
func aliasText(aliases map[string]int64, version int64) string {
	var out []string
	for _, name := range slices.Sorted(maps.Keys(aliases)) {
		switch {
		case version == 0:
			out = append(out, fmt.Sprintf("%s→%d", name, aliases[name]))
		case aliases[name] == version:
			out = append(out, name)
		}
	}
	return strings.Join(out, ", ")
}

func metricsText(m map[string]float64) string {
	var out []string
	for _, name := range slices.Sorted(maps.Keys(m)) {
		out = append(out, name+" "+number(m[name]))
	}
	return strings.Join(out, ", ")
}

func (e *env) showModel(ctx context.Context, ref string) error {
	r, err := parseModel(ref)
	if err != nil {
		return err
	}
	c, err := e.connect()
	if err != nil {
		return err
	}
	m, err := c.Model(ctx, r.name)
	if err != nil {
		return err
	}
	if r.version == 0 && r.alias == "" {
		return e.show(m, func(w io.Writer) {
			e.details(w, "model", m.Name, "aliases", aliasText(m.Aliases, 0), "created", e.when(m.Created), "updated", e.when(m.Updated))
			fmt.Fprintln(w)
			t := newTable("no versions", "VERSION>", "ALIASES", "FORMAT", "SIZE>", "SOURCE", "METRICS", "AGE>", "CREATOR")
			for _, v := range m.Items {
				t.row(v.Version, aliasText(m.Aliases, v.Version), v.Format, size(v.Size), v.Source, metricsText(v.Metrics), e.age(v.Created), v.Creator)
			}
			e.print(w, t)
		})
	}
	n, err := r.resolve(ctx, c)
	if err != nil {
		return err
	}
	v, err := c.Version(ctx, r.name, n)
	if err != nil {
		return err
	}
	return e.show(v, func(w io.Writer) {
		e.details(w, "version", fmt.Sprintf("%s:%d", v.Model, v.Version), "aliases", aliasText(m.Aliases, v.Version), "format", v.Format, "size", size(v.Size),
			"digest", v.Digest, "source", v.Source, "data", strings.Join(v.Lineage.Data, "\n"), "from", v.Lineage.From, "change", v.Lineage.Change, "metrics", metricsText(v.Metrics), "creator", v.Creator, "created", e.when(v.Created))
	})
}

func uploadCommand(e *env) *cobra.Command {
	dry := false
	cmd := &cobra.Command{
		Use:   "upload MODEL FILE",
		Short: "Add a version from a Keras file (.h5 or .keras) or an ONNX file",
		Args:  takes, ValidArgsFunction: e.modelThenFile,
		RunE: func(cmd *cobra.Command, args []string) error {
			const op = "cli.upload"
			if _, err := model.FormatOf(args[1]); err != nil {
				return err
			}
			f, err := os.Open(args[1])
			if err != nil {
				return fileError(op, err)
			}
			defer f.Close()
			info, err := f.Stat()
			if err != nil {
				return fileError(op, err)
			}
			if !info.Mode().IsRegular() {
				return errs.Errorf(op, errs.Invalid, "%s is no file", args[1])
			}
			c, err := e.connect()
			if err != nil {
				return err
			}
			if dry {
				v, err := c.UploadModel(cmd.Context(), args[0], filepath.Base(args[1]), strings.NewReader(""), true)
				if err != nil {
					return err
				}
				return e.done(v, true, "%s, %s, would become a version of model %s", args[1], size(info.Size()), args[0])
			}
			b := e.bar()
			v, err := c.UploadModel(cmd.Context(), args[0], filepath.Base(args[1]), &counted{r: f, what: "sending " + filepath.Base(args[1]), total: info.Size(), bar: b}, false)
			b.clear()
			if err != nil {
				return err
			}
			return e.done(v, false, "model %s has version %d (%s, %s); serve it with `lineshaft deploy %s:%d`", v.Model, v.Version, v.Format, size(v.Size), v.Model, v.Version)
		},
	}
	dryRun(cmd, &dry)
	return cmd
}

// modelThenFile completes a model's name, then the shell's files.
func (e *env) modelThenFile(cmd *cobra.Command, args []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return []cobra.Completion{"h5", "keras", "lsnn"}, cobra.ShellCompDirectiveFilterFileExt
	}
	return e.completeModels()(cmd, args, typed)
}

func aliasCommand(e *env) *cobra.Command {
	var remove, dry bool
	cmd := &cobra.Command{
		Use:   "alias MODEL ALIAS [VERSION]",
		Short: "Point an alias at a version, or remove it",
		Example: `  lineshaft models alias mnist prod 3
  lineshaft models alias mnist@candidate prod
  lineshaft models alias mnist prod --remove`,
		Args: takes, ValidArgsFunction: e.completeModels(),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, alias := cmd.Context(), args[1]
			if len(args) == 3 {
				args[0] += ":" + args[2]
			}
			r, err := parseModel(args[0])
			if err != nil {
				return err
			}
			c, err := e.connect()
			if err != nil {
				return err
			}
			if remove {
				m, err := c.DeleteAlias(ctx, r.name, alias, dry)
				if err != nil {
					return err
				}
				return e.done(m, dry, "%s@%s is gone", r.name, alias)
			}
			if r.version == 0 && r.alias == "" {
				return errs.Errorf("cli.alias", errs.Invalid, "say which version: for example `lineshaft models alias %s %s 1`", r.name, alias)
			}
			n, err := r.resolve(ctx, c)
			if err != nil {
				return err
			}
			m, err := c.SetAlias(ctx, r.name, alias, n, dry)
			if err != nil {
				return err
			}
			return e.done(m, dry, "%s@%s is version %d", r.name, alias, n)
		},
	}
	cmd.Flags().BoolVar(&remove, "remove", false, "remove the alias")
	dryRun(cmd, &dry)
	return cmd
}

func exportCommand(e *env) *cobra.Command {
	file, form := "", ""
	cmd := &cobra.Command{
		Use:   "export MODEL",
		Short: "Write the plain file of a version; needs a grant and is audited",
		Long: `Write the plain file of a version. Models are sealed: an export is the one way by which plain bytes leave, it needs
a grant and is written to the audit log before the first byte leaves.

--layout writes the folder from which another server serves the model: a model repository of Triton (ONNX), or the
base path of TensorFlow Serving (SavedModel).`,
		Example: `  lineshaft models export mnist:3 --to model.h5
  lineshaft models export mnist@prod --to - | sha256sum
  lineshaft models export mnist:3 --layout triton --to repository`,
		Args: takes, ValidArgsFunction: e.completeModels(),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			if form != "" {
				return e.exportLayout(ctx, args[0], form, file)
			}
			c, v, err := e.version(ctx, args[0])
			if err != nil {
				return err
			}
			if file == "" {
				file = v.Model + v.Format.Ext()
			}
			format, err := exportFormat(file, v.Format)
			if err != nil {
				return err
			}
			var written int64
			write := func(w io.Writer) (err error) {
				written, err = e.export(ctx, c, v, format, w)
				return err
			}
			if file == "-" {
				if terminal(e.out) >= 0 {
					return errs.Errorf("cli.export", errs.Invalid, "a model file is no text for a terminal: write it to a file with --to FILE")
				}
				return write(e.out)
			}
			if err := writeFile(file, 0o600, write); err != nil {
				return err
			}
			e.note("wrote %s: %s:%d in the clear, %s; this is in the audit log", file, v.Model, v.Version, size(written))
			return nil
		},
	}
	cmd.Flags().StringVar(&file, "to", "", "`file` to write, - for standard output (default the model's name); with --layout the folder (default models)")
	cmd.Flags().StringVar(&form, "layout", "", "write the folder of another `server`: triton or tfserving")
	complete(cmd, "layout", cobra.FixedCompletions(layout.All(), cobra.ShellCompDirectiveNoFileComp))
	_ = cmd.MarkFlagFilename("to", "h5", "keras") // only fails for a flag that is not there
	return cmd
}

// exportFormat is the format that the file's name asks for, as the version is kept where it asks for none.
func exportFormat(file string, kept model.Format) (model.Format, error) {
	if file == "-" {
		return kept, nil
	}
	return model.FormatOf(file)
}

// version finds the version that a reference means.
func (e *env) version(ctx context.Context, ref string) (*client.Client, model.Version, error) {
	r, err := parseModel(ref)
	if err != nil {
		return nil, model.Version{}, err
	}
	c, err := e.connect()
	if err != nil {
		return nil, model.Version{}, err
	}
	n, err := r.resolve(ctx, c)
	if err != nil {
		return nil, model.Version{}, err
	}
	v, err := c.Version(ctx, r.name, n)
	return c, v, err
}

// export writes the plain bytes of a version and tells how many those were.
func (e *env) export(ctx context.Context, c *client.Client, v model.Version, format model.Format, w io.Writer) (int64, error) {
	r, err := c.Export(ctx, v.Model, v.Version, format)
	if err != nil {
		return 0, err
	}
	defer r.Close()
	b := e.bar()
	defer b.clear()
	n, err := io.Copy(&counted{w: w, what: "exporting " + v.Model, total: v.Size, bar: b}, r)
	if err != nil {
		return n, errs.E("cli.export", errs.Unavailable, err)
	}
	if format == v.Format && n != v.Size {
		return n, errs.Errorf("cli.export", errs.Corrupt, "%d bytes came of %d: the export broke off; try again", n, v.Size)
	}
	return n, nil
}
