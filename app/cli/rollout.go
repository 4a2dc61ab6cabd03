package cli

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/lineshaft/lineshaft/client"
	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/serve"
	"github.com/lineshaft/lineshaft/serve/release"
)

// releaseFlags are those of deploy that begin a release instead.
type releaseFlags struct {
	canary, split, shadow string
	blueGreen, manual     bool
	steps                 []string
	rule                  release.Rule
	least, most           time.Duration
}

func (p *releaseFlags) add(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&p.canary, "canary", "", "begin a canary with this `share` of the requests, such as 5%")
	f.StringVar(&p.split, "split", "", "lead this `share` of the requests to the version, such as 20%")
	f.StringVar(&p.shadow, "shadow", "", "give the version copies of this `share` of the requests and compare the answers")
	f.BoolVar(&p.blueGreen, "blue-green", false, "have the version ready beside the one that answers, to switch at once")
	f.StringSliceVar(&p.steps, "steps", nil, "`shares` of a canary (default 5,25,50,100)")
	f.BoolVar(&p.manual, "manual", false, "judge nothing: a person moves the canary")
	f.Float64Var(&p.rule.ErrorMargin, "error-margin", 0, "how much larger a `part` of requests may fail in a canary (default 0.01)")
	f.Float64Var(&p.rule.Slowdown, "slowdown", 0, "how many `times` slower a canary may be (default 1.25)")
	f.DurationVar(&p.least, "step-time", 0, "how long each share of a canary stands at least, a `duration` (default 30s)")
	f.DurationVar(&p.most, "step-limit", 0, "how long it may stand before a person is asked, a `duration` (default 1h)")
}

// plan is the release that the flags ask for; nil where they ask for none.
func (p *releaseFlags) plan(candidate int64) (*release.Plan, error) {
	const op = "cli.deploy"
	out := release.Plan{Candidate: candidate}
	share, n := "", 0
	for _, m := range []struct {
		mode  release.Mode
		value string
	}{{release.Canary, p.canary}, {release.Split, p.split}, {release.Shadow, p.shadow}} {
		if m.value != "" {
			out.Mode, share, n = m.mode, m.value, n+1
		}
	}
	if p.blueGreen {
		out.Mode, n = release.BlueGreen, n+1
	}
	if n > 1 {
		return nil, errs.Errorf(op, errs.Invalid, "--canary, --split, --shadow and --blue-green exclude each other: give one")
	}
	p.rule.MinSeconds, p.rule.MaxSeconds = p.least.Seconds(), p.most.Seconds()
	if out.Mode != release.Canary && (p.steps != nil || p.manual || p.rule != release.Rule{}) {
		return nil, errs.Errorf(op, errs.Invalid, "--steps, --manual, --error-margin, --slowdown, --step-time and --step-limit belong to --canary SHARE")
	}
	if n == 0 {
		return nil, nil //nolint:nilnil // no release is no error
	}
	if share != "" {
		v, err := parsePercent(share)
		if err != nil {
			return nil, err
		}
		out.Percent = &v
	}
	for _, s := range p.steps {
		v, err := parsePercent(s)
		if err != nil {
			return nil, err
		}
		out.Steps = append(out.Steps, v)
	}
	out.Manual = p.manual
	if p.rule != (release.Rule{}) {
		out.Rule = &p.rule
	}
	return &out, nil
}

// parsePercent reads 10, 10% or 0.5%.
func parsePercent(s string) (float64, error) {
	v, err := strconv.ParseFloat(strings.TrimSpace(strings.TrimSuffix(s, "%")), 64)
	if err != nil || !(v >= 0 && v <= 100) {
		return 0, errs.Errorf("cli.parsePercent", errs.Invalid, "%q is no share: write a number of percent from 0 to 100, such as 10%%", s)
	}
	return v, nil
}

// released tells of a release that has begun or moved.
func (e *env) released(s serve.Service, dry bool) error {
	return e.done(s, dry, "%s: %s; `lineshaft rollout %s` shows how it goes", s.Model, s.Release.Text(), s.Model)
}

