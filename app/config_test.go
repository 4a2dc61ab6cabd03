package app_test

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/lineshaft/lineshaft/app"
	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/internal/units"
)

func TestFlagsOverrideTheEnvironmentOverridesTheFile(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a: b #1") // a path that YAML would read as something else
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "config.yaml"), "listen: 127.0.0.1:1\nserve-listen: 127.0.0.1:2\nserve-grpc-listen: 127.0.0.1:3\nupload-limit: 2GiB\n")
	c, err := app.Load("", []string{"LINESHAFT_SERVE_LISTEN=127.0.0.1:22", "LINESHAFT_SERVE_GRPC_LISTEN=127.0.0.1:33", "LINESHAFT_BODY_LIMIT=1MiB"},
		map[string]string{"data": dir, "serve-grpc-listen": "127.0.0.1:333"})
	if err != nil {
		t.Fatal(err)
	}
	want := app.Defaults()
	want.Data, want.Listen, want.ServeListen, want.ServeGRPCListen = dir, "127.0.0.1:1", "127.0.0.1:22", "127.0.0.1:333"
	want.UploadLimit, want.BodyLimit = 2*units.GiB, units.MiB
	if !reflect.DeepEqual(c, want) {
		t.Errorf("got  %+v\nwant %+v", c, want)
	}
}

func TestThePrintedConfigurationReadsBackAsTheSame(t *testing.T) {
	want := app.Defaults()
	want.BodyLimit, want.TaskRead = 1234567, []string{"/opt/python"}
	text, err := want.YAML()
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "c.yaml")
	write(t, file, string(text))
	if got, err := app.Load(file, nil, nil); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v from\n%s", got, err, text)
	}
}

func TestAWrongConfigurationSaysWhatAndWhere(t *testing.T) {
	file := filepath.Join(t.TempDir(), "c.yaml")
	write(t, file, "listen: 127.0.0.1:1\nlisen: 127.0.0.1:1\n")
	for _, c := range []struct {
		file    string
		environ []string
		flags   map[string]string
		want    string
	}{
		{file: file, want: "lisen"},
		{file: file + ".not", want: "cannot read the configuration"},
		{environ: []string{"LINESHAFT_BODY_LIMIT=huge"}, want: "LINESHAFT_BODY_LIMIT"},
		{flags: map[string]string{"listen": "8080"}, want: "is not HOST:PORT"},
		{flags: map[string]string{"listen": "0.0.0.0:8080"}, want: "not a loopback address"},
	} {
		_, err := app.Load(c.file, c.environ, c.flags)
		if !errs.Is(err, errs.Invalid) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: got %v", c, err)
		}
	}
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
