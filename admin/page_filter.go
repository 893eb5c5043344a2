package admin

import (
	"fmt"
	"net/http"
	"strings"
	"time"

	"wasmxds/module"
	"wasmxds/textdiff"
)

// filterView is a filter as the pages show it.
type filterView struct {
	Filter
	Bar  bar
	Swap string // how far the newest version is; "": everywhere
	Old  string // what has become of older connections; "": all have it
}

func viewFilter(f Filter, versions []running) filterView {
	v := filterView{Filter: f}
	v.Bar.Label = fmt.Sprintf("%d of %s", f.Running, plural(f.Nodes, "Envoy"))
	v.Bar.add("running", f.Running, f.Nodes)
	v.Bar.add("fetching", f.Pending, f.Nodes)
	v.Bar.add("failed", f.Failed, f.Nodes)
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
	if f.Version == "" {
		v.Swap = "no version of it is ready"
	} else {
		v.Swap = fmt.Sprintf("%s is on its way", short(f.Version))
	}
	if len(rest) > 0 {
		v.Swap += ": " + strings.Join(rest, ", ")
	}
	return v
}

// versionView is an entry in a filter's history.
type versionView struct {
	Version, SHA256 string
	At              time.Time
	Newest          bool
	Before          string // the version it took the place of
}

func (s *Server) serveFilter(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("name")
	o := s.overview()
	data := struct {
		frame
		F                filterView
		Exports, Imports []string
		Versions         []versionView
		Kept             int
		From, To         string
		Diff             []textdiff.Line
		Definition       string
	}{frame: s.frame(name, ""), Kept: kept}
	found := false
	for _, f := range o.Status.Filters {
		if f.Name == name {
			data.F, found = viewFilter(f, o.Versions[name]), true
		}
	}
	if !found {
		s.missing(w, "There is no filter "+name, "It may have been removed from the directory.")
		return
	}
	data.Exports, data.Imports = s.contents(data.F.SHA256)
	had := s.history.of(name)
	data.Versions = viewVersions(had)
	if len(had) > 0 {
		from, to := pick(had, r.FormValue("from")), pick(had, r.FormValue("to"))
		if to == nil {
			to = &had[0]
		}
		data.To, data.From, data.Definition = to.Version, data.Versions[0].Before, describe(to.Filter)
		if from != nil {
			data.From, data.Diff = from.Version, textdiff.Lines(describe(from.Filter), describe(to.Filter))
		}
	}
	s.show(w, http.StatusOK, "filter", data)
}

// contents is what a module exports and imports, if it is to be had.
func (s *Server) contents(sha256 string) (exports, imports []string) {
	if s.opts.Modules == nil || sha256 == "" {
		return nil, nil
	}
	c, err := s.opts.Modules.Contents(sha256)
	if err != nil {
		return nil, nil // an Envoy fetches it from elsewhere
	}
	return c.Exports, c.Imports
}

// Modules is the store that modules are in.
type Modules interface {
	Contents(sha256 string) (*module.Contents, error)
	Wants(sha256 string) (module.Wants, error)
}

func viewVersions(had []version) []versionView {
	var vs []versionView
	for i, v := range had {
		view := versionView{Version: v.Version, SHA256: sha256Of(v.Filter), At: v.At, Newest: i == 0}
		if i+1 < len(had) {
			view.Before = had[i+1].Version
		}
		vs = append(vs, view)
	}
	return vs
}

func pick(had []version, v string) *version {
	for i := range had {
		if had[i].Version == v {
			return &had[i]
		}
	}
	return nil
}
