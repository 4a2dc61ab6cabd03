package cli

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"
)

func newRoot(t *testing.T) *cobra.Command {
	t.Helper()
	e := &env{in: strings.NewReader(""), out: &bytes.Buffer{}, err: &bytes.Buffer{}, now: time.Now}
	return rootCommand(e)
}

// named finds the commands that sources and documents tell people to type.
func named(t *testing.T) map[string]string {
	t.Helper()
	quoted := regexp.MustCompile("`lineshaft ([a-z][^`]*)`")
	all := map[string]string{}
	err := filepath.WalkDir(filepath.Join("..", ".."), func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if name := d.Name(); name == "node_modules" || name == "dist" || name == ".git" || name == "bin" {
				return fs.SkipDir
			}
			return nil
		}
		switch filepath.Ext(path) {
		case ".go", ".md", ".ts", ".tsx", ".yaml":
		default:
			return nil
		}
		if strings.HasSuffix(path, "_test.go") {
			return nil // they mistype on purpose
		}
		text, err := os.ReadFile(path)
		for _, m := range quoted.FindAllStringSubmatch(string(text), -1) {
			all[m[1]] = path
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestEveryCommandThatPeopleAreToldToTypeIsThere(t *testing.T) {
	all := named(t)
	if len(all) < 30 {
		t.Fatalf("only %d were found: the test would prove nothing", len(all))
	}
	for line, file := range all {
		line, _, _ = strings.Cut(line, " -- ")
		words := strings.Fields(strings.NewReplacer(`"`, "", "+", "").Replace(line))
		root := newRoot(t)
		cmd, rest, err := root.Find(words)
		if err != nil || cmd == root && words[0] != "COMMAND" {
			t.Errorf("%s: no command `lineshaft %s`", file, line)
			continue
		}
		for _, w := range rest {
			long, isLong := strings.CutPrefix(w, "--")
			long, _, _ = strings.Cut(long, "=")
			short, isShort := strings.CutPrefix(w, "-")
			switch {
			case isLong && long != "help" && cmd.Flag(long) == nil:
				t.Errorf("%s: `lineshaft %s`: no flag --%s", file, line, long)
			case isShort && !isLong && len(short) == 1 && cmd.Flags().ShorthandLookup(short) == nil && root.PersistentFlags().ShorthandLookup(short) == nil:
				t.Errorf("%s: `lineshaft %s`: no flag -%s", file, line, short)
			}
		}
	}
}

// walk visits every command.
func walk(cmd *cobra.Command, visit func(*cobra.Command)) {
	visit(cmd)
	for _, c := range cmd.Commands() {
		walk(c, visit)
	}
}

func TestEveryCommandSaysWhatItIsForAndWhatItTakes(t *testing.T) {
	walk(newRoot(t), func(c *cobra.Command) {
		if c.Short == "" || strings.HasSuffix(c.Short, ".") {
			t.Errorf("%s: %q is no line about it", c.CommandPath(), c.Short)
		}
		if c.Args == nil && c.Name() != "help" {
			t.Errorf("%s does not check its arguments", c.CommandPath())
		}
		if c.Runnable() && c.RunE == nil && c.Name() != "help" {
			t.Errorf("%s has no error to give", c.CommandPath())
		}
	})
}

func TestWhatChangesThingsCanBeTriedFirst(t *testing.T) {
	reading := map[string]bool{
		"list": true, "show": true, "print": true, "verify": true, "export": true, "convert": true, "link": true, "up": true, "serve": true, "exec": true, "logs": true, "log": true,
		"why": true, "queue": true, "metrics": true, "predict": true, "status": true, "fleet": true, "upstreams": true, "actions": true, "doctor": true, "completion": true, "version": true, "help": true, "solve": true, "replay": true, "learn": true, "judge": true,
	}
	walk(newRoot(t), func(c *cobra.Command) {
		if c.HasSubCommands() || reading[c.Name()] {
			return
		}
		if c.Flag("dry-run") == nil {
			t.Errorf("%s changes things and has no --dry-run", c.CommandPath())
		}
	})
}

func TestNoSecretIsAFlagOrAnArgument(t *testing.T) {
	walk(newRoot(t), func(c *cobra.Command) {
		for _, bad := range []string{"password", "token", "value"} {
			if c.Flag(bad) != nil {
				t.Errorf("%s takes --%s, which everybody on the machine can read", c.CommandPath(), bad)
			}
		}
		if strings.Contains(c.Use, "VALUE") || strings.Contains(c.Use, "PASSWORD") {
			t.Errorf("%s takes a secret as an argument", c.CommandPath())
		}
	})
}
