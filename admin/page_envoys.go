package admin

import (
	"net/http"
	"slices"
	"strings"

	"wasmxds/xds/swap"
)

// listed is the number of rows of a list on one page.
const listed = 50

// envoyItem is a row of the list of Envoys: the header of a group, or an Envoy.
type envoyItem struct {
	Group *group
	Row   *envoyRow
}

func (s *Server) serveEnvoys(w http.ResponseWriter, r *http.Request) {
	o := s.overview()
	q := queryOf("/envoys", r.URL.Query())
	if q.By != byCluster && !slices.Contains(o.Labels, q.By) {
		q.By = ""
	}
	by := q.By
	if by == "" {
		by = byCluster
	}
	data := struct {
		frame
		O       *overview
		Q       query
		Tabs    []tab
		By      []string
		Grouped string
		Items   []envoyItem
		Page    pageOf
		Start   Start
	}{frame: s.frame(r, "Envoys", "/envoys"), O: o, Start: s.opts.Start, Q: q, Grouped: by, By: append([]string{byCluster}, o.Labels...)}
	data.Tabs = append(data.Tabs, q.tab("", len(o.Nodes)))
	for _, state := range slices.Backward(bySeverity) {
		if n := o.States[state]; n > 0 || string(state) == q.State {
			data.Tabs = append(data.Tabs, q.tab(string(state), n))
		}
	}
	var items []envoyItem
	if q.Narrow() {
		items = chosen(o.Nodes, q, by)
	} else {
		items = grouped(o.Nodes, q, by)
	}
	from, to, page := q.cut(len(items), listed)
	data.Items, data.Page = items[from:to], page
	s.show(w, http.StatusOK, "envoys", data)
}

// grouped returns the Envoys in groups: those that are not as wanted
// individually, the others as part of their group's numbers.
func grouped(rows []envoyRow, q query, by string) []envoyItem {
	all := groups(rows, by)
	var items []envoyItem
	for i := range all {
		g := &all[i]
		g.Link = query{Path: q.Path, State: string(swap.Running), By: q.By, In: g.Name}.link()
		items = append(items, envoyItem{Group: g})
		for _, r := range g.Bad {
			items = append(items, envoyItem{Row: r})
		}
	}
	return items
}

// chosen returns the selected Envoys, the worst first.
func chosen(rows []envoyRow, q query, by string) []envoyItem {
	var found []*envoyRow
	for i := range rows {
		r := &rows[i]
		of := r.Cluster
		if by != byCluster {
			of = r.Labels[by]
		}
		if (q.State == "" || string(r.State) == q.State) && (q.In == "" || of == q.In) && r.has(q.Text) {
			found = append(found, r)
		}
	}
	sortRows(found)
	items := make([]envoyItem, len(found))
	for i, r := range found {
		items[i].Row = r
	}
	return items
}

// has reports whether an Envoy's id, cluster, version or labels contain a text.
func (r *envoyRow) has(text string) bool {
	text = strings.ToLower(text)
	in := func(s string) bool { return strings.Contains(strings.ToLower(s), text) }
	if text == "" || in(r.ID) || in(r.Cluster) || in(r.Version) {
		return true
	}
	for k, v := range r.Labels {
		if in(k + "=" + v) {
			return true
		}
	}
	return false
}
