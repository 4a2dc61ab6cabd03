package twin

import (
	"math"
	"strconv"
	"strings"
)

// The size of a chart in its own units, and its frame.
const (
	chartWidth, chartHeight = 880.0, 240.0
	frameLeft, frameRight   = 52.0, 16.0
	frameTop, frameBottom   = 12.0, 30.0
)

// chart is an SVG drawing: lines in the frame, ticks at both axes.
type chart struct {
	Title, About, Across both
	X, Y                 []tick
	Lines                []line
	Left, Right          float64
	Top, Bottom          float64
	Width, Height        float64
}

type tick struct {
	At   float64
	Text string
}

// line is a path, with the area below it where it is one.
type line struct {
	Name  both
	Class string
	Path  string
	Area  string
}

func newChart(title, about, across both) chart {
	return chart{
		Title: title, About: about, Across: across, Left: frameLeft, Right: chartWidth - frameRight, Top: frameTop, Bottom: chartHeight - frameBottom,
		Width: chartWidth, Height: chartHeight,
	}
}

// place is where a part of the frame lies: across from the left, up from the bottom, both 0 to 1.
func (c *chart) place(across, up float64) (x, y float64) {
	return c.Left + across*(c.Right-c.Left), c.Bottom - up*(c.Bottom-c.Top)
}

// steps draws values that each hold for a step; the whole is as wide as the frame.
func (c *chart) steps(name both, class string, values []float64, most float64, area bool) {
	if len(values) == 0 || most <= 0 {
		return
	}
	var b strings.Builder
	for i, v := range values {
		x0, y := c.place(float64(i)/float64(len(values)), min(v/most, 1))
		x1, _ := c.place(float64(i+1)/float64(len(values)), 0)
		if i == 0 {
			b.WriteString("M" + coordinate(x0) + " " + coordinate(y))
		} else {
			b.WriteString("V" + coordinate(y))
		}
		b.WriteString("H" + coordinate(x1))
	}
	l := line{Name: name, Class: class, Path: b.String()}
	if area {
		l.Area = l.Path + "V" + coordinate(c.Bottom) + "H" + coordinate(c.Left) + "Z"
	}
	c.Lines = append(c.Lines, l)
}

func coordinate(v float64) string { return strconv.FormatFloat(v, 'f', 1, 64) }

// timeAxis sets ticks of whole days, hours, minutes or seconds from 0 to the end.
func (c *chart) timeAxis(end float64) {
	units := []struct {
		name string
		of   float64
	}{{"s", 1}, {"min", 60}, {"h", 3600}, {"d", 24 * 3600}}
	u := units[0]
	for _, x := range units {
		if end >= 3*x.of {
			u = x
		}
	}
	step := nice(end / u.of / 7)
	for v := 0.0; v <= end/u.of*1.0001; v += step {
		x, _ := c.place(v*u.of/end, 0)
		c.X = append(c.X, tick{x, number(v) + " " + u.name})
	}
}

// valueAxis sets ticks from 0 to a round number above most, and gives that.
func (c *chart) valueAxis(most float64, suffix string) float64 {
	step := nice(most / 4)
	top := math.Ceil(most/step-1e-9) * step
	for v := 0.0; v <= top*1.0001; v += step {
		_, y := c.place(0, v/top)
		c.Y = append(c.Y, tick{y, number(v) + suffix})
	}
	return top
}

// nice is 1, 2 or 5 times a power of ten, not below v.
func nice(v float64) float64 {
	if !(v > 0) {
		return 1
	}
	p := math.Pow(10, math.Floor(math.Log10(v)))
	for _, m := range []float64{1, 2, 5} {
		if v <= m*p*1.0001 {
			return m * p
		}
	}
	return 10 * p
}

func number(v float64) string {
	if v >= 1e6 {
		return strconv.FormatFloat(v/1e6, 'g', 3, 64) + "M"
	}
	if v >= 1e4 {
		return strconv.FormatFloat(v/1e3, 'g', 4, 64) + "k"
	}
	return strconv.FormatFloat(v, 'g', 4, 64)
}

func (s Series) end() float64 { return s.Step * float64(len(s.Allocated)) }

func (r Report) allocationChart() chart {
	c := newChart(both{"Allocation", "分配"},
		both{"What of the hall is held by jobs, and what is free on nodes that are partly in use.", "作业占用的部分，以及部分占用节点上的空闲部分。"},
		both{"time since the first submission", "自首次提交起的时间"})
	if r.Series.end() <= 0 || r.Total <= 0 {
		return c
	}
	scale := func(v []float64) []float64 {
		out := make([]float64, len(v))
		for i := range v {
			out[i] = 100 * v[i] / r.Total
		}
		return out
	}
	c.timeAxis(r.Series.end())
	c.valueAxis(100, " %")
	c.steps(both{"allocated", "已分配"}, "a", scale(r.Series.Allocated), 100, true)
	c.steps(both{"free, on nodes partly in use", "空闲（部分占用节点）"}, "b", scale(r.Series.Stranded), 100, false)
	return c
}

func (r Report) queueChart() chart {
	c := newChart(both{"Queue", "队列"}, both{"Jobs that wait.", "等待中的作业数。"}, both{"time since the first submission", "自首次提交起的时间"})
	most := 0.0
	for _, v := range r.Series.Waiting {
		most = max(most, v)
	}
	if r.Series.end() <= 0 {
		return c
	}
	c.timeAxis(r.Series.end())
	top := c.valueAxis(max(most, 1), "")
	c.steps(both{"jobs waiting", "等待的作业"}, "c", r.Series.Waiting, top, true)
	return c
}

// distributionChart shows which part of the jobs waited, and took, at most how long. Below a second is as good as nothing.
func (r Report) distributionChart() chart {
	c := newChart(both{"Wait and completion time", "等待与完成时间"},
		both{"Part of the jobs that waited, and were done, within a time (logarithmic).", "在给定时间内等到启动、完成的作业比例（对数刻度）。"}, both{"time", "时间"})
	if len(r.Distribution) == 0 {
		return c
	}
	last := math.Log10(max(r.JCT.Max, r.Wait.Max, 10))
	for _, t := range []struct {
		at   float64
		text string
	}{{1, "1 s"}, {10, "10 s"}, {60, "1 min"}, {600, "10 min"}, {3600, "1 h"}, {6 * 3600, "6 h"}, {86400, "1 d"}, {7 * 86400, "7 d"}, {30 * 86400, "30 d"}, {365 * 86400, "1 y"}, {3650 * 86400, "10 y"}} {
		if at := math.Log10(t.at); at <= last {
			x, _ := c.place(at/last, 0)
			c.X = append(c.X, tick{x, t.text})
		}
	}
	c.valueAxis(100, " %")
	draw := func(name both, class string, percentiles []float64) {
		var b strings.Builder
		x, y := c.place(0, 0)
		b.WriteString("M" + coordinate(x) + " " + coordinate(y))
		for i, v := range percentiles {
			x, y := c.place(math.Log10(max(v, 1))/last, float64(i+1)/100)
			b.WriteString("L" + coordinate(x) + " " + coordinate(y))
		}
		x, y = c.place(1, 1)
		b.WriteString("L" + coordinate(x) + " " + coordinate(y))
		c.Lines = append(c.Lines, line{Name: name, Class: class, Path: b.String()})
	}
	draw(both{"waited", "等待"}, "c", r.Waits)
	draw(both{"took from submission to end", "提交到结束"}, "a", r.Distribution)
	return c
}
