package admin

import (
	"fmt"
	"net/http"
	"slices"

	"wasmxds/xds/swap"
)

// How much of a large fleet the first page shows at first.
const (
	shownFindings = 5
	shownFilters  = 12
	shownGroups   = 8
	shownChanges  = 4
)

// stateCount is an entry of the legend.
type stateCount struct {
	State swap.State
	Nodes int
}

func (s *Server) serveOverview(w http.ResponseWriter, r *http.Request) {
	f := s.frame(r, "Fleet", "/")
	o, found := f.fleet, f.findings
	f.Title = f.verdict.Text
	data := struct {
		frame
		O            *overview
		Verdict      verdict
		Findings     []finding
		MoreFindings int
		Bar          bar
		States       []stateCount
		Filters      []filterView
		Groups       []group
		MoreGroups   int
		Changes      []changeView
		Start        Start
	}{
		frame: f, O: o, Verdict: f.verdict, Findings: found, Start: s.opts.Start,
		Groups:  groups(o.Nodes, byCluster),
		Changes: viewTimeline(f.moving.Changes, s.origins(), shownChanges),
	}
	data.Bar.Label = data.Verdict.Text
	for _, state := range slices.Backward(bySeverity) {
		if n := o.States[state]; n > 0 && state != Gone {
			data.States = append(data.States, stateCount{state, n})
			data.Bar.add(string(state), n, len(o.Nodes)-o.States[Gone])
		}
	}
	if r.FormValue("findings") != "all" {
		data.MoreFindings = max(0, len(found)-shownFindings)
		data.Findings = found[:len(found)-data.MoreFindings]
	}
	data.MoreGroups = max(0, len(data.Groups)-shownGroups)
	data.Groups = data.Groups[:len(data.Groups)-data.MoreGroups]
	data.Filters = s.filterViews(o)
	data.Filters = data.Filters[:min(len(data.Filters), shownFilters)]
	s.show(w, http.StatusOK, "overview", data)
}

// Facts returns the line under the headline.
func (o *overview) Facts() string {
	text := fmt.Sprintf("%s in %s", plural(o.Status.Definitions.Loaded, "definition"), plural(o.Status.Definitions.Files, "file"))
	if o.Envoys > 0 {
		text = fmt.Sprintf("%d of %s run all they should · %s", o.Good, plural(o.Envoys, "Envoy"), text)
	}
	return text
}

// Gone returns the number of Envoys that are gone and no longer awaited.
func (o *overview) Gone() int { return o.States[Gone] }
