package app_test

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/lineshaft/lineshaft/app"
	"github.com/lineshaft/lineshaft/fleet"
	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/internal/units"
	"github.com/lineshaft/lineshaft/job"
)

func TestFlagsOverrideTheEnvironmentOverridesTheFile(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a: b #1") // a path that YAML would read as something else
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "config.yaml"), "listen: 127.0.0.1:1\nserve-listen: 127.0.0.1:2\nserve-grpc-listen: 127.0.0.1:3\nupload-limit: 2GiB\nhighs: bin/highs\n")
	c, err := app.Load("", []string{"LINESHAFT_SERVE_LISTEN=127.0.0.1:22", "LINESHAFT_SERVE_GRPC_LISTEN=127.0.0.1:33", "LINESHAFT_BODY_LIMIT=1MiB"},
		map[string]string{"data": dir, "serve-grpc-listen": "127.0.0.1:333"})
	if err != nil {
		t.Fatal(err)
	}
	want := app.Defaults()
	want.Data, want.Listen, want.ServeListen, want.ServeGRPCListen = dir, "127.0.0.1:1", "127.0.0.1:22", "127.0.0.1:333"
	want.UploadLimit, want.BodyLimit = 2*units.GiB, units.MiB
	want.HiGHS = filepath.Join(dir, "bin/highs") // beside the file
	if !reflect.DeepEqual(c, want) {
		t.Errorf("got  %+v\nwant %+v", c, want)
	}
}

func TestThePrintedConfigurationReadsBackAsTheSame(t *testing.T) {
	want := app.Defaults()
	want.BodyLimit, want.TaskRead = 1234567, []string{"/opt/python"}
	night, err := job.ParseWindow("Mon-Fri 22:00-06:00 Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	want.Site = app.Site{
		Site: fleet.Site{
			Racks: []fleet.Rack{{Name: "r1", Uplink: 10e9}}, Caps: []fleet.PowerCap{{Name: "hall", Watts: 2000.5}},
			Nodes: []fleet.NodeFacts{{Name: "n", Rack: "r1", Feed: "hall", IdleWatts: 60, Storage: units.TiB, Accelerators: []fleet.DeviceFacts{{IDs: []string{"0"}, Watts: 700}}}},
		},
		Windows: []job.Window{night}, HalfLife: job.Duration(36 * time.Hour),
	}
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

func TestTheExampleOfASiteIsInOrder(t *testing.T) {
	c, err := app.Load(filepath.Join("..", "examples", "site", "config.yaml"), nil, nil)
	if err != nil || len(c.Site.Nodes) != 2 || len(c.Site.Caps) != 3 || len(c.Site.Windows) != 2 {
		t.Errorf("%+v, %v", c.Site, err)
	}
}

func TestAWrongConfigurationSaysWhatAndWhere(t *testing.T) {
	file := filepath.Join(t.TempDir(), "c.yaml")
	write(t, file, "listen: 127.0.0.1:1\nlisen: 127.0.0.1:1\n")
	site := func(text string) string {
		file := filepath.Join(t.TempDir(), "s.yaml")
		write(t, file, "site:\n  "+text+"\n")
		return file
	}
	for _, c := range []struct {
		file    string
		environ []string
		flags   map[string]string
		want    string
	}{
		{file: site("caps: [{name: a, watts: lots}]"), want: `s.yaml: site.caps[0].watts: "lots" is not a power`},
		{file: site("caps: [{name: a, watt: 9}]"), want: `unknown field "watt"`},
		{file: site("caps: [{name: a, watts: 9, parent: b}]"), want: `s.yaml: site.caps[0] (a): parent: there is no cap "b"`},
		{file: site("windows: [Mon 22:00-26:00]"), want: `s.yaml: site.windows[0]: window "Mon 22:00-26:00"`},
		{file: site("half-life: -1h"), want: `s.yaml: site.half-life`},
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
