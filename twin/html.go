package twin

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"math"
	"strconv"
	"strings"

	"github.com/lineshaft/lineshaft/internal/errs"
)

// This file writes the report as one page that needs nothing else: styles, charts as inline SVG, English and Chinese, light
// and dark. All that comes from the trace goes through html/template; the charts' paths are made of numbers alone.

//go:embed report.html.tmpl
var pageText string

// both is a text in English and Chinese.
type both struct{ En, Zh string }

// tile is a figure that is seen first; fact a row of the table below.
type tile struct {
	Name  both
	Value string
	Note  both
}

type fact struct {
	Name  both
	Value both
}

// page is what the template is given.
type page struct {
	Report Report
	Title  string
	Sub    both
	Tiles  []tile
	Facts  []fact
	Unit   both
	Alloc  chart
	Wait   chart
	CDF    chart
	Queues []queueRow
}

type queueRow struct {
	QueueReport
	Width                             string // of its bar, in %
	Count, Part, Held, Mean, P99, W99 string
}

// WriteHTML writes the page.
func (r Report) WriteHTML(w io.Writer) error {
	const op = "twin.WriteHTML"
	t, err := template.New("report").Parse(pageText)
	if err != nil {
		return errs.E(op, errs.Other, err)
	}
	return errs.E(op, errs.Other, t.Execute(w, r.page()))
}

func (r Report) page() page {
	p := page{Report: r, Title: r.Trace, Unit: both{r.Unit, map[string]string{"cores": "核"}[r.Unit]}}
	if p.Unit.Zh == "" {
		p.Unit.Zh = "加速卡"
	}
	p.Sub = both{
		fmt.Sprintf("%s jobs on %d nodes with %s %s; policy %s (%s), durations %s", count(float64(r.Jobs)), r.Nodes, count(r.Total), p.Unit.En, orNone(r.Name), r.Policy, r.Durations),
		fmt.Sprintf("%s 个作业，%d 个节点，共 %s %s；策略 %s（%s），时长%s", count(float64(r.Jobs)), r.Nodes, count(r.Total), map[string]string{"cores": "", "accelerators": "张"}[r.Unit]+p.Unit.Zh, orNone(r.Name), r.Policy, knownZh(r.Durations)),
	}
	p.Tiles = []tile{
		{both{"Mean completion time", "平均完成时间"}, long(r.JCT.Mean), both{"p50 " + long(r.JCT.P50) + ", p99 " + long(r.JCT.P99), "p50 " + long(r.JCT.P50) + "，p99 " + long(r.JCT.P99)}},
		{both{"Mean wait", "平均等待"}, long(r.Wait.Mean), both{"p50 " + long(r.Wait.P50) + ", p99 " + long(r.Wait.P99) + ", at most " + long(r.Longest) + " at a stretch", "p50 " + long(r.Wait.P50) + "，p99 " + long(r.Wait.P99) + "，单次最长 " + long(r.Longest)}},
		{both{"Allocation", "分配率"}, parts(r.Allocation), both{"while jobs came; " + parts(r.Pressed) + " while any waited", "作业到达期间；有等待时 " + parts(r.Pressed)}},
		{both{"Utilisation", "利用率"}, parts(r.Useful), both{"of the hall's time to the last end", "占整个机房到最后结束的时间"}},
		{both{"Fairness (Jain)", "公平性 (Jain)"}, strconv.FormatFloat(r.Jain, 'f', 3, 64), both{"of what " + strconv.Itoa(len(r.Queues)) + " queues held while they had jobs; 1 is even", strconv.Itoa(len(r.Queues)) + " 个队列有作业期间的占用；1 为均等"}},
		{both{"Preemptions", "抢占"}, count(float64(r.Stops)), both{"each costs " + long(r.Cost), "每次代价 " + long(r.Cost)}},
	}
	if len(r.Queues) == 1 {
		p.Tiles[4].Value, p.Tiles[4].Note = "–", both{"one queue alone shares with nobody", "只有一个队列，无需共享"}
	}
	p.Facts = r.facts()
	p.Alloc, p.Wait, p.CDF = r.allocationChart(), r.queueChart(), r.distributionChart()
	most := 0.0
	for _, q := range r.Queues {
		most = max(most, q.Share)
	}
	for _, q := range r.Queues {
		row := queueRow{QueueReport: q, Width: "0", Count: count(float64(q.Jobs)), Part: parts(q.Share), Held: strconv.FormatFloat(q.Rate, 'f', 1, 64), Mean: long(q.JCT.Mean), P99: long(q.JCT.P99), W99: long(q.Wait.P99)}
		if most > 0 {
			row.Width = strconv.FormatFloat(100*q.Share/most, 'f', 1, 64)
		}
		p.Queues = append(p.Queues, row)
	}
	return p
}

