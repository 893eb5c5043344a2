package admin

import (
	"fmt"
	"net/http"
	"slices"

	"wasmxds/definition"
	"wasmxds/xds"
	"wasmxds/xds/swap"
)

// envoyView is an Envoy on its page.
type envoyView struct {
	xds.NodeStatus
	State    swap.State
	Findings []finding           // what is not as wanted, the worst first
	Rest     []swap.FilterStatus // filters that are as wanted
	Refused  []xds.NACK          // the newest first
	Fetched  int                 // number of NACKs that only mean that it is fetching a module
}

// viewEnvoy separates what is wrong on an Envoy from the rest.
func viewEnvoy(n xds.NodeStatus) envoyView {
	v := envoyView{NodeStatus: n, State: swap.Running}
	if !n.AwaySince.IsZero() {
		v.State = swap.Away
		if !n.Awaited {
			v.State = Gone
		}
		v.Rest = n.Filters
		return v
	}
	for _, f := range n.Filters {
		if f.State == swap.Running || f.State == swap.Unasked || f.State == swap.Unplaced {
			v.Rest = append(v.Rest, f)
			continue
		}
		v.State = worse(v.State, f.State)
		v.Findings = append(v.Findings, finding{Level: levelOf(f.State), State: f.State, Title: fmt.Sprintf("%s: %s", f.Name, standing(&f)),
			Since: f.WantedSince, Words: someWords(f.Reason, crashText(f.Crashes)), Filters: []string{f.Name}})
	}
	for _, l := range n.Listeners {
		if !behind(&l) {
			continue
		}
		v.State = worse(v.State, swap.Waiting)
		title := "Listener " + l.Name + " is as it was before"
		if l.Running == "" {
			title = "Listener " + l.Name + " is not served yet"
		}
		v.Findings = append(v.Findings, finding{Level: levelBusy, State: swap.Waiting, Title: title, Words: someWords(l.Reason)})
	}
	slices.SortStableFunc(v.Findings, func(a, b finding) int { return severity(b.State) - severity(a.State) })
	for _, nack := range slices.Backward(n.NACKs) {
		if nack.Fetching {
			v.Fetched += max(nack.Times, 1)
		} else {
			v.Refused = append(v.Refused, nack)
		}
	}
	return v
}

// standing describes the state of a filter that is not as wanted on an Envoy.
func standing(f *swap.FilterStatus) string {
	state := string(f.State)
	if f.Refused {
		state = "rejected"
	}
	if f.Running == "" {
		return state + ", no version of it runs"
	}
	return fmt.Sprintf("%s, %s runs in place of %s", state, short(f.Running), short(f.Wanted))
}

func crashText(c *swap.Crashes) string {
	if c == nil {
		return ""
	}
	return FilterCrashes(c, clock)
}

// someWords returns the strings that are not empty.
func someWords(all ...string) []string {
	return slices.DeleteFunc(all, func(s string) bool { return s == "" })
}

func (s *Server) serveEnvoy(w http.ResponseWriter, r *http.Request) {
	id := r.PathValue("id")
	n, ok := s.opts.Fleet.Node(id)
	if !ok {
		s.missing(w, r, "No Envoy "+id+" is connected", "It is shown from the moment it connects until an hour after it has gone.")
		return
	}
	data := struct {
		frame
		N        envoyView
		Pictures []picture
	}{frame: s.frame(r, id, "/envoys"), N: viewEnvoy(n)}
	if l := s.loaded.Load(); l != nil && l.Set != nil {
		snapshot := l.Catalog.Snapshot(definition.Node{ID: n.ID, Cluster: n.Cluster, Labels: n.Labels})
		data.Pictures = pictures(snapshot, &n)
	}
	s.show(w, http.StatusOK, "envoy", data)
}
