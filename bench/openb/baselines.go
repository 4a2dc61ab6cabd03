package main

import (
	"cmp"
	"math"
	"math/rand"
	"slices"

	"github.com/lineshaft/lineshaft/bench/internal/openb"
)

const (
	ours      = "lineshaft"
	migrating = "lineshaft+migrate"
)

func known() []string {
	return []string{"ours", ours, migrating, "fgd", "bestfit", "dotprod", "packing", "clustering", "random"}
}

// node is what is left of a machine, for the baselines.
type node struct {
	cpu, memory int64
	free        [openb.MaxGPUs]int64
	gpus        int
	model       uint64
	kinds       map[string]int // pods on it by affinity class, for clustering
	version     int
	frag        float64
}

func (n *node) left() (sum int64) {
	for _, v := range n.free[:n.gpus] {
		sum += v
	}
	return sum
}

func (n *node) runs(p openb.Pod) bool { return p.Models == 0 || p.Models&n.model != 0 }

func (n *node) hasGPUs(p openb.Pod) bool {
	k := p.GPUs
	for _, v := range n.free[:n.gpus] {
		if v >= p.Milli {
			k--
		}
	}
	return k <= 0
}

func (n *node) fits(p openb.Pod) bool {
	return n.cpu >= p.CPU && n.memory >= p.Memory && n.runs(p) && n.hasGPUs(p)
}

// take puts the pod on its GPUs: the given one for a shared pod, the first free ones otherwise.
func (n *node) take(p openb.Pod, gpu int) {
	n.cpu -= p.CPU
	n.memory -= p.Memory
	if p.Shared() {
		n.free[gpu] -= p.Milli
		return
	}
	k := p.GPUs
	for i := range n.free[:n.gpus] {
		if k > 0 && n.free[i] >= p.Milli {
			n.free[i] -= p.Milli
			k--
		}
	}
}

// tightest is the GPU with the least left that is enough.
func (n *node) tightest(p openb.Pod) int {
	best := -1
	for i, v := range n.free[:n.gpus] {
		if v >= p.Milli && (best < 0 || v < n.free[best]) {
			best = i
		}
	}
	return best
}

// typical is a shape of the list and its part, of the most frequent shapes that cover 95 % of the pods.
type typical struct {
	openb.Pod
	part float64
}

func typicalOf(pods []openb.Pod) []typical {
	count := map[openb.Pod]int{}
	for _, p := range pods {
		p.Memory = 0
		count[p]++
	}
	all := make([]typical, 0, len(count))
	for p, n := range count {
		all = append(all, typical{p, float64(n)})
	}
	slices.SortFunc(all, func(a, b typical) int {
		return cmp.Or(cmp.Compare(b.part, a.part), cmp.Compare(a.CPU, b.CPU), cmp.Compare(a.GPUs, b.GPUs), cmp.Compare(a.Milli, b.Milli), cmp.Compare(a.Models, b.Models))
	})
	covered, k := 0.0, 0
	for k < len(all) && covered < 0.95*float64(len(pods)) {
		covered += all[k].part
		k++
	}
	for i := range all[:k] {
		all[i].part /= covered
	}
	return all[:k]
}

// fragmentation is the GPU that a typical pod could not use, expected (FGD, section 4).
func (n *node) fragmentation(mix []typical) (sum float64) {
	left := n.left()
	for i := range mix {
		t := &mix[i]
		if t.GPUs == 0 || !n.runs(t.Pod) || n.cpu < t.CPU || !n.hasGPUs(t.Pod) {
			sum += t.part * float64(left)
			continue
		}
		for _, v := range n.free[:n.gpus] {
			if v < t.Milli {
				sum += t.part * float64(v)
			}
		}
	}
	return sum
}

// scorer says how well a pod suits a node, more is better, and which GPU a shared pod gets.
type scorer func(n *node, p openb.Pod, mix []typical) (score float64, gpu int)

// fgd is fragmentation gradient descent as its authors run it: the score has 100 steps.
func fgd(n *node, p openb.Pod, mix []typical) (float64, int) {
	grade := func(gpu int) float64 {
		after := *n
		after.take(p, gpu)
		return math.Floor(100 / (1 + math.Exp(-(n.frag-after.fragmentation(mix))/1000)))
	}
	if !p.Shared() {
		return grade(-1), -1
	}
	best, at := -1.0, -1
	for i, v := range n.free[:n.gpus] {
		if v < p.Milli || slices.Contains(n.free[:i], v) {
			continue
		}
		if s := grade(i); s > best {
			best, at = s, i
		}
	}
	return best, at
}

const mostCPU, mostGPU = 128_000, 8_000 // of any node, to compare the two

