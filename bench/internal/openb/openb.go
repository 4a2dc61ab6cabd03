// Package openb reads Alibaba's GPU cluster trace "openb" for the benchmarks, and makes the arrivals of FGD's protocol.
package openb

import (
	"compress/gzip"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/lineshaft/lineshaft/fleet"
	"github.com/lineshaft/lineshaft/internal/units"
	"github.com/lineshaft/lineshaft/sched"
)

// Pod is what a pod of the trace asks for. It is comparable: pods of one shape are equal.
type Pod struct {
	CPU, Memory int64 // thousandths of a core, MiB
	GPUs        int
	Milli       int64  // of each GPU
	Models      uint64 // bits of the models it may use, 0 for any
}

// Total is the GPU milli of the pod.
func (p Pod) Total() int64 { return p.Milli * int64(p.GPUs) }

// Shared tells whether it takes a part of one GPU.
func (p Pod) Shared() bool { return p.GPUs == 1 && p.Milli < 1000 }

// Machine is a node as the trace lists it.
type Machine struct {
	Name        string
	CPU, Memory int64
	GPUs        int
	Model       uint64 // bit of its GPUs' model
}

// Trace is the cluster.
type Trace struct {
	Machines []Machine
	Capacity int64    // GPU milli
	names    []string // of models, by bit
}

// rows reads a CSV with a header; each row is a lookup by column, empty where the file has no such column.
func rows(dir, name string) ([]func(column string) string, error) {
	path := filepath.Join(dir, name)
	f, err := os.Open(path)
	zipped := errors.Is(err, fs.ErrNotExist)
	if zipped {
		f, err = os.Open(path + ".gz")
	}
	if err != nil {
		return nil, fmt.Errorf("%w: give the folder of Alibaba's trace openb (github.com/alibaba/clusterdata, cluster-trace-gpu-v2023) with --data", err)
	}
	defer f.Close()
	var r io.Reader = f
	if zipped {
		if r, err = gzip.NewReader(f); err != nil {
			return nil, fmt.Errorf("%s: %w", f.Name(), err)
		}
	}
	all, err := csv.NewReader(r).ReadAll()
	if err != nil || len(all) < 2 {
		return nil, fmt.Errorf("%s: no rows (%w)", f.Name(), err)
	}
	out := make([]func(string) string, 0, len(all)-1)
	for _, line := range all[1:] {
		out = append(out, func(column string) string {
			if i := slices.Index(all[0], column); i >= 0 && i < len(line) {
				return line[i]
			}
			return ""
		})
	}
	return out, nil
}

func whole(s string) int64 {
	v, err := strconv.ParseFloat(s, 64)
	if err != nil {
		return 0
	}
	return int64(v)
}

// Read reads the nodes of the trace.
func Read(dir string) (*Trace, error) {
	list, err := rows(dir, "openb_node_list_gpu_node.csv")
	if err != nil {
		return nil, err
	}
	t := &Trace{}
	for _, r := range list {
		m := Machine{Name: r("sn"), CPU: whole(r("cpu_milli")), Memory: whole(r("memory_mib")), GPUs: int(whole(r("gpu"))), Model: t.bit(r("model"))}
		if m.GPUs < 1 || m.GPUs > MaxGPUs || m.CPU <= 0 {
			return nil, fmt.Errorf("node %q has %d GPUs and %d thousandths of a core: expected 1 to %d and some", m.Name, m.GPUs, m.CPU, MaxGPUs)
		}
		t.Capacity += int64(m.GPUs) * 1000
		t.Machines = append(t.Machines, m)
	}
	slices.SortFunc(t.Machines, func(a, b Machine) int { return strings.Compare(a.Name, b.Name) })
	return t, nil
}

// bit is the model's bit, a new one for a new model.
func (t *Trace) bit(model string) uint64 {
	i := slices.Index(t.names, model)
	if i < 0 {
		i, t.names = len(t.names), append(t.names, model)
	}
	return 1 << i
}

