package twin_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"testing"
	"time"

	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/twin"
)

// sound is what every reader promises: an error with its kind, or jobs that make sense, in order, with names of their own.
func sound(t *testing.T, trace twin.Trace, err error) {
	t.Helper()
	if err != nil {
		if k := errs.KindOf(err); k == errs.Other {
			t.Fatalf("an error without a kind: %v", err)
		}
		return
	}
	if len(trace.Jobs) == 0 {
		t.Fatal("neither a job nor an error")
	}
	seen := map[string]bool{}
	var before time.Time
	for _, j := range trace.Jobs {
		switch {
		case seen[j.ID] || j.ID == "":
			t.Fatalf("the name %q is not the job's own", j.ID)
		case j.Duration <= 0 || j.Tasks < 1 || j.Each.Accelerators < 0 || !(j.Each.CPU >= 0) || j.Each.Memory < 0 || j.Submit.IsZero():
			t.Fatalf("a job that makes no sense was read: %+v", j)
		case j.Submit.Before(before):
			t.Fatalf("job %s comes before the one before it", j.ID)
		}
		seen[j.ID], before = true, j.Submit
	}
	if len(trace.Jobs) > 20 {
		return
	}
	o := options(t, "pass")
	o.Nodes = twin.Nodes(2, 8)
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	report, err := twin.Replay(ctx, trace, o)
	if err != nil {
		if k := errs.KindOf(err); k == errs.Other {
			t.Fatalf("an error without a kind: %v", err)
		}
		return
	}
	if _, err := json.Marshal(report); err != nil {
		t.Fatalf("the report has a figure that is none: %v", err)
	}
	if err := report.WriteHTML(io.Discard); err != nil {
		t.Fatalf("the report has no page: %v", err)
	}
}

// start is the first lines of a sample: a fuzzer does more with little.
func start(f *testing.F, name string, lines int) []byte {
	text := sample(f, name)
	return bytes.Join(bytes.SplitAfter(text, []byte("\n"))[:lines], nil)
}

func FuzzPhilly(f *testing.F) {
	head := start(f, "philly.csv", 8)
	f.Add(head)
	f.Add(zipped(f, head))
	f.Add([]byte("timestamp,duration,num_gpus,gpu_time,cluster\n2017-10-09 07:01:55,nan,-1,1e999,\"\n"))
	f.Fuzz(func(t *testing.T, in []byte) {
		trace, err := twin.ReadPhilly(bytes.NewReader(in), twin.Philly{})
		sound(t, trace, err)
	})
}

func FuzzOpenb(f *testing.F) {
	head := start(f, "openb_pods.csv", 8)
	f.Add(head)
	f.Add(zipped(f, head)[:200])
	f.Add([]byte("name,cpu_milli,memory_mib,num_gpu,gpu_milli,gpu_spec,qos,pod_phase,creation_time,deletion_time,scheduled_time\np,,,,,,,,0,9,\np,,,,,,,,0,9,\np#2,,,,,,,,0,9,\n"))
	f.Fuzz(func(t *testing.T, in []byte) {
		trace, err := twin.ReadOpenb(bytes.NewReader(in), false)
		sound(t, trace, err)
	})
}

func FuzzOpenbNodes(f *testing.F) {
	f.Add(start(f, "openb_nodes.csv", 5))
	f.Add([]byte("sn,cpu_milli,memory_mib,gpu,model\na,1e9,1,1e3,\na,1,1,1,\n"))
	f.Fuzz(func(t *testing.T, in []byte) {
		nodes, err := twin.ReadOpenbNodes(bytes.NewReader(in))
		if err != nil {
			if k := errs.KindOf(err); k == errs.Other {
				t.Fatalf("an error without a kind: %v", err)
			}
			return
		}
		seen := map[string]bool{}
		for _, n := range nodes {
			if err := n.Validate(); err != nil || seen[n.Name] {
				t.Fatalf("%v; the name is there before: %v", err, seen[n.Name])
			}
			seen[n.Name] = true
		}
	})
}

func FuzzCSV(f *testing.F) {
	f.Add([]byte("id,submit,duration,tasks,accelerators,cpu,memory,model,queue,priority\na,0,10,1,1,1,1GiB,A|B,q,1\nb,2024-01-01,x\n"), "")
	f.Add([]byte("when,from,to\n1,1,2\n\"1\",2,\"3\n"), "submit=when,start=from,end=to")
	f.Fuzz(func(t *testing.T, in []byte, columns string) {
		c, err := twin.ParseColumns(columns)
		if err != nil {
			return
		}
		trace, err := twin.ReadCSV(bytes.NewReader(in), c, false)
		sound(t, trace, err)
	})
}
