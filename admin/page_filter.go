package admin

import (
	"net/http"
	"slices"
	"time"

	"wasmxds/module"
	"wasmxds/rollout"
	"wasmxds/textdiff"
)

// versionView is an entry in a filter's history.
type versionView struct {
	ID, Version, SHA256 string
	At                  time.Time
	Newest              bool
	Before              string // version that it replaced
	PlaceOnly           bool   // only the place differs from that version
	Refused             refused
}

func (s *Server) serveFilter(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("name")
	fr := s.frame(r, name, "/filters")
	o := fr.fleet
	data := struct {
		frame
		F                filterView
		Findings         []finding
		Routes           []routeView
		Exports, Imports []string
		Versions         []versionView
		Kept             int
		From, To         string
		Diff             []textdiff.Line
		Definition       string
		Changes          []changeView
		Profile          *profileView // nil: it can't have one
	}{frame: fr, Kept: kept, Changes: viewTimeline(changesOf(fr.moving.Changes, name), s.origins(), shownChanges)}
	found := false
	for _, f := range o.Status.Filters {
		if f.Name == name {
			data.F, found = s.viewFilter(f, o.Versions[name]), true
			data.Routes = viewRoutes(&f, o.Status.Filters)
		}
	}
	if !found {
		s.missing(w, r, "There is no filter "+name, "It may have been removed from the directory.")
		return
	}
	for _, f := range fr.findings {
		if slices.Contains(f.Filters, name) || slices.Contains(f.files, data.F.File) {
			data.Findings = append(data.Findings, f)
		}
	}
	data.Profile = s.viewProfile(r, name)
	data.Exports, data.Imports = s.contents(data.F.SHA256)
	had := s.history.of(name)
	data.Versions = viewVersions(had)
	if len(had) > 0 {
		from, to := pick(had, r.FormValue("from")), pick(had, r.FormValue("to"))
		if to == nil {
			to = &had[0]
			from = pick(had, data.Versions[0].Before)
		}
		data.To, data.From, data.Definition = to.ID, data.Versions[0].Before, describe(to.Filter)
		if from != nil {
			data.From, data.Diff = from.ID, textdiff.Lines(describeBoth(from.Filter, to.Filter))
		}
	}
	s.show(w, http.StatusOK, "filter", data)
}

// changesOf returns the changes of one filter.
func changesOf(all []rollout.ChangeStatus, filter string) []rollout.ChangeStatus {
	var of []rollout.ChangeStatus
	for _, c := range all {
		if slices.ContainsFunc(c.Definitions, func(d rollout.DefinitionStatus) bool { return d.Kind == filterKind && d.Name == filter }) {
			of = append(of, c)
		}
	}
	return of
}

// contents returns what a module exports and imports, if the module is present.
func (s *Server) contents(sha256 string) (exports, imports []string) {
	if s.opts.Modules == nil || sha256 == "" {
		return nil, nil
	}
	c, err := s.opts.Modules.Contents(sha256)
	if err != nil {
		return nil, nil // Envoys fetch it from elsewhere
	}
	return c.Exports, c.Imports
}

// Modules is the store of modules.
type Modules interface {
	Contents(sha256 string) (*module.Contents, error)
	Wants(sha256 string) (module.Wants, error)
}

func viewVersions(had []version) []versionView {
	var vs []versionView
	for i, v := range had {
		view := versionView{ID: v.ID, Version: v.Version, SHA256: sha256Of(v.Filter), At: v.At, Newest: i == 0, Refused: v.Refused}
		if i+1 < len(had) {
			view.Before, view.PlaceOnly = had[i+1].ID, had[i+1].Version == v.Version
		}
		vs = append(vs, view)
	}
	return vs
}

func pick(had []version, id string) *version {
	for i := range had {
		if had[i].ID == id {
			return &had[i]
		}
	}
	return nil
}