func (r Report) facts() []fact {
	out := []fact{
		{both{"Longest wait at a stretch", "单次最长等待"}, same(long(r.Longest))},
		{both{"First start", "首次启动"}, both{"mean " + long(r.First.Mean) + " after submission, p99 " + long(r.First.P99), "提交后平均 " + long(r.First.Mean) + "，p99 " + long(r.First.P99)}},
		{both{"Fragmentation", "碎片"}, both{parts(r.Fragments) + " of what was free lay on nodes partly in use", "空闲资源中 " + parts(r.Fragments) + " 位于部分占用的节点"}},
		{both{"Makespan", "总工期"}, same(long(r.Makespan))},
		{both{"Plans", "调度计划"}, both{
			count(float64(r.Plans)) + ", with " + count(float64(r.Decisions)) + " decisions", count(float64(r.Plans)) + " 次，共 " + count(float64(r.Decisions)) + " 个决策",
		}},
	}
	if r.PerSecond > 0 {
		out = append(out, fact{both{"Decisions per second", "每秒决策"}, same(count(r.PerSecond))})
	}
	if e := r.Prediction; e != nil {
		out = append(out, fact{both{"Predicted durations", "时长预测"}, both{
			fmt.Sprintf("typically off by a factor of %.2f; %s within a factor of 2; %s between low and high (80 %% is right)", e.Factor, parts(e.Twice), parts(e.Inside)),
			fmt.Sprintf("典型偏差 %.2f 倍；%s 在 2 倍以内；%s 落在上下界之间（应为 80 %%）", e.Factor, parts(e.Twice), parts(e.Inside)),
		}})
	}
	for _, l := range r.Left {
		out = append(out, fact{both{"Left out", "未采用"}, both{
			fmt.Sprintf("%d rows: %s (the first in line %d)", l.Rows, l.Cause, l.Line), fmt.Sprintf("%d 行：%s（首见第 %d 行）", l.Rows, inChinese(l.Cause), l.Line),
		}})
	}
	for _, s := range r.Treats {
		out = append(out, fact{both{"Treated", "处理"}, both{s, inChinese(s)}})
	}
	return out
}

func same(s string) both { return both{s, s} }

func orNone(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func knownZh(s string) string {
	return map[string]string{Predicted: "由预测得出", Known: "已知", Unknown: "未知"}[s]
}

func parts(v float64) string { return strconv.FormatFloat(100*v, 'f', 1, 64) + " %" }

// long is a time in the unit that reads best.
func long(seconds float64) string {
	unit, of := "s", 1.0
	switch {
	case seconds >= 48*3600:
		unit, of = "d", 24*3600
	case seconds >= 3600:
		unit, of = "h", 3600
	case seconds >= 60:
		unit, of = "min", 60
	}
	v := seconds / of
	digits := 1
	if v >= 100 || v == math.Trunc(v) {
		digits = 0
	}
	return strconv.FormatFloat(v, 'f', digits, 64) + " " + unit
}

// count is a number with its thousands apart.
func count(v float64) string {
	s := strconv.FormatFloat(math.Round(v), 'f', 0, 64)
	var b strings.Builder
	for i, c := range s {
		if i > 0 && (len(s)-i)%3 == 0 {
			b.WriteRune(',')
		}
		b.WriteRune(c)
	}
	return b.String()
}