func rolloutCommand(e *env) *cobra.Command {
	list := listing[serve.Service]{
		topic: "services",
		fetch: func(ctx context.Context, c *client.Client) ([]serve.Service, error) {
			all, err := c.Services(ctx)
			var out []serve.Service
			for _, s := range all {
				if s.Release != nil {
					out = append(out, s)
				}
			}
			return out, err
		},
		table: func(all []serve.Service) *table {
			t := newTable("no release is under way; `lineshaft deploy MODEL:VERSION --canary 10%` begins one", "MODEL", "MODE", "FROM>", "TO>", "SHARE>", "VERDICT", "SINCE>")
			for _, s := range all {
				r := s.Release
				verdict := ""
				if r.Verdict != nil {
					verdict = string(r.Verdict.Call)
				}
				t.row(s.Model, r.Mode, r.Stable, r.Candidate, shareText(r.Percent), verdict, e.age(r.Since))
			}
			return t
		},
	}.command(e, &cobra.Command{Use: "list", Short: "List the releases under way"})
	show := &cobra.Command{
		Use: "show MODEL", Aliases: []string{"status", "get"},
		Short: "Show the release of a model, what was compared, and the verdict with its reasons",
		Args:  takes, ValidArgsFunction: e.completeServices(),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := e.connect()
			if err != nil {
				return err
			}
			s, err := c.Service(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return e.show(s, func(w io.Writer) {
				if s.Release == nil && s.Last == nil {
					fmt.Fprintf(w, "no release of %s is under way; `lineshaft deploy %[1]s:VERSION --canary 10%%` begins one\n", s.Model)
				}
				e.releaseDetails(w, s)
			})
		},
	}
	return group(&cobra.Command{Use: "rollout [MODEL]", Short: "Show releases, move their share, promote or roll back", Aliases: []string{"rollouts", "releases"}},
		list, show, rolloutSetCommand(e), rolloutSwitchCommand(e),
		rolloutEndCommand(e, release.Promoted, &cobra.Command{Use: "promote MODEL", Short: "Let the new version take over, and free the old one"}),
		rolloutEndCommand(e, release.RolledBack, &cobra.Command{Use: "rollback MODEL", Short: "Lead all requests back to the old version, and free the new one", Aliases: []string{"abort", "undo"}}))
}

func rolloutSetCommand(e *env) *cobra.Command {
	dry := false
	cmd := &cobra.Command{
		Use: "set MODEL SHARE", Short: "Change the share of the requests that the new version gets", Example: "  lineshaft rollout set mnist 25%",
		Args: takes, ValidArgsFunction: e.completeServices(),
		RunE: func(cmd *cobra.Command, args []string) error {
			v, err := parsePercent(args[1])
			if err != nil {
				return err
			}
			return e.moveRelease(cmd.Context(), args[0], dry, func(release.Release) float64 { return v })
		},
	}
	dryRun(cmd, &dry)
	return cmd
}

func rolloutSwitchCommand(e *env) *cobra.Command {
	dry := false
	cmd := &cobra.Command{
		Use: "switch MODEL", Short: "Lead all requests of a blue-green release to the other version at once",
		Args: takes, ValidArgsFunction: e.completeServices(),
		RunE: func(cmd *cobra.Command, args []string) error {
			return e.moveRelease(cmd.Context(), args[0], dry, func(r release.Release) float64 {
				if r.Percent == 100 {
					return 0
				}
				return 100
			})
		},
	}
	dryRun(cmd, &dry)
	return cmd
}

func (e *env) moveRelease(ctx context.Context, model string, dry bool, to func(release.Release) float64) error {
	c, err := e.connect()
	if err != nil {
		return err
	}
	r, err := c.Release(ctx, model)
	if err != nil {
		return err
	}
	v := to(r)
	s, err := c.SetRelease(ctx, model, release.Plan{Percent: &v}, dry)
	if err != nil {
		return err
	}
	return e.released(s, dry)
}

func rolloutEndCommand(e *env, o release.Outcome, cmd *cobra.Command) *cobra.Command {
	dry := false
	cmd.Args, cmd.ValidArgsFunction = takes, e.completeServices()
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := e.connect()
		if err != nil {
			return err
		}
		r, err := c.Release(cmd.Context(), args[0])
		if err != nil {
			return err
		}
		return e.endRelease(cmd.Context(), c, args[0], r, o, dry)
	}
	dryRun(cmd, &dry)
	return cmd
}

func (e *env) endRelease(ctx context.Context, c *client.Client, model string, r release.Release, o release.Outcome, dry bool) error {
	s, err := c.EndRelease(ctx, model, o, dry)
	if err != nil {
		return err
	}
	if o == release.Promoted {
		return e.done(s, dry, "%s: version %d has taken over from %d", model, r.Candidate, r.Stable)
	}
	return e.done(s, dry, "%s: rolled back; version %d answers", model, r.Stable)
}

