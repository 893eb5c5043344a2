package admin

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/ianlancetaylor/demangle"

	"wasmxds/module/dryrun/profile"
)

// flame is a profile as a flame graph: each frame is a function, as wide as its
// share of the instructions, with the functions that it calls below it. Any
// frame can be at the top.
type flame struct {
	Root    string // value of ?profile= for what is at the top
	Name    string
	Total   uint64 // instructions of it, with those of what it calls
	Above   []flameLink
	Frames  []flameFrame
	Height  int // of the picture
	Top     []flameRow
	More    int // functions that the rows leave out
	Phases  []flamePhase
	Unnamed bool // the module has lost the names of its functions
}

type flameLink struct{ Name, At string }

type flameFrame struct {
	Name, At string
	X, W     string // in percent
	Y        int
	Label    string // for people who do not see the picture
	Tint     int
	Wide     bool // there is room for a name
}

// flameRow is a function, wherever it is called.
type flameRow struct {
	Name, At   string // At is its heaviest call
	Own, Total uint64
	OwnShare   string
	TotalShare string
	Calls      uint64
	heaviest   uint64
}

// flamePhase is what one phase of a module's life costs.
type flamePhase struct {
	Name, At string
	Total    uint64
	Each     uint64 // in each of its times
	Times    uint64
	Current  bool
}

// Bounds of the picture. What is smaller is in the table.
const (
	flameRowHeight = 22
	flameDepth     = 48
	leastFrame     = 0.3 // percent
	wideFrame      = 2.5 // percent
	flameTints     = 4
	flameRows      = 20
	flameAll       = "all" // value of ?profile= for all phases
)

// flameMaker draws a flame graph.
type flameMaker struct {
	profile  *profile.Profile
	totals   []uint64
	children [][]int // by node, the heaviest first
	roots    []int
	flame    *flame
}

// newFlame draws a profile with the node at as its top: its number, "all", or
// anything else for the requests.
func newFlame(p *profile.Profile, at string) *flame {
	m := flameMaker{profile: p, totals: p.Totals(), children: make([][]int, len(p.Nodes)), flame: new(flame)}
	unnamed := 0
	for i, n := range p.Nodes {
		if n.Parent < 0 {
			m.roots = append(m.roots, i)
		} else {
			m.children[n.Parent] = append(m.children[n.Parent], i)
		}
		if strings.HasPrefix(n.Function, "function ") {
			unnamed++
		}
	}
	m.flame.Unnamed = unnamed > len(p.Nodes)/2
	for _, c := range append(m.children, m.roots) {
		slices.SortStableFunc(c, func(a, b int) int { return cmp.Compare(m.totals[b], m.totals[a]) })
	}
	m.top(at)
	return m.flame
}

func (m *flameMaker) top(at string) {
	top, all := m.find(at)
	f := m.flame
	tops := m.roots
	f.Root, f.Name = flameAll, "all"
	if !all {
		tops = []int{top}
		f.Root, f.Name = strconv.Itoa(top), m.name(top)
		for i := m.profile.Nodes[top].Parent; i >= 0; i = m.profile.Nodes[i].Parent {
			f.Above = append(f.Above, flameLink{m.name(int(i)), strconv.Itoa(int(i))})
		}
		f.Above = append(f.Above, flameLink{"all", flameAll})
		slices.Reverse(f.Above)
	}
	for _, i := range tops {
		f.Total += m.totals[i]
	}
	x := 0.0
	for _, i := range tops {
		m.draw(i, x, 0)
		x += m.share(m.totals[i])
	}
	m.table(tops)
	m.phases(top, all)
}

// find returns the node that is meant by at.
func (m *flameMaker) find(at string) (node int, all bool) {
	if i, err := strconv.Atoi(at); err == nil && i >= 0 && i < len(m.profile.Nodes) {
		return i, false
	}
	for _, i := range m.roots {
		if m.profile.Nodes[i].Function == profile.Requests && m.totals[i] > 0 && at != flameAll {
			return i, false
		}
	}
	return 0, true
}

// share returns a part of all that is shown, in percent.
func (m *flameMaker) share(instructions uint64) float64 {
	return 100 * float64(instructions) / float64(max(m.flame.Total, 1))
}

func (m *flameMaker) name(node int) string {
	return demangle.Filter(m.profile.Nodes[node].Function, demangle.NoParams, demangle.MaxLength(9))
}

// draw adds a frame, and those below it.
func (m *flameMaker) draw(node int, x float64, depth int) {
	w := m.share(m.totals[node])
	if w < leastFrame || depth >= flameDepth {
		return
	}
	name, f := m.name(node), m.flame
	f.Frames = append(f.Frames, flameFrame{
		Name: name, At: strconv.Itoa(node), X: percentage(x), W: percentage(w), Y: depth * flameRowHeight,
		Label: fmt.Sprintf("%s: %s, %s instructions", name, percent(w/100), thousands(m.totals[node])),
		Tint:  tintOf(name), Wide: w >= wideFrame,
	})
	f.Height = max(f.Height, (depth+1)*flameRowHeight)
	for _, c := range m.children[node] {
		m.draw(c, x, depth+1)
		x += m.share(m.totals[c])
	}
}

// table adds up each function, wherever below the tops it is called.
func (m *flameMaker) table(tops []int) {
	rows := map[string]*flameRow{}
	running := map[string]int{}
	var walk func(node int)
	walk = func(node int) {
		n := m.profile.Nodes[node]
		if n.Parent >= 0 { // a phase is no function
			r := rows[n.Function]
			if r == nil {
				r = &flameRow{Name: m.name(node)}
				rows[n.Function] = r
			}
			r.Own += n.Instructions
			r.Calls += n.Calls
			if running[n.Function] == 0 { // of a recursion, the outermost call has all
				r.Total += m.totals[node]
			}
			if r.At == "" || m.totals[node] > r.heaviest {
				r.At, r.heaviest = strconv.Itoa(node), m.totals[node]
			}
		}
		running[n.Function]++
		for _, c := range m.children[node] {
			walk(c)
		}
		running[n.Function]--
	}
	for _, i := range tops {
		walk(i)
	}
	f := m.flame
	for _, r := range rows {
		r.OwnShare, r.TotalShare = percent(m.share(r.Own)/100), percent(m.share(r.Total)/100)
		f.Top = append(f.Top, *r)
	}
	slices.SortFunc(f.Top, func(a, b flameRow) int {
		return cmp.Or(cmp.Compare(b.Own, a.Own), cmp.Compare(b.Total, a.Total), strings.Compare(a.Name, b.Name))
	})
	f.More = max(0, len(f.Top)-flameRows)
	f.Top = f.Top[:min(len(f.Top), flameRows)]
}

func (m *flameMaker) phases(top int, all bool) {
	for i, n := range m.profile.Nodes {
		if n.Parent >= 0 || m.totals[i] == 0 {
			continue
		}
		m.flame.Phases = append(m.flame.Phases, flamePhase{
			Name: n.Function, At: strconv.Itoa(i), Total: m.totals[i], Times: n.Calls, Each: m.totals[i] / max(n.Calls, 1), Current: !all && i == top,
		})
	}
}

// tintOf gives a function the same colour everywhere.
func tintOf(name string) int {
	sum := 0
	for _, c := range []byte(name) {
		sum = (31*sum + int(c)) % 1009
	}
	return sum % flameTints
}

func percentage(v float64) string { return strconv.FormatFloat(v, 'f', 3, 64) + "%" }

// thousands formats a number with a separator for thousands.
func thousands(n uint64) string {
	s := strconv.FormatUint(n, 10)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
