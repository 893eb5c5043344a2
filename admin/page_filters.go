package admin

import (
	"cmp"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"wasmxds/module"
	"wasmxds/xds/swap"
)

// filterView is a filter on the pages.
type filterView struct {
	Filter
	Bar   bar
	Stand swap.State // state in the whole fleet
	Swap  string     // progress of the newest version; "": everywhere
	Old   string     // description of older connections; "": all have the filter
	Since time.Time  // when the served version came into force; zero: not known
	Error bool       // its file has errors, and the last good version is served
}

func (s *Server) viewFilter(f Filter, versions []running) filterView {
	v := filterView{Filter: f, Stand: standOf(&f)}
	v.Bar.Label = fmt.Sprintf("%s: %d of %s", f.Name, f.Running, plural(f.Nodes, "Envoy"))
	v.Bar.add("failed", f.Failed, f.Nodes)
	v.Bar.add("fetching", f.Pending, f.Nodes)
	v.Bar.add("running", f.Running, f.Nodes)
	if had := s.history.of(f.Name); len(had) > 0 {
		v.Since = had[0].At
	}
	if f.Draining > 0 {
		v.Old = fmt.Sprintf("on %s, older connections go without it until they are drained", plural(f.Draining, "Envoy"))
	}
	if f.Running == f.Nodes {
		return v
	}
	var rest []string
	for _, r := range versions {
		switch {
		case r.Wanted:
		case r.Version == "":
			rest = append(rest, fmt.Sprintf("%d without any yet", r.Nodes))
		default:
			rest = append(rest, fmt.Sprintf("%d still on %s", r.Nodes, short(r.Version)))
		}
	}
	switch {
	case f.Version == "":
		v.Swap = "no version of it is ready"
	case f.Failed > 0:
		v.Swap = fmt.Sprintf("%s is not on all", short(f.Version))
	default:
		v.Swap = fmt.Sprintf("%s is on its way", short(f.Version))
	}
	if len(rest) > 0 {
		v.Swap += ": " + strings.Join(rest, ", ")
	}
	return v
}

// standOf returns the state of a filter in the whole fleet.
func standOf(f *Filter) swap.State {
	switch {
	case f.Failed > 0 || f.State == module.Failed:
		return swap.Failed
	case f.Pending > 0 || f.State == module.Fetching:
		return swap.Fetching
	case f.Nodes > 0:
		return swap.Running
	case f.Ready > 0:
		return swap.Unplaced
	}
	return swap.Unasked
}

// filterViews returns all filters, the worst first.
func (s *Server) filterViews(o *overview) []filterView {
	broken := map[string]bool{}
	for _, p := range o.Status.Definitions.Errors {
		broken[p.File] = true
	}
	all := make([]filterView, 0, len(o.Status.Filters))
	for _, f := range o.Status.Filters {
		v := s.viewFilter(f, o.Versions[f.Name])
		v.Error = broken[f.File]
		all = append(all, v)
	}
	lag := func(v *filterView) int {
		n := severity(v.Stand)
		if v.Error {
			n = max(n, severity(swap.Waiting))
		}
		return n
	}
	slices.SortStableFunc(all, func(a, b filterView) int {
		return cmp.Or(lag(&b)-lag(&a), b.Failed-a.Failed, b.Pending-a.Pending, strings.Compare(a.Name, b.Name))
	})
	return all
}

func (s *Server) serveFilters(w http.ResponseWriter, r *http.Request) {
	o := s.overview()
	q := queryOf("/filters", r.URL.Query())
	all := s.filterViews(o)
	data := struct {
		frame
		Q       query
		Tabs    []tab
		Filters []filterView
		Page    pageOf
		None    bool // no filter is defined
		Start   Start
	}{frame: s.frame(r, "Filters", "/filters"), Q: q, None: len(all) == 0, Start: s.opts.Start}
	counts := map[swap.State]int{}
	for i := range all {
		counts[all[i].Stand]++
	}
	data.Tabs = append(data.Tabs, q.tab("", len(all)))
	for _, state := range slices.Backward(bySeverity) {
		if counts[state] > 0 || string(state) == q.State {
			data.Tabs = append(data.Tabs, q.tab(string(state), counts[state]))
		}
	}
	all = slices.DeleteFunc(all, func(v filterView) bool {
		return q.State != "" && string(v.Stand) != q.State || !strings.Contains(strings.ToLower(v.Name+" "+v.File), strings.ToLower(q.Text))
	})
	from, to, page := q.cut(len(all), listed)
	data.Filters, data.Page = all[from:to], page
	s.show(w, http.StatusOK, "filters", data)
}
