package app_test

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/lineshaft/lineshaft/api"
	"github.com/lineshaft/lineshaft/app"
	"github.com/lineshaft/lineshaft/client"
	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/job"
)

// account makes a user and a client that speaks for it.
func account(t *testing.T, root *client.Client, name string) *client.Client {
	t.Helper()
	if _, err := root.CreateUser(t.Context(), api.NewUser{Name: name, Role: "developer"}, false); err != nil {
		t.Fatal(err)
	}
	made, err := root.CreateToken(t.Context(), api.NewToken{User: name, Role: "developer"}, false)
	if err != nil {
		t.Fatal(err)
	}
	return root.As(made.Secret)
}

// A name is freed and taken by another while a job that names it waits.
func TestAJobGetsASecretOnlyWhileItsOwnerMayUseIt(t *testing.T) {
	s, _ := start(t, config(t))
	root := client.Socket(s.Data())
	ann, eve := account(t, root, "ann"), account(t, root, "eve")
	nodes, err := root.Fleet(t.Context())
	if err != nil || len(nodes) != 1 {
		t.Fatalf("%v, %v", nodes, err)
	}
	if _, err := ann.SetSecret(t.Context(), "db", []byte("of-ann"), false); err != nil {
		t.Fatal(err)
	}
	const spec = `
name: uses-a-secret
command: [/bin/sh, -c, "echo value $DB"]
secrets: [{name: db, env: DB}]
`
	if _, err := eve.Submit(t.Context(), []byte(spec), "application/yaml", false); !errs.Is(err, errs.NotFound) {
		t.Errorf("naming another's secret gave %v", err)
	}
	run := func(change func() error) job.Job {
		t.Helper()
		if _, err := root.Cordon(t.Context(), nodes[0].Name, "wait", false); err != nil {
			t.Fatal(err)
		}
		j, err := ann.Submit(t.Context(), []byte(spec), "application/yaml", false)
		if err != nil {
			t.Fatal(err)
		}
		if err := change(); err != nil {
			t.Fatal(err)
		}
		if _, err := root.Uncordon(t.Context(), nodes[0].Name, false); err != nil {
			t.Fatal(err)
		}
		return settled(t, root, j.ID)
	}
	j := run(func() error { return nil })
	if said := log(t, root, j.ID); j.State != job.Succeeded || !strings.Contains(said, "value of-ann") {
		t.Fatalf("%s: %s: %s", j.State, j.Reason, said)
	}
	j = run(func() error {
		if err := ann.DeleteSecret(t.Context(), "db", false); err != nil {
			return err
		}
		_, err := eve.SetSecret(t.Context(), "db", []byte("of-eve"), false)
		return err
	})
	if j.State != job.Failed || !strings.Contains(j.Reason, `no secret "db"`) {
		t.Errorf("%s: %s", j.State, j.Reason)
	}
}

func TestAFolderWhoseKeyFileIsGoneIsNotGivenNewKeys(t *testing.T) {
	c := config(t)
	s, stop := start(t, c)
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	keys := filepath.Join(s.Data(), "keys.json")
	if err := os.Rename(keys, keys+".elsewhere"); err != nil {
		t.Fatal(err)
	}
	_, err := app.Open(t.Context(), c, app.Options{Log: slog.New(slog.DiscardHandler)})
	if !errs.Is(err, errs.Corrupt) || !strings.Contains(err.Error(), "keys.json is missing") {
		t.Errorf("got %v", err)
	}
	if _, err := os.Stat(keys); !os.IsNotExist(err) {
		t.Errorf("a new key file was made: %v", err)
	}
	if err := os.Rename(keys+".elsewhere", keys); err != nil {
		t.Fatal(err)
	}
	start(t, c)
}