func rollbackCommand(e *env) *cobra.Command {
	dry := false
	cmd := &cobra.Command{
		Use:   "rollback MODEL",
		Short: "Take a model's last release or deployment back",
		Long: `Take a model's last release or deployment back: a release under way is rolled back at once, for the old version is still
in memory; without one, the version that was deployed before is deployed again.`,
		Args: takes, ValidArgsFunction: e.completeServices(),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			c, err := e.connect()
			if err != nil {
				return err
			}
			s, err := c.Service(ctx, args[0])
			switch {
			case err != nil:
				return err
			case s.Release != nil:
				return e.endRelease(ctx, c, s.Model, *s.Release, release.RolledBack, dry)
			case s.Previous == 0:
				return errs.Errorf("cli.rollback", errs.Conflict, "version %d of %s is the first that was deployed: there is nothing to go back to", s.Version, s.Model)
			}
			out, err := c.Deploy(ctx, s.Model, s.Previous, "", dry)
			if err != nil {
				return err
			}
			return e.done(out, dry, "%s: rolled back; version %d answers again, not %d", s.Model, s.Previous, s.Version)
		},
	}
	dryRun(cmd, &dry)
	return cmd
}

func shareText(p float64) string { return number(p) + "%" }

// releaseDetails shows the release under way and the last one.
func (e *env) releaseDetails(w io.Writer, s serve.Service) {
	if r := s.Release; r != nil {
		fmt.Fprintln(w)
		e.details(w, "release", string(r.Mode), "now", r.Text(), "since", e.when(r.Since), "at this share since", e.when(r.Changed), "by", r.Actor)
		if len(r.Steps) > 0 {
			e.details(w, "steps", release.Percents(r.Steps))
		}
		e.verdict(w, r.Verdict)
		e.copies(w, r.Copies)
	}
	if l := s.Last; l != nil {
		fmt.Fprintln(w)
		e.details(w, "last release", fmt.Sprintf("%s of version %d after %d: %s", l.Release.Mode, l.Release.Candidate, l.Release.Stable, strings.ReplaceAll(string(l.Outcome), "_", " ")),
			"ended", e.when(l.Time), "by", l.Actor)
		for _, why := range l.Reasons {
			fmt.Fprintln(w, "  "+clean(why))
		}
	}
}

func (e *env) verdict(w io.Writer, v *release.Verdict) {
	if v == nil {
		return
	}
	e.details(w, "verdict", strings.ReplaceAll(string(v.Call), "_", " "))
	for _, why := range v.Reasons {
		fmt.Fprintln(w, "  "+clean(why))
	}
	fmt.Fprintln(w)
	t := newTable("", "COMPARED", "STABLE>", "CANDIDATE>", "WORSE BY AT MOST>", "ALLOWED>", "EVIDENCE OF WORSE>", "SUFFICES>")
	for _, m := range v.Tests {
		name := m.Name
		if m.AboveMs > 0 {
			name = fmt.Sprintf("slower than the %s (%s)", strings.Replace(m.Name, "tail", "95th percentile", 1), millis(m.AboveMs))
		}
		bound := ""
		if m.Bound < 1 {
			bound = percentage(m.Bound)
		}
		t.row(name, fmt.Sprintf("%d of %d", m.Stable.Bad, m.Stable.Requests), fmt.Sprintf("%d of %d", m.Candidate.Bad, m.Candidate.Requests), bound, percentage(m.Margin), number(m.Evidence), number(m.Needed))
	}
	e.print(w, t)
}

func (e *env) copies(w io.Writer, c *release.Copies) {
	if c == nil {
		return
	}
	e.details(w, "compared", thousands(c.Compared), "the same to the bit", thousands(c.Alike), "same largest output", fmt.Sprintf("%s of %s rows", thousands(c.Agreed), thousands(c.Rows)),
		"largest difference", number(c.MaxAbs), "relative", number(c.MaxRel), "failed", thousands(c.Failed), "dropped while busy", thousands(c.Dropped),
		"time of computing", fmt.Sprintf("%s, %s the shadow's", millis(c.StableMs), millis(c.ShadowMs)), "error", c.Error)
}
