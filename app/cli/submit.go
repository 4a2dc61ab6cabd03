package cli

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/lineshaft/lineshaft/client"
	"github.com/lineshaft/lineshaft/internal/manifest"
	"github.com/lineshaft/lineshaft/internal/units"
	"github.com/lineshaft/lineshaft/job"
)

func submitCommand(e *env) *cobra.Command {
	var o struct {
		code   codeFlags
		follow bool
		dry    bool
	}
	cmd := &cobra.Command{
		Use:   "submit FILE",
		Short: "Submit a job described in a YAML or JSON file",
		Long: `Submit a job described in a YAML or JSON file, or on standard input for "-".

When the command returns, the job is written down and will not be lost. With --follow it stays until the job ends and
fails when the job does; ctrl-C leaves the job running.`,
		Example: `  lineshaft submit train.yaml --follow
  lineshaft submit job.yaml --code .
  lineshaft submit job.yaml --dry-run`,
		Args: takes,
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			text, err := e.text(args[0], manifest.MaxSize)
			if err != nil {
				return err
			}
			c, j, err := o.code.submit(ctx, e, text, o.dry)
			if err != nil {
				return err
			}
			if o.dry || !o.follow || j.Array != nil {
				return e.submitted(j, o.dry)
			}
			e.note("job/%d %s: following; ctrl-C leaves it running", j.ID, j.Name)
			return e.followed(ctx, c, j)
		},
	}
	o.code.flags(cmd)
	cmd.Flags().BoolVarP(&o.follow, "follow", "f", false, "stay, and show how it goes until it ends")
	dryRun(cmd, &o.dry)
	return cmd
}

func (e *env) submitted(j job.Job, dry bool) error {
	if dry {
		j.ID = 0
		reason := j.Reason
		for _, r := range j.Reasons {
			reason += "\n  " + r.Constraint + ": needs " + r.Needed + ", offered " + r.Offered
		}
		what := string(j.Kind) + " job "
		if j.Array != nil {
			what = "array of " + count(j.Array.Count, "job") + " "
		}
		err := e.done(j, true, "%s%s would be accepted: %s", what, j.Name, clean(reason))
		if e.human() {
			e.expect(e.out, j.Outlook)
		}
		return err
	}
	if m := j.Array; m != nil {
		return e.done(j, false, "array/%d %s: %s, job/%d to job/%d; `lineshaft jobs show array/%d` shows how they get on", m.ID, j.Name, count(m.Count, "job"), j.ID, j.ID+job.ID(m.Count)-1, m.ID)
	}
	return e.done(j, false, "job/%d %s is %s; follow it with `lineshaft logs -f %d`", j.ID, j.Name, j.State, j.ID)
}

// followed follows the job and tells how it ended.
func (e *env) followed(ctx context.Context, c *client.Client, j job.Job) error {
	j, err := e.follow(ctx, c, j.ID)
	if interrupted(ctx, err) {
		e.note("job/%d runs on: `lineshaft logs -f %d` follows it again, `lineshaft cancel %d` ends it", j.ID, j.ID, j.ID)
	}
	if err != nil {
		return err
	}
	if !e.human() {
		if err := e.show(j, nil); err != nil {
			return err
		}
	}
	if err := outcome(j); err != nil {
		return err
	}
	took := ""
	if j.Started != nil && j.Finished != nil {
		took = " in " + span(j.Finished.Sub(*j.Started))
	}
	made := ""
	if j.Model != nil {
		made = "; it made model " + j.Model.Name + ", version " + itoa(j.Model.Version) + ": serve it with `lineshaft deploy " + j.Model.Name + ":" + itoa(j.Model.Version) + "`"
	}
	e.note("job/%d %s succeeded%s%s", j.ID, j.Name, took, made)
	return nil
}

func contentType(text []byte) string {
	if t := bytes.TrimSpace(text); len(t) > 0 && t[0] == '{' {
		return "application/json"
	}
	return "application/yaml"
}

// codeFlags are those of a command that sends a folder along.
type codeFlags struct {
	dir   string
	limit string
}

func (o *codeFlags) flags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&o.dir, "code", "", "send this `folder` along: the job starts in a copy of it (.gitignore and .lineshaftignore say what stays)")
	cmd.Flags().StringVar(&o.limit, "code-limit", "100MiB", "refuse a folder with more than this `size`")
	_ = cmd.MarkFlagDirname("code") // only fails for a flag that is not there
}

// upload sends the folder and gives its digest. A dry run only says what would be sent.
func (o *codeFlags) upload(ctx context.Context, e *env, c *client.Client, dry bool) (string, error) {
	limit, err := units.ParseBytes(o.limit)
	if err != nil {
		return "", err
	}
	files, err := listFolder(o.dir, limit)
	if err != nil {
		return "", err
	}
	var total int64
	for _, f := range files {
		total += f.size
	}
	if dry {
		e.note("%s of %s, %s, would be sent", count(len(files), "file"), o.dir, size(total))
		sum := sha256.New()
		if err := pack(sum, o.dir, files); err != nil {
			return "", err
		}
		return "sha256:" + hex.EncodeToString(sum.Sum(nil)), nil
	}
	r, w := io.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		w.CloseWithError(pack(w, o.dir, files))
	}()
	b := e.bar()
	code, err := c.UploadCode(ctx, &counted{r: r, what: "sending " + o.dir, bar: b}, false)
	r.Close()
	<-done
	b.clear()
	if err != nil {
		return "", err
	}
	e.note("sent %s of %s, %s", count(len(files), "file"), o.dir, size(total))
	return code.Digest, nil
}

// submit sends the folder, if there is one, and then the specification.
func (o *codeFlags) submit(ctx context.Context, e *env, text []byte, dry bool) (*client.Client, job.Job, error) {
	c, err := e.connect()
	if err != nil {
		return nil, job.Job{}, err
	}
	if text, err = o.add(ctx, e, c, text, dry); err != nil {
		return nil, job.Job{}, err
	}
	j, err := c.Submit(ctx, text, contentType(text), dry)
	return c, j, err
}

// add sends the folder, if there is one, and puts its digest into the text of a specification. The specification is
// checked first, so that a mistake in it costs no upload.
func (o *codeFlags) add(ctx context.Context, e *env, c *client.Client, text []byte, dry bool) ([]byte, error) {
	if o.dir == "" {
		return text, nil
	}
	if _, err := c.Submit(ctx, text, contentType(text), true); err != nil {
		return nil, err
	}
	code, err := o.upload(ctx, e, c, dry)
	if err != nil || dry { // the server does not have what was not sent
		return text, err
	}
	return withField(text, "code", code), nil
}

// withField adds a field at the end of a document, where it moves no line: errors keep their places.
func withField(text []byte, name, value string) []byte {
	t := bytes.TrimRight(text, " \t\r\n")
	if contentType(text) == "application/json" && bytes.HasSuffix(t, []byte("}")) {
		t = bytes.TrimRight(t[:len(t)-1], " \t\r\n")
		if !bytes.HasSuffix(t, []byte("{")) {
			t = append(bytes.Clone(t), ',')
		}
		return append(bytes.Clone(t), `"`+name+`": "`+value+`"}`...)
	}
	return []byte(strings.TrimSuffix(string(t), "\n...") + "\n" + name + ": \"" + value + "\"\n")
}