// Pods reads a list of pods, by name.
func (t *Trace) Pods(dir, list string) ([]Pod, error) {
	lines, err := rows(dir, "openb_pod_list_"+list+".csv")
	if err != nil {
		return nil, err
	}
	slices.SortStableFunc(lines, func(a, b func(string) string) int { return strings.Compare(a("name"), b("name")) })
	pods := make([]Pod, 0, len(lines))
	for _, r := range lines {
		p := Pod{CPU: whole(r("cpu_milli")), Memory: whole(r("memory_mib")), GPUs: int(whole(r("num_gpu"))), Milli: min(whole(r("gpu_milli")), 1000)}
		if p.GPUs == 0 {
			p.Milli = 0
		} else if spec := r("gpu_spec"); spec != "" {
			for m := range strings.SplitSeq(spec, "|") {
				p.Models |= t.bit(m)
			}
		}
		if p.CPU < 0 || p.GPUs < 0 || p.Milli < 0 {
			return nil, fmt.Errorf("list %s: pod %q asks for a negative amount", list, r("name"))
		}
		pods = append(pods, p)
	}
	if slices.IndexFunc(pods, func(p Pod) bool { return p.Total() > 0 }) < 0 {
		return nil, fmt.Errorf("list %s: no pod asks for a GPU", list)
	}
	return pods, nil
}

// MaxGPUs is the most that a node may have.
const MaxGPUs = 8

// overload is how much the arrivals ask for in the end, relative to the GPUs.
const overload = 1.3

// Arrivals are the pods in the seed's order, then uniform resamples of them until they ask for overload times the GPUs;
// of a list that asks for more from the start, as many go as it takes.
func (t *Trace) Arrivals(pods []Pod, rng *rand.Rand) []Pod {
	q := slices.Clone(pods)
	rng.Shuffle(len(q), func(i, j int) { q[i], q[j] = q[j], q[i] })
	var sum int64
	for _, p := range q {
		sum += p.Total()
	}
	limit := int64(overload * float64(t.Capacity))
	for sum > limit {
		i := rng.Intn(len(q))
		sum -= q[i].Total()
		q = slices.Delete(q, i, i+1)
	}
	for {
		p := pods[rng.Intn(len(pods))]
		if sum+p.Milli > limit {
			return q
		}
		sum += p.Total()
		q = append(q, p)
	}
}

// Nodes are the machines as the scheduler knows them.
func (t *Trace) Nodes() []fleet.Node {
	nodes := make([]fleet.Node, 0, len(t.Machines))
	for _, m := range t.Machines {
		n := fleet.Node{Name: m.Name, CPU: float64(m.CPU) / 1000, Memory: units.Bytes(m.Memory) * units.MiB}
		for i := range m.GPUs {
			n.Accelerators = append(n.Accelerators, fleet.Accelerator{ID: strconv.Itoa(i), Model: t.models(m.Model)[0]})
		}
		nodes = append(nodes, n)
	}
	return nodes
}

func (t *Trace) models(bits uint64) (out []string) {
	for i, name := range t.names {
		if bits&(1<<i) != 0 {
			out = append(out, name)
		}
	}
	return out
}

// Ask is what the pod asks for, as the scheduler knows it.
func (t *Trace) Ask(p Pod) sched.Ask {
	a := sched.Ask{CPU: float64(p.CPU) / 1000, Memory: units.Bytes(p.Memory) * units.MiB, Accelerators: p.GPUs, Models: t.models(p.Models)}
	if p.Shared() {
		a.Share = int(p.Milli)
	}
	return a
}

// Mix is the list as the scheduler's expectation.
func (t *Trace) Mix(pods []Pod) sched.Mix {
	asks := make([]sched.Ask, 0, len(pods))
	for _, p := range pods {
		asks = append(asks, t.Ask(p))
	}
	return sched.MixOf(asks)
}
