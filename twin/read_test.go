package twin_test

import (
	"bytes"
	"compress/gzip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/internal/units"
	"github.com/lineshaft/lineshaft/twin"
)

func sample(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func zipped(t testing.TB, text []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := z.Write(text); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestPhillyIsReadPlainAndZippedAlike(t *testing.T) {
	text := sample(t, "philly.csv")
	for _, in := range [][]byte{text, zipped(t, text)} {
		trace, err := twin.ReadPhilly(bytes.NewReader(in), twin.Philly{})
		if err != nil {
			t.Fatal(err)
		}
		if len(trace.Jobs) != 400 || len(trace.Left) != 0 {
			t.Fatalf("%d jobs were read and %v left out, want 400 and none", len(trace.Jobs), trace.Left)
		}
		for i, j := range trace.Jobs[1:] {
			if j.Submit.Before(trace.Jobs[i].Submit) {
				t.Fatalf("job %s comes before the one before it", j.ID)
			}
		}
	}
}

func TestPhillyJobsThatAreLargerThanANodeTakeWholeNodes(t *testing.T) {
	trace, err := twin.ReadPhilly(strings.NewReader("timestamp,duration,num_gpus,gpu_time,cluster\n2017-10-09 07:01:55,66.5,20,1,vc\n"), twin.Philly{})
	if err != nil {
		t.Fatal(err)
	}
	j := trace.Jobs[0]
	if j.Tasks != 3 || j.Each.Accelerators != 8 || j.Queue != "vc" || j.Duration != 66500*time.Millisecond || !j.Submit.Equal(time.Date(2017, 10, 9, 7, 1, 55, 0, time.UTC)) {
		t.Errorf("20 GPUs became %+v", j)
	}
	if len(trace.Treats) != 1 || !strings.Contains(trace.Treats[0], "1 jobs of more than 8") {
		t.Errorf("what was done is told as %q", trace.Treats)
	} else if zh := twin.InChinese(trace.Treats[0]); zh != "1 个超过 8 张加速卡的作业占用整个节点" {
		t.Errorf("in Chinese %q", zh)
	}
}

func TestOpenbIsReadWithSharesAndModels(t *testing.T) {
	trace, err := twin.ReadOpenb(bytes.NewReader(sample(t, "openb_pods.csv")), false)
	if err != nil {
		t.Fatal(err)
	}
	left := 0
	for _, l := range trace.Left {
		left += l.Rows
	}
	if len(trace.Jobs)+left != 300 || len(trace.Jobs) < 290 {
		t.Errorf("%d pods were read and %d left out of 300: %v", len(trace.Jobs), left, trace.Left)
	}
	head := "name,cpu_milli,memory_mib,num_gpu,gpu_milli,gpu_spec,qos,pod_phase,creation_time,deletion_time,scheduled_time\n"
	trace, err = twin.ReadOpenb(strings.NewReader(head+"p,6500,12288,1,460,V100M16|V100M32,LS,Running,100,300,150\np,1000,1,2,1000,,BE,Pending,100,300,\n"), false)
	if err != nil {
		t.Fatal(err)
	}
	a, b := trace.Jobs[0], trace.Jobs[1]
	if a.Each.CPU != 6.5 || a.Each.Memory != 12*units.GiB || a.Each.Share != 460 || len(a.Each.Models) != 2 || a.Duration != 150*time.Second {
		t.Errorf("the shared pod became %+v", a)
	}
	if b.ID != "p#2" || b.Each.Share != 0 || b.Each.Accelerators != 2 || b.Duration != 200*time.Second {
		t.Errorf("the pod that was never scheduled became %+v", b)
	}
	nodes, err := twin.ReadOpenbNodes(bytes.NewReader(sample(t, "openb_nodes.csv")))
	if err != nil || len(nodes) != 102 {
		t.Errorf("%d nodes, %v", len(nodes), err)
	}
}

// Rows that mean nothing are left out with their cause and line; strictly, they end the reading.
func TestRowsThatMeanNothingAreLeftOutAndNamed(t *testing.T) {
	const philly = "timestamp,duration,num_gpus,gpu_time,cluster\n2017-10-09 07:01:55,66.0,1,66.0,a\n"
	const openb = "name,cpu_milli,memory_mib,num_gpu,gpu_milli,gpu_spec,qos,pod_phase,creation_time,deletion_time,scheduled_time\np0,1,1,1,1000,,LS,Running,0,9,0\n"
	const table = "id,submit,duration,tasks,accelerators,cpu,memory,priority\na,0,10,1,1,1,1GiB,0\n"
	for _, c := range []struct{ head, row, cause string }{
		{philly, "yesterday,66.0,1,66.0,a", "timestamp is no date"},
		{philly, ",66.0,1,66.0,a", "timestamp is no date"},
		{philly, "2017-10-09 07:01:55,,1,66.0,a", "no duration"},
		{philly, "2017-10-09 07:01:55,NaN,1,66.0,a", "no duration"},
		{philly, "2017-10-09 07:01:55,inf,1,66.0,a", "duration is no number"},
		{philly, "2017-10-09 07:01:55,-3,1,66.0,a", "duration is negative"},
		{philly, "2017-10-09 07:01:55,0,1,66.0,a", "duration is zero"},
		{philly, "2017-10-09 07:01:55,1e-12,1,66.0,a", "duration is zero"},
		{philly, "2017-10-09 07:01:55,1e300,1,66.0,a", "duration is beyond 3.1536e+08"},
		{philly, "2017-10-09 07:01:55,66,0,66.0,a", "num_gpus is no positive whole number"},
		{philly, "2017-10-09 07:01:55,66,1.5,66.0,a", "num_gpus is no positive whole number"},
		{philly, "2017-10-09 07:01:55,66,1e9,66.0,a", "num_gpus is beyond 65536"},
		{philly, "2017-10-09 07:01:55,66", "no num_gpus"},
		{philly, "2017-10-09 07:01:55,66,1,66,a,more", "more columns than the header"},
		{philly, `2017-10-09 07:01:55,6"6,1,66,a`, "a row that is no CSV"},
		{openb, "p1,-1,1,1,1000,,LS,Running,0,9,0", "cpu_milli is negative"},
		{openb, "p1,1,nine,1,1000,,LS,Running,0,9,0", "memory_mib is no number"},
		{openb, "p1,1,1e15,1,1000,,LS,Running,0,9,0", "memory_mib is beyond 6.7108864e+07"},
		{openb, "p1,1,1,99999,1000,,LS,Running,0,9,0", "num_gpu is beyond 1024"},
		{openb, "p1,1,1,1,1001,,LS,Running,0,9,0", "gpu_milli is beyond 1000"},
		{openb, ",1,1,1,1000,,LS,Running,0,9,0", "no name"},
		{openb, "p1,1,1,1,1000,,LS,Running,0,,0", "no deletion_time"},
		{openb, "p1,1,1,1,1000,,LS,Running,5,5,5", "deletion_time is not after its start"},
		{openb, "p1,1,1,1,1000,,LS,Running,5,9,4", "scheduled_time is before creation_time"},
		{openb, "p1,1,1,1,1000,,LS,Running,9999999999,9999999999,", "creation_time is beyond 4e+09"},
		{openb, "p1,1,1,1,1000,,LS,Running,0,3999999999,0", "it runs for more than ten years"},
		{table, "b,-1,10,1,1,1,1GiB,0", "submit is no time"},
		{table, "b,1e12,10,1,1,1,1GiB,0", "submit is no time"},
		{table, "b,0,10,0,1,1,1GiB,0", "tasks is zero"},
		{table, "b,0,10,1.5,1,1,1GiB,0", "tasks is no whole number"},
		{table, "b,0,10,1,-1,1,1GiB,0", "accelerators is negative"},
		{table, "b,0,10,1,1,1e7,1GiB,0", "cpu is beyond 1e+06"},
		{table, "b,0,10,1,1,1,much,0", "memory is no size"},
		{table, "b,0,10,1,1,1,9000TiB,0", "memory is no size"},
		{table, "a,0,10,1,1,1,1GiB,0", "an id that was there before"},
	} {
		read := func(strict bool) (twin.Trace, error) {
			in := strings.NewReader(c.head + c.row + "\n" + c.row + "\n")
			switch c.head {
			case philly:
				return twin.ReadPhilly(in, twin.Philly{Strict: strict})
			case openb:
				return twin.ReadOpenb(in, strict)
			}
			return twin.ReadCSV(in, nil, strict)
		}
		trace, err := read(false)
		if err != nil || len(trace.Jobs) != 1 || len(trace.Left) != 1 || trace.Left[0] != (twin.LeftOut{Cause: c.cause, Rows: 2, Line: 3}) {
			t.Errorf("%s: read as %d jobs, left out %v, %v; want 2 rows from line 3: %s", c.row, len(trace.Jobs), trace.Left, err, c.cause)
		}
		if twin.InChinese(c.cause) == c.cause {
			t.Errorf("%q has no Chinese", c.cause)
		}
		if _, err := read(true); !errs.Is(err, errs.Invalid) || !strings.Contains(err.Error(), "line 3 of the trace: "+c.cause) {
			t.Errorf("%s: strictly %v, want line 3 and %q", c.row, err, c.cause)
		}
	}
}

func TestFilesThatAreNoTraceAreRefused(t *testing.T) {
	whole := zipped(t, sample(t, "philly.csv"))
	const head = "timestamp,duration,num_gpus,gpu_time,cluster\n"
	for _, c := range []struct {
		in   string
		kind errs.Kind
		want string
	}{
		{"", errs.Invalid, "the trace is empty"},
		{head, errs.Invalid, "no job that can be read: it has no rows"},
		{head + "x,1,1,1,a\nx,1,1,1,a\n", errs.Invalid, "2 rows have timestamp is no date, the first in line 2"},
		{"when,duration,num_gpus,cluster\n", errs.Invalid, `no column "timestamp"; it has when, duration, num_gpus, cluster`},
		{"timestamp,duration,duration,num_gpus,cluster\n", errs.Invalid, `two columns "duration"`},
		{head + "2017-10-09 07:01:55,66,1,66,a\n2017-10-09 07:01:55,66,1,66,\"a\n2017-10-09 07:01:55,66,1,66,a\n", errs.Invalid, "line 3 of the trace: a quote is opened and not closed"},
		{string(whole[:len(whole)/2]), errs.Corrupt, "unexpected EOF"},
		{string(whole[:5]), errs.Corrupt, "begins like a gzip file and is none"},
		{"\x1f\x8bnonsense that is long enough", errs.Corrupt, "begins like a gzip file and is none"},
		{string(whole[:len(whole)-6]) + "xxxxxx", errs.Corrupt, "checksum"},
	} {
		_, err := twin.ReadPhilly(strings.NewReader(c.in), twin.Philly{})
		if errs.KindOf(err) != c.kind || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%.40q: %v (%v), want %q (%v)", c.in, err, errs.KindOf(err), c.want, c.kind)
		}
	}
	if _, err := twin.ReadOpenbNodes(strings.NewReader("sn,cpu_milli,memory_mib,gpu,model\nn,-1,1,1,T4\n")); err == nil || !strings.Contains(err.Error(), "line 2 of the trace: cpu_milli is negative") {
		t.Errorf("a node of negative cores: %v", err)
	}
}

func TestColumnsAreMapped(t *testing.T) {
	c, err := twin.ParseColumns("submit=Queued, start=From,end=to,accelerators=gpus")
	if err != nil {
		t.Fatal(err)
	}
	trace, err := twin.ReadCSV(strings.NewReader("queued,from,to,gpus\n2024-01-01T00:00:00+02:00,100,160.5,3\n"), c, true)
	if err != nil {
		t.Fatal(err)
	}
	if j := trace.Jobs[0]; j.ID != "job-1" || j.Duration != 60500*time.Millisecond || j.Each.Accelerators != 3 || j.Submit.Hour() != 22 {
		t.Errorf("read as %+v", j)
	}
	for text, want := range map[string]string{
		"submit":              `"submit" names no column`,
		"gpus=accelerators":   `a job has no "gpus"`,
		"submit=a,submit=b":   `"submit" is mapped twice`,
		"submit=a,,duration=": "names no column",
	} {
		if _, err := twin.ParseColumns(text); !errs.Is(err, errs.Invalid) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
	if _, err := twin.ReadCSV(strings.NewReader("submit\n0\n"), nil, false); err == nil || !strings.Contains(err.Error(), `no column "duration", and not both "start" and "end"`) {
		t.Errorf("without durations: %v", err)
	}
}

func TestNodesAreWrittenShortly(t *testing.T) {
	nodes, err := twin.ParseNodes("2x8:H100+1x4")
	if err != nil || len(nodes) != 3 || len(nodes[0].Accelerators) != 8 || nodes[0].Accelerators[0].Model != "H100" || len(nodes[2].Accelerators) != 4 || nodes[2].Name != "node-0002" {
		t.Errorf("%v, %v", nodes, err)
	}
	for _, bad := range []string{"", "8", "0x8", "-1x8", "2x-1", "2x8x8", "1x99999", "9999999x8", "2x8+"} {
		if _, err := twin.ParseNodes(bad); !errs.Is(err, errs.Invalid) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}
