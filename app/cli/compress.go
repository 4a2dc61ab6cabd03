package cli

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/train"
	"github.com/lineshaft/lineshaft/train/compress"
)

// compression are the flags that quantize and prune share.
type compression struct {
	data, drop string
	scale      float64
	dry        bool
}

func (c *compression) add(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&c.data, "on", "", "`set` to measure both versions on (default what the version was trained with)")
	f.StringVar(&c.drop, "max-drop", "0.5%", "`share` of the answers that may get worse before the version is refused")
	f.Float64Var(&c.scale, "scale", 0, "`number` that inputs are divided by (default as in training, 255 for images otherwise)")
	dryRun(cmd, &c.dry)
}

func (c *compression) request(r compress.Request) (compress.Request, error) {
	percent, err := parsePercent(c.drop)
	if err != nil {
		return r, err
	}
	drop := percent / 100
	r.Data, r.Scale, r.MaxDrop = c.data, c.scale, &drop
	return r, r.Validate()
}

func quantizeCommand(e *env) *cobra.Command {
	var flags compression
	to := ""
	cmd := &cobra.Command{
		Use:   "quantize MODEL",
		Short: "Make a version with weights in int8 or bf16, measured beside the old one",
		Long: `Make a version whose weights are whole numbers of eight bits with a scale for each column (int8), or the upper halves
of float32 (bf16). Both versions are measured on the validation part of a data set, and the new one is registered with
its lineage unless it answers too much worse. It is served, exported and rolled back like any other.`,
		Example: "  lineshaft models quantize mnist:3 --to int8\n  lineshaft models quantize mnist@prod --to bf16 --on mnist --max-drop 0.1%",
		Args:    takes, ValidArgsFunction: e.completeModels(),
		RunE: func(cmd *cobra.Command, args []string) error {
			r, err := flags.request(compress.Request{To: to})
			if err != nil {
				return err
			}
			return e.compress(cmd.Context(), args[0], r, flags.dry)
		},
	}
	cmd.Flags().StringVar(&to, "to", "int8", "what weights become: int8 or bf16")
	flags.add(cmd)
	return cmd
}

func pruneCommand(e *env) *cobra.Command {
	var flags compression
	var r compress.Request
	cmd := &cobra.Command{
		Use:   "prune MODEL",
		Short: "Make a version without the smallest weights or units, measured beside the old one",
		Long: `Make a version in which the smallest weights are zero (--sparsity), which makes its file smaller, or without the units
that matter least (--units), which makes it faster too. Both versions are measured on the validation part of a data set,
and the new one is registered with its lineage unless it answers too much worse.`,
		Example: "  lineshaft models prune mnist:3 --sparsity 0.5\n  lineshaft models prune mnist:3 --units 0.25 --to int8",
		Args:    takes, ValidArgsFunction: e.completeModels(),
		RunE: func(cmd *cobra.Command, args []string) error {
			if r.Sparsity == 0 && r.Units == 0 {
				return errs.Errorf("cli.prune", errs.Invalid, "say what to prune: --sparsity SHARE of the weights or --units SHARE of the units, 0.5 for half")
			}
			r, err := flags.request(r)
			if err != nil {
				return err
			}
			return e.compress(cmd.Context(), args[0], r, flags.dry)
		},
	}
	f := cmd.Flags()
	f.Float64Var(&r.Sparsity, "sparsity", 0, "`share` of the weights to set to zero, such as 0.5")
	f.Float64Var(&r.Units, "units", 0, "`share` of the units of every dense layer but the last to take out, such as 0.25")
	f.StringVar(&r.To, "to", "", "quantize what is left: int8 or bf16")
	flags.add(cmd)
	return cmd
}

func (e *env) compress(ctx context.Context, ref string, r compress.Request, dry bool) error {
	c, v, err := e.version(ctx, ref)
	if err != nil {
		return err
	}
	e.note("measuring %s:%d before and after", v.Model, v.Version)
	made, err := c.Compress(ctx, v.Model, v.Version, r, dry)
	if err != nil {
		return err
	}
	return e.show(made, func(w io.Writer) {
		p := made.Report
		t := newTable("", "", "BEFORE>", "AFTER>", "")
		quality := func(q float64) string {
			if p.Metric == train.Accuracy {
				return fmt.Sprintf("%.2f %%", 100*q)
			}
			return number(q)
		}
		t.row(strings.ReplaceAll(p.Metric, "_", " "), quality(p.Before.Quality), quality(p.After.Quality), fmt.Sprintf("drop %.2f %%, %.2f %% allowed", 100*p.Drop, 100*p.MaxDrop))
		t.row("file", size(p.Before.FileBytes), size(p.After.FileBytes), times(float64(p.Before.FileBytes), float64(p.After.FileBytes), "smaller"))
		t.row("memory", size(p.Before.MemoryBytes), size(p.After.MemoryBytes), times(float64(p.Before.MemoryBytes), float64(p.After.MemoryBytes), "smaller"))
		t.row("one row", fmt.Sprintf("%.1f µs", p.Before.Row1), fmt.Sprintf("%.1f µs", p.After.Row1), times(p.Before.Row1, p.After.Row1, "faster"))
		t.row("a row of 32", fmt.Sprintf("%.1f µs", p.Before.Row32), fmt.Sprintf("%.1f µs", p.After.Row32), times(p.Before.Row32, p.After.Row32, "faster"))
		e.print(w, t)
		part := "the validation part"
		if p.Part == "all" {
			part = "all, since it has no validation part,"
		}
		fmt.Fprintf(w, "%s; measured on %d rows of %s of %s, inputs divided by %s, one core (%s)\n", p.Change, p.Rows, part, p.Data, number(p.Scale), p.Kernels)
		if dry {
			fmt.Fprintln(w, "nothing was registered")
			return
		}
		fmt.Fprintf(w, "model %s has version %d; serve it with `lineshaft deploy %[1]s:%[2]d`\n", made.Version.Model, made.Version.Version)
	})
}

// times compares two figures of which less is better.
func times(before, after float64, word string) string {
	switch {
	case before <= 0 || after <= 0:
		return ""
	case before/after < 0.995:
		return fmt.Sprintf("%.2f × as much", after/before)
	}
	return fmt.Sprintf("%.2f × %s", before/after, word)
}
