package admin

import (
	"time"

	"wasmxds/definition"
	"wasmxds/resource"
)

// Fleet is what admin asks of the server that Envoys are connected to.
type Fleet interface {
	// Nodes gives up to limit nodes, connected or away, in the order of their
	// ids, from the one after the id given, and what to ask for next ("": no
	// more).
	Nodes(after string, limit int) (nodes []Node, next string)
	// Node gives a node by its id.
	Node(id string) (Node, bool)
	// Generation is another whenever anything may have changed of what the
	// others tell. What they tell is of the generation asked for before, or
	// newer.
	Generation() uint64
	// Summary counts nodes, in all and by filter name.
	Summary() (Envoys, map[string]Count)
}

// Catalog says what a node is to have. It is a [resource.Catalog].
type Catalog interface {
	Snapshot(definition.Node) *resource.Snapshot
	Filter(name string) *resource.Filter // nil: there is none
}

// Envoys is how many nodes there are.
type Envoys struct {
	Connected int `json:"connected"`
	Behind    int `json:"behind"`  // of these: those that lack a listener, route, cluster or the like as it is wanted
	Away      int `json:"away"`    // not connected, but within the last hour
	Awaited   int `json:"awaited"` // of these: those that may still come back by themselves
}

// Count is how many connected nodes are to have a filter, and how far they are.
// Those that do not ask for it are not among them.
// Nodes = Running + Pending + Failed.
type Count struct {
	Nodes   int `json:"nodes"`
	Running int `json:"running"` // what is wanted
	Pending int `json:"pending"`
	Failed  int `json:"failed"`
	Away    int `json:"away,omitempty"` // more that are to have it, and are awaited
}

// Node is an Envoy that is connected, or was within the last hour.
type Node struct {
	ID             string            `json:"id"`
	Cluster        string            `json:"cluster"`
	Peer           string            `json:"peer,omitempty"` // its address
	Labels         map[string]string `json:"labels,omitempty"`
	Protocol       string            `json:"protocol,omitempty"` // "delta" or "sotw"
	ConnectedSince time.Time         `json:"connectedSince,omitzero"`
	AwaySince      time.Time         `json:"awaySince,omitzero"` // when it was last connected; zero: it is
	Awaited        bool              `json:"awaited,omitempty"`  // it is away, and may still come back by itself
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
	Away     State = "away"     // not known: the Envoy is not connected
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
