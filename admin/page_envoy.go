package admin

import (
	"net/http"

	"wasmxds/definition"
	"wasmxds/xds"
	"wasmxds/xds/swap"
)

// worst is the worst state of an Envoy's filters and listeners.
func worst(n *xds.NodeStatus) swap.State {
	state := swap.Running
	if !n.AwaySince.IsZero() {
		state = swap.Away
	}
	for _, f := range n.Filters {
		state = worse(state, f.State)
	}
	for _, l := range n.Listeners {
		if behind(&l) {
			state = worse(state, swap.Waiting)
		}
	}
	return state
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
		N        xds.NodeStatus
		State    swap.State
		Pictures []picture
	}{frame: s.frame(r, id, "/envoys"), N: n, State: worst(&n)}
	if l := s.loaded.Load(); l != nil && l.Set != nil {
		snapshot := l.Catalog.Snapshot(definition.Node{ID: n.ID, Cluster: n.Cluster, Labels: n.Labels})
		data.Pictures = pictures(snapshot, &n)
	}
	s.show(w, http.StatusOK, "envoy", data)
}
