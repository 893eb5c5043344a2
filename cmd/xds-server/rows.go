package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"wasmxds/admin"
	"wasmxds/printable"
	"wasmxds/xds"
	"wasmxds/xds/swap"
)

// maxRows is how many rows of a table are shown without --all.
const maxRows = 20

// shown says which Envoys and filters the tables are about.
type shown struct {
	all    bool
	filter string            // "": any
	states []string          // none: any
	labels map[string]string // that an Envoy has
}

// severity has the states that a row can have, the worst first.
var severity = []string{
	string(swap.Failed), string(swap.Waiting), string(swap.Fetching), string(swap.Away),
	string(swap.Unasked), string(swap.Unplaced), string(swap.Running),
}

// row is what an Envoy has, or lacks.
type row struct {
	node     string
	name     string // of the filter, or "listener" and its name; "-": the Envoy has nothing
	filter   string // its name; "": it is of a listener
	state    string
	since    time.Time
	running  string
	wanted   string
	reason   string
	draining bool
}

// fine says whether there is nothing to look at.
func (r *row) fine() bool {
	return !r.draining && (r.state == string(swap.Running) || r.state == string(swap.Unplaced) || r.state == string(swap.Unasked) || r.state == "-")
}

func (r *row) severity() int {
	if r.state == string(swap.Running) && r.draining {
		return slices.Index(severity, string(swap.Unasked))
	}
	if i := slices.Index(severity, r.state); i >= 0 {
		return i
	}
	return slices.Index(severity, string(swap.Waiting)) // a newer server has states that are not known here
}

// choose gives what is shown of an Envoy.
func (s *shown) choose(n *xds.NodeStatus, all []row) []row {
	for k, v := range s.labels {
		if has, ok := n.Labels[k]; !ok || has != v {
			return nil
		}
	}
	var rows []row
	for _, r := range all {
		if (s.filter == "" || r.filter == s.filter) && (len(s.states) == 0 || slices.Contains(s.states, r.state)) {
			rows = append(rows, r)
		}
	}
	return rows
}

// rowsOf tells of an Envoy what it has and lacks.
func rowsOf(n *xds.NodeStatus, now time.Time) []row {
	var rows []row
	state, since := "-", n.ConnectedSince
	if !n.AwaySince.IsZero() {
		state, since = string(swap.Away), n.AwaySince
	}
	if len(n.Filters) == 0 {
		rows = append(rows, row{node: n.ID, name: "-", state: state, since: since})
	}
	for _, f := range n.Filters {
		if f.State == swap.Away {
			f.Since = since
		} else if !f.WantedSince.IsZero() {
			f.Since = f.WantedSince
		}
		rows = append(rows, row{node: n.ID, name: cell(f.Name), filter: f.Name, state: string(f.State), since: f.Since, running: f.Running, wanted: f.Wanted,
			reason: reason(withCrashes(f, now), f.Draining, admin.FilterDraining, now), draining: f.Draining != nil})
	}
	for _, l := range n.Listeners {
		state := string(swap.Running)
		switch {
		case l.Running == l.Wanted && l.Draining == nil:
			continue
		case l.Running != l.Wanted:
			state = string(swap.Waiting)
		}
		rows = append(rows, row{node: n.ID, name: "listener " + cell(l.Name), state: state, running: l.Running, wanted: l.Wanted,
			reason: reason(l.Reason, l.Draining, admin.ListenerDraining, now), draining: l.Draining != nil})
	}
	return rows
}