func bestfit(n *node, p openb.Pod, _ []typical) (float64, int) {
	left := 0.5*float64(n.cpu-p.CPU)/mostCPU + 0.5*float64(n.left()-p.Total())/mostGPU
	return math.Floor((1 - left) * 100), n.tightest(p)
}

func dotprod(n *node, p openb.Pod, _ []typical) (float64, int) {
	dot := float64(n.cpu)/mostCPU*float64(p.CPU)/mostCPU + float64(n.left())/mostGPU*float64(p.Total())/mostGPU
	return math.Floor(100 * (1 - dot/2)), n.tightest(p)
}

// packing prefers GPUs that are shared already, then nodes in use, then small nodes.
func packing(n *node, p openb.Pod, _ []typical) (float64, int) {
	gpu := n.tightest(p)
	if p.GPUs == 0 {
		return 0, gpu
	}
	free := 0
	for _, v := range n.free[:n.gpus] {
		if v == 1000 {
			free++
		}
	}
	switch {
	case free == n.gpus:
		return float64(max(33-free, free)), gpu
	case !p.Shared():
		return float64(max(50-p.GPUs, 33)), gpu
	case n.free[gpu] == 1000:
		return 49, gpu
	}
	return float64(max(100-n.free[gpu]*100/1000/10, 50)), gpu
}

// clustering puts pods of one size together.
func clustering(n *node, p openb.Pod, _ []typical) (float64, int) {
	gpu := n.tightest(p)
	if p.GPUs == 0 {
		return 0, gpu
	}
	base := float64(25 * (mostGPU - n.left()) / mostGPU)
	switch {
	case n.kinds[kindOf(p)] > 0 && len(n.kinds) == 1:
		return base + 75, gpu
	case n.kinds[kindOf(p)] > 0:
		return base + 50, gpu
	case len(n.kinds) == 0:
		return base + 25, gpu
	}
	return base, gpu
}

func kindOf(p openb.Pod) string {
	if p.Shared() {
		return "share"
	}
	return string(rune('0' + p.GPUs))
}

// baseline places by a scorer, ties to the first node by name; without a scorer at random.
type baseline struct {
	nodes []node
	score scorer
	mix   []typical
	rng   *rand.Rand
	seen  map[openb.Pod][]judged
}

type judged struct {
	version, gpu int
	score        float64 // negative infinity when it does not fit
}

func newBaseline(t *openb.Trace, policy string, pods []openb.Pod, rng *rand.Rand) *baseline {
	b := &baseline{rng: rng, mix: typicalOf(pods), seen: map[openb.Pod][]judged{}}
	b.score = map[string]scorer{"fgd": fgd, "bestfit": bestfit, "dotprod": dotprod, "packing": packing, "clustering": clustering}[policy]
	for _, m := range t.Machines {
		n := node{cpu: m.CPU, memory: m.Memory, gpus: m.GPUs, model: m.Model, kinds: map[string]int{}}
		for i := range n.gpus {
			n.free[i] = 1000
		}
		n.frag = n.fragmentation(b.mix)
		b.nodes = append(b.nodes, n)
	}
	return b
}

func (b *baseline) place(p openb.Pod) bool {
	list := b.seen[p]
	if list == nil {
		list = make([]judged, len(b.nodes))
		for i := range list {
			list[i].version = -1
		}
		b.seen[p] = list
	}
	best, ties := -1, 0
	for i := range b.nodes {
		n, j := &b.nodes[i], &list[i]
		if j.version != n.version {
			*j = judged{n.version, -1, math.Inf(-1)}
			if n.fits(p) {
				j.score = 0
				if b.score != nil {
					j.score, j.gpu = b.score(n, p, b.mix)
				}
			}
		}
		switch {
		case math.IsInf(j.score, -1):
		case best < 0 || j.score > list[best].score:
			best = i
		case b.score == nil:
			if ties++; b.rng.Intn(ties+1) == 0 {
				best = i
			}
		}
	}
	if best < 0 {
		return false
	}
	b.take(best, p, list[best].gpu)
	return true
}

func (b *baseline) take(i int, p openb.Pod, gpu int) {
	n := &b.nodes[i]
	if b.score == nil && p.Shared() {
		seen := 0
		for g, v := range n.free[:n.gpus] {
			if v >= p.Milli {
				if seen++; b.rng.Intn(seen) == 0 {
					gpu = g
				}
			}
		}
	}
	n.take(p, gpu)
	n.version++
	if p.GPUs > 0 {
		n.kinds[kindOf(p)]++
	}
	if b.score != nil {
		n.frag = n.fragmentation(b.mix)
	}
}
