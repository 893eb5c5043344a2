package conformance

import (
	"time"

	"wasmxds/e2e/wasmtest"
)

// Case is a module and what goes through it.
type Case struct {
	File, Name string
	Line       int
	Differs    string // why the host does not do as Envoy; "": it does

	Module   []byte
	Foreign  bool   // the module is a file, which somebody else made
	RootID   string // of the plugin
	Policy   string // of a plugin that fails: fail_closed, fail_open, fail_reload
	Config   string // of the plugin
	VMConfig string
	Allow    []string // host calls and callbacks; nil: all
	Network  bool
	Apart    bool // it ends Envoy, and gets one of its own
	Buffer   int  // bytes that a connection may hold; 0: as many as Envoy has it

	Streams  []Stream
	Callouts []Callout

	want  map[string]string // by version of Envoy; "" is the newest
	input []string          // the lines above the dashes
	steps map[int]step
}

// Stream is a request with its answer, or a connection.
type Stream struct {
	Request, Response Message
	Connection        []Action
}

// Message is a request or a response: pseudo headers first.
type Message struct {
	Headers  [][2]string
	Body     [][]byte
	Trailers [][2]string
}

// Action is what a peer of a connection does.
type Action struct {
	Upstream bool
	Data     []byte
	Close    bool
}

// Callout is how a cluster that is called from a filter answers.
type Callout struct {
	Cluster string // as the module names it
	Message
	After       time.Duration
	Reset, Hang bool
}

// Upstream is the cluster that requests go to.
func (c *Case) Upstream() string { return c.Name + ".upstream" }

// Want is what the case comes to with an Envoy.
func (c *Case) Want(version string) string {
	if want, found := c.want[version]; found {
		return want
	}
	return c.want[""]
}

// step is one of a script, for people.
type step struct {
	text string // without what the host fills in
	outs []out
}

// out is something that the host fills in, and how it is shown.
type out struct {
	kind wasmtest.ArgKind
	as   string
}
