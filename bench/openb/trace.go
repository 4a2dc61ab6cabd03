package main

import (
	"compress/gzip"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"math/rand"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// pod is what a pod of the trace asks for. It is comparable: pods of one shape are equal.
type pod struct {
	cpu, memory int64 // thousandths of a core, MiB
	gpus        int
	milli       int64  // of each GPU
	models      uint64 // bits of the models it may use, 0 for any
}

func (p pod) total() int64 { return p.milli * int64(p.gpus) }
func (p pod) shared() bool { return p.gpus == 1 && p.milli < 1000 }

// machine is a node as the trace lists it.
type machine struct {
	name        string
	cpu, memory int64
	gpus        int
	model       uint64
}

type trace struct {
	machines []machine
	names    []string // of models, by bit
	capacity int64    // GPU milli
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

func readNodes(dir string) (*trace, error) {
	list, err := rows(dir, "openb_node_list_gpu_node.csv")
	if err != nil {
		return nil, err
	}
	t := &trace{}
	for _, r := range list {
		m := machine{name: r("sn"), cpu: whole(r("cpu_milli")), memory: whole(r("memory_mib")), gpus: int(whole(r("gpu"))), model: t.bit(r("model"))}
		if m.gpus < 1 || m.gpus > maxGPUs || m.cpu <= 0 {
			return nil, fmt.Errorf("node %q has %d GPUs and %d thousandths of a core: expected 1 to %d and some", m.name, m.gpus, m.cpu, maxGPUs)
		}
		t.capacity += int64(m.gpus) * 1000
		t.machines = append(t.machines, m)
	}
	slices.SortFunc(t.machines, func(a, b machine) int { return strings.Compare(a.name, b.name) })
	return t, nil
}

// bit is the model's bit, a new one for a new model.
func (t *trace) bit(model string) uint64 {
	i := slices.Index(t.names, model)
	if i < 0 {
		i, t.names = len(t.names), append(t.names, model)
	}
	return 1 << i
}

func (t *trace) readPods(dir, list string) ([]pod, error) {
	lines, err := rows(dir, "openb_pod_list_"+list+".csv")
	if err != nil {
		return nil, err
	}
	slices.SortStableFunc(lines, func(a, b func(string) string) int { return strings.Compare(a("name"), b("name")) })
	pods := make([]pod, 0, len(lines))
	for _, r := range lines {
		p := pod{cpu: whole(r("cpu_milli")), memory: whole(r("memory_mib")), gpus: int(whole(r("num_gpu"))), milli: min(whole(r("gpu_milli")), 1000)}
		if p.gpus == 0 {
			p.milli = 0
		} else if spec := r("gpu_spec"); spec != "" {
			for m := range strings.SplitSeq(spec, "|") {
				p.models |= t.bit(m)
			}
		}
		if p.cpu < 0 || p.gpus < 0 || p.milli < 0 {
			return nil, fmt.Errorf("list %s: pod %q asks for a negative amount", list, r("name"))
		}
		pods = append(pods, p)
	}
	if slices.IndexFunc(pods, func(p pod) bool { return p.total() > 0 }) < 0 {
		return nil, fmt.Errorf("list %s: no pod asks for a GPU", list)
	}
	return pods, nil
}

// overload is how much the arrivals ask for in the end, relative to the GPUs.
const overload = 1.3

// arrivals are the pods in the seed's order, then uniform resamples of them until they ask for overload times the GPUs;
// of a list that asks for more from the start, as many go as it takes.
func (t *trace) arrivals(pods []pod, rng *rand.Rand) []pod {
	q := slices.Clone(pods)
	rng.Shuffle(len(q), func(i, j int) { q[i], q[j] = q[j], q[i] })
	var sum int64
	for _, p := range q {
		sum += p.total()
	}
	limit := int64(overload * float64(t.capacity))
	for sum > limit {
		i := rng.Intn(len(q))
		sum -= q[i].total()
		q = slices.Delete(q, i, i+1)
	}
	for {
		p := pods[rng.Intn(len(pods))]
		if sum+p.milli > limit {
			return q
		}
		sum += p.total()
		q = append(q, p)
	}
}

// placer is a policy at work on its own cluster.
type placer interface {
	place(p pod) bool
}

func (t *trace) simulate(o options, policy string, pods []pod, seed int64) result {
	rng := rand.New(rand.NewSource(seed))
	queue := t.arrivals(pods, rng)
	var p placer
	switch policy {
	case ours, migrating:
		p = t.newOurs(o, pods, policy == migrating)
	default:
		p = t.newBaseline(policy, pods, rng)
	}
	r := result{decisions: len(queue)}
	var arrived, used int64
	var sum float64
	marks := 0
	start := time.Now()
	for _, pod := range queue {
		arrived += pod.total()
		if p.place(pod) {
			used += pod.total()
			r.placed++
		}
		// As FGD's analysis does: the mean over all arrivals that round to 100 %.
		if math.Round(float64(arrived)/float64(t.capacity)*100) == 100 {
			sum += float64(used) / float64(t.capacity) * 100
			marks++
		}
	}
	r.took = time.Since(start)
	r.at100 = sum / float64(max(marks, 1))
	if m, ok := p.(*lineshaft); ok {
		r.migrations = m.migrations
	}
	return r
}
