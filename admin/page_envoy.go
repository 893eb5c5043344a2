package admin

import (
	"net/http"

	"wasmxds/definition"
	"wasmxds/xds"
	"wasmxds/xds/swap"
)

// nodeView is an Envoy as the list shows it.
type nodeView struct {
	xds.NodeStatus
	State swap.State
}

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

func (s *Server) serveEnvoys(w http.ResponseWriter, r *http.Request) {
	data := struct {
		frame
		O           *overview
		Nodes       []nodeView
		After, Next string
	}{frame: s.frame("Envoys", "/envoys"), O: s.overview(), After: r.FormValue("after")}
	nodes, next := s.opts.Fleet.Nodes(data.After, pageNodes)
	data.Next = next
	for _, n := range nodes {
		data.Nodes = append(data.Nodes, nodeView{n, worst(&n)})
	}
	s.show(w, http.StatusOK, "envoys", data)
}

func (s *Server) serveEnvoy(w http.ResponseWriter, r *http.Request) {
	id := r.PathValue("id")
	n, ok := s.opts.Fleet.Node(id)
	if !ok {
		s.missing(w, "No Envoy "+id+" is connected", "It is shown from the moment it connects until an hour after it has gone.")
		return
	}
	data := struct {
		frame
		N        xds.NodeStatus
		State    swap.State
		Pictures []picture
	}{frame: s.frame(id, ""), N: n, State: worst(&n)}
	if l := s.loaded.Load(); l != nil && l.Set != nil {
		snapshot := l.Catalog.Snapshot(definition.Node{ID: n.ID, Cluster: n.Cluster, Labels: n.Labels})
		data.Pictures = pictures(snapshot, &n)
	}
	s.show(w, http.StatusOK, "envoy", data)
}