// printEnvoys prints rows of the Envoys: each where they are few or all are to be
// shown, else those where something is to be looked at, the worst first.
func printEnvoys(out io.Writer, nodes []xds.NodeStatus, all [][]row, s shown, now time.Time) {
	var rows []row
	healthy, unshown := 0, 0 // Envoys, rows
	for i := range nodes {
		of := s.choose(&nodes[i], all[i])
		rows = append(rows, of...)
		if len(of) > 0 && !slices.ContainsFunc(of, func(r row) bool { return !r.fine() }) {
			healthy++
		}
	}
	if len(rows) == 0 {
		return
	}
	if s.all || len(rows) <= maxRows {
		healthy = 0
	} else {
		rows = slices.DeleteFunc(rows, func(r row) bool { return r.fine() })
		slices.SortStableFunc(rows, func(a, b row) int { return a.severity() - b.severity() })
		unshown = max(0, len(rows)-maxRows)
		rows = rows[:len(rows)-unshown]
	}
	fmt.Fprintln(out)
	if len(rows) > 0 {
		t := newTable(out)
		fmt.Fprintln(t, "ENVOY\tFILTER\tSTATE\tSINCE\tRUNNING\tWANTED\tREASON")
		for _, r := range rows {
			fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", cell(r.node), r.name, cell(r.state), age(now, r.since), cell(r.running), cell(r.wanted), r.reason)
		}
		t.Flush()
	}
	if unshown > 0 {
		fmt.Fprintf(out, "%s more; --filter, --state and --label choose, --all shows all\n", plural(unshown, "row"))
	}
	if healthy > 0 {
		fmt.Fprintf(out, "%s: all in place; --all shows them\n", plural(healthy, "Envoy"))
	}
}

// printFilters prints filters, those first that do not run where they should if there are many.
func printFilters(out io.Writer, filters []admin.Filter, s shown) {
	filters = slices.DeleteFunc(slices.Clone(filters), func(f admin.Filter) bool { return s.filter != "" && f.Name != s.filter })
	if len(filters) == 0 {
		return
	}
	unshown := 0
	if !s.all && len(filters) > maxRows {
		slices.SortStableFunc(filters, func(a, b admin.Filter) int { return attention(b) - attention(a) })
		unshown = len(filters) - maxRows
		filters = filters[:maxRows]
	}
	fmt.Fprintln(out)
	t := newTable(out)
	fmt.Fprintln(t, "FILTER\tVERSION\tMODULE\tENVOYS\tRUNNING\tPENDING\tFAILED\tNOTE")
	for _, f := range filters {
		fmt.Fprintf(t, "%s\t%s\t%s\t%d\t%d\t%d\t%d\t%s\n", cell(f.Name), cell(f.Version), cell(short(f.SHA256)),
			f.Nodes, f.Running, f.Pending, f.Failed, printable.Text(f.Reason))
	}
	t.Flush()
	if unshown > 0 {
		fmt.Fprintf(out, "%s more; --all shows all\n", plural(unshown, "filter"))
	}
}

// attention is how much a filter needs: more Envoys without it, more attention.
func attention(f admin.Filter) int {
	n := f.Failed + f.Pending
	if f.Reason != "" {
		n++
	}
	return n
}

// byState counts connected Envoys by the worst state of what they are to have; "" where
// all is in place on each.
func byState(nodes []xds.NodeStatus, all [][]row) string {
	counts := map[string]int{}
	for i := range nodes {
		if !nodes[i].AwaySince.IsZero() {
			continue
		}
		worst := len(severity) - 1
		for _, r := range all[i] {
			if !r.fine() {
				worst = min(worst, r.severity())
			}
		}
		state := severity[worst]
		if state == string(swap.Unasked) { // it drains
			state = string(swap.Running)
		}
		counts[state]++
	}
	if len(counts) == 1 && counts[string(swap.Running)] > 0 || len(counts) == 0 {
		return ""
	}
	var words []string
	for _, state := range slices.Backward(severity) {
		if n := counts[state]; n > 0 {
			words = append(words, fmt.Sprintf("%d %s", n, state))
		}
	}
	return ": " + strings.Join(words, ", ")
}

// check refuses states that there are not, with their flag.
func (s *shown) check() error {
	for _, state := range s.states {
		if !slices.Contains(severity, state) {
			return misused(fmt.Errorf("--state %q: one or more of %s", state, strings.Join(severity, ", ")))
		}
	}
	return nil
}

// narrows says whether something but the filter is chosen.
func (s *shown) narrows() bool { return len(s.states) > 0 || len(s.labels) > 0 }
