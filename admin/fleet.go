package admin

import (
	"time"

	"wasmxds/definition"
	"wasmxds/resource"
)

// Fleet is what admin asks of the server that Envoys are connected to.
type Fleet interface {
	// Nodes gives up to limit connected nodes in the order of their ids, from
	// the one after the id given, and what to ask for next ("": no more).
	Nodes(after string, limit int) (nodes []Node, next string)
	// Node gives a connected node by its id.
	Node(id string) (Node, bool)
	// Summary counts nodes by filter name.
	Summary() map[string]Count
}

// Catalog says what a node is to have. It is a [resource.Catalog].
type Catalog interface {
	Snapshot(definition.Node) *resource.Snapshot
	Filter(name string) *resource.Filter // nil: there is none
}

// Count is how many nodes are to have a filter, and how far they are. Those
// that do not ask for it are not among them.
// Nodes = Running + Pending + Failed.
type Count struct {
	Nodes   int `json:"nodes"`
	Running int `json:"running"` // what is wanted
	Pending int `json:"pending"`
	Failed  int `json:"failed"`
}

// Node is a connected Envoy.
type Node struct {
	ID             string            `json:"id"`
	Cluster        string            `json:"cluster"`
	Peer           string            `json:"peer,omitempty"` // its address
	Labels         map[string]string `json:"labels,omitempty"`
	Protocol       string            `json:"protocol,omitempty"` // "delta" or "sotw"
	ConnectedSince time.Time         `json:"connectedSince"`
	Filters        []NodeFilter      `json:"filters"`
	Listeners      []NodeListener    `json:"listeners,omitempty"`
	NACKs          []NACK            `json:"nacks,omitempty"` // the latest
}

// NodeFilter is a filter as one Envoy has it.
type NodeFilter struct {
	Name    string    `json:"name"`
	Wanted  string    `json:"wanted"`  // version
	Running string    `json:"running"` // version; "": none
	State   State     `json:"state"`
	Reason  string    `json:"reason,omitempty"` // why Wanted does not run
	Since   time.Time `json:"since,omitzero"`   // when Running began to run; zero: not known
}

// State says how far a filter is on one Envoy.
type State string

const (
	Running  State = "running"  // what is wanted runs
	Fetching State = "fetching" // Envoy is getting it ready
	Failed   State = "failed"   // Envoy could not; it is tried again
	Waiting  State = "waiting"  // for something else, which Reason names
	Unasked  State = "unasked"  // no listener of this Envoy has a slot for it: not wanted there
)

// NodeListener is a listener as one Envoy has it.
type NodeListener struct {
	Name    string `json:"name"`
	Wanted  string `json:"wanted"`           // version
	Running string `json:"running"`          // version; "": it is withheld
	Reason  string `json:"reason,omitempty"` // why Wanted does not run
}

// behind says whether an Envoy has another listener than it should.
func (l *NodeListener) behind() bool { return l.Running != l.Wanted }

// NACK is an update that an Envoy refused.
type NACK struct {
	Type    string    `json:"type"` // type URL
	Message string    `json:"message"`
	At      time.Time `json:"at"`
}
