package admin

import (
	"fmt"
	"math"
	"strings"
	"time"
)

// chart is a set of lines over the same time, as drawn by the template "chart".
type chart struct {
	Title string
	Words string // last values of the lines, for screen readers
	Lines []line
	Marks []mark
	Top   string // value at the upper edge
	From  time.Time
	To    time.Time
}

// line is a line of a chart, in the units of the picture.
type line struct {
	Class, Name string
	Path        string // data of an SVG path
	Last        string // last value; "": none
}

// mark is a point in time, such as the start of a wave.
type mark struct {
	X    string
	Text string
}

// series has the values of a line. Unknown values are NaN.
type series struct {
	Class, Name string
	At          []time.Time
	Values      []float64
}

// The picture's size without margins, and the maximum number of points of a
// line: more could not be distinguished.
const (
	chartWidth  = 300
	chartHeight = 100
	chartPoints = 150
)

// counted replaces the last values of the lines by their sums.
func (c *chart) counted(all ...series) chart {
	var words []string
	for i, s := range all {
		sum := 0.0
		for _, v := range s.Values {
			sum += v
		}
		c.Lines[i].Last = count(sum)
		words = append(words, s.Name+" "+c.Lines[i].Last)
	}
	c.Words = fmt.Sprintf("%s in all: %s", c.Title, strings.Join(words, ", "))
	return *c
}

// newChart draws series for a period. The function unit formats values. The
// upper edge is at least least.
func newChart(title string, from, to time.Time, unit func(float64) string, least float64, all ...series) chart {
	c := chart{Title: title, From: from, To: to}
	top := least
	for _, s := range all {
		for _, v := range s.Values {
			if v > top && !math.IsInf(v, 0) {
				top = v
			}
		}
	}
	top = roundUp(top)
	c.Top = unit(top)
	var words []string
	for _, s := range all {
		l := line{Class: s.Class, Name: s.Name}
		at, values := thin(s.At, s.Values, chartPoints)
		l.Path = path(at, values, from, to, top)
		for _, v := range values {
			if !math.IsNaN(v) {
				l.Last = unit(v)
			}
		}
		c.Lines = append(c.Lines, l)
		if l.Last == "" {
			words = append(words, s.Name+" unknown")
		} else {
			words = append(words, s.Name+" "+l.Last)
		}
	}
	c.Words = fmt.Sprintf("%s at the end: %s", title, strings.Join(words, ", "))
	return c
}

// mark marks a point in time, if it is within the chart.
func (c *chart) mark(at time.Time, text string) {
	if !at.Before(c.From) && !at.After(c.To) {
		c.Marks = append(c.Marks, mark{across(at, c.From, c.To), text})
	}
}

// path returns the SVG path of the values, with gaps for unknown ones.
func path(at []time.Time, values []float64, from, to time.Time, top float64) string {
	var b strings.Builder
	pen := false // whether a line has been started
	for i, v := range values {
		if math.IsNaN(v) || at[i].Before(from) || at[i].After(to) {
			pen = false
			continue
		}
		x, y := across(at[i], from, to), coordinate(chartHeight*(1-min(max(v, 0), top)/top))
		if pen {
			fmt.Fprintf(&b, "L%s %s", x, y)
			continue
		}
		fmt.Fprintf(&b, "M%s %sh0", x, y) // an isolated point is drawn as a dot
		pen = true
	}
	return b.String()
}

func across(at, from, to time.Time) string {
	span := to.Sub(from)
	if span <= 0 {
		return "0"
	}
	return coordinate(chartWidth * float64(at.Sub(from)) / float64(span))
}

func coordinate(v float64) string { return strings.TrimSuffix(fmt.Sprintf("%.1f", v), ".0") }

// roundUp returns the next of 1, 2, 5, 10, 20 and so on.
func roundUp(v float64) float64 {
	if v <= 0 || math.IsNaN(v) {
		return 1
	}
	p := math.Pow(10, math.Floor(math.Log10(v)))
	for _, step := range []float64{1, 2, 5, 10} {
		if v <= step*p*(1+1e-9) {
			return step * p
		}
	}
	return 10 * p
}

// thin reduces the number of points to most, and keeps the highest of
// neighbours, so that no peak is lost.
func thin(at []time.Time, values []float64, most int) ([]time.Time, []float64) {
	n := min(len(at), len(values))
	at, values = at[:n], values[:n]
	if n <= most {
		return at, values
	}
	var thinAt []time.Time
	var thinned []float64
	for i := range most {
		first, end := i*n/most, (i+1)*n/most
		best := first
		for j := first; j < end; j++ {
			if math.IsNaN(values[best]) || values[j] > values[best] {
				best = j
			}
		}
		thinAt, thinned = append(thinAt, at[best]), append(thinned, values[best])
	}
	return thinAt, thinned
}

func percent(v float64) string {
	switch {
	case v == 0:
		return "0 %"
	case v < 0.0001:
		return "< 0.01 %"
	case v < 0.1:
		return strings.TrimRight(strings.TrimRight(fmt.Sprintf("%.2f", 100*v), "0"), ".") + " %"
	}
	return fmt.Sprintf("%.0f %%", 100*v)
}

// milliseconds formats a latency.
func milliseconds(v float64) string {
	switch {
	case v >= 10_000:
		return fmt.Sprintf("%.0f s", v/1000)
	case v >= 1000:
		return coordinate(v/1000) + " s"
	case v >= 10:
		return fmt.Sprintf("%.0f ms", v)
	}
	return strings.TrimRight(strings.TrimRight(fmt.Sprintf("%.2f", v), "0"), ".") + " ms"
}

func count(v float64) string { return fmt.Sprintf("%.0f", v) }
