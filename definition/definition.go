// Package definition has the types of what people write: filters, listeners,
// raw Envoy resources and how their changes roll out.
//
// Start with [Parser], which parses one file into its definitions, and [Merge],
// which joins files and checks what only the whole can show (names used twice,
// references to nothing). The native kinds are here. Those of other systems are
// each a [Kind], in packages of their own. The package is pure: it takes bytes,
// returns values and positioned [Problem]s, and opens no file and no
// connection.
//
// All values are immutable once returned. Merge keeps the pointers of its
// input, so that later stages can recognize by identity what did not change.
package definition

import (
	"fmt"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	wasmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/wasm/v3"
)

// Position is where a definition is written.
type Position struct {
	File string // path as given to Parser
	Line int    // from 1; 0: the file as a whole
	// Generation is metadata.generation of a Kubernetes object. It is 0 for a
	// definition from any other source.
	Generation int64
	By         string `json:",omitempty"` // the field manager that last wrote that object; "": not known
}

// String returns the position in the form that problems use.
func (p Position) String() string {
	if p.Line == 0 {
		return p.File
	}
	return fmt.Sprintf("%s:%d", p.File, p.Line)
}

// Set is a complete and valid set of definitions.
type Set struct {
	Filters   []*Filter     // by name
	Listeners []*Listener   // by name
	Resources []*Resource   // by type URL, then by name
	Rollouts  []*Rollout    // by name
	Tests     []*FilterTest // by filter, then by position

	Withheld []Withheld // listeners in the set that wait until a hole is mended
	// RolloutHoles are Rollouts that were never valid. The changes that they
	// may apply to wait until they are mended; see HeldBy.
	RolloutHoles []*Hole
	// TestHoles are FilterTests that were never valid. No new version of a
	// filter that they name is served until they are mended.
	TestHoles []*Hole
}

// Withheld is a listener that is not served yet.
type Withheld struct {
	Listener string
	Pos      Position
	By       []*Hole
}

// Filter is a Wasm module with its configuration or a Lua script, and the
// listeners that it belongs in. Every kind of document that describes a filter
// (WasmFilter, LuaFilter, Istio's WasmPlugin and TrafficExtension, ...) is
// converted to this type.
type Filter struct {
	Name      string // ECDS resource name; unique in a Set
	VariantOf string // filter that this one replaces on some routes; "": no document says so
	Kind      string // the document's kind, for people: "WasmFilter", ...
	Pos       Position
	Module    Module
	Config    *anypb.Any // plugin configuration; nil: none
	// ConfigSecret is where Config comes from if it is secret; nil: it is not.
	// Only Envoys, the state and other replicas may then get its value.
	ConfigSecret *SecretKey `json:",omitempty"`
	VMConfig     *anypb.Any // VM configuration; nil: none
	RootID       string
	VMID         string
	Attach       Attach
	Order        int // lower is nearer the client; ties are broken by name
	Place        Place
	OnFailure    OnFailure // for an access logger: what becomes of its listeners; for a service: of the Envoy's start
	Singleton    bool      // for a service: one VM for all of Envoy
	Env          map[string]string
	HostEnv      []string
	Allow        []string // names of host calls; nil: all, unless AllowComputed
	// AllowComputed limits the module to what it imports and exports, as far as
	// that was accepted earlier or is in Allow. For a filter that has a module,
	// Allow then lists exactly that: every name, including those of WASI and of
	// callbacks.
	AllowComputed bool
	Verify        Verify

	// Wasm, when set, is the filter's Envoy message as it was written (raw
	// TypedExtensionConfig, EnvoyFilter). It is served unchanged, except for
	// its code, which Module describes. The fields above are filled from it.
	Wasm *wasmv3.Wasm

	// Lua, when set, replaces the module. Module then has only the URL, if the
	// script is in a file. Of the other fields, Name to Attach, Order, Place
	// and OnFailure apply.
	Lua *Lua
}

// Module describes where a filter's code is.
type Module struct {
	// URL is absolute (file://, http://, https://, oci://). A relative path in
	// a file has been resolved against the folder of that file. If that folder
	// was itself given as a relative path, URL is file:path; see Path.
	URL    string
	SHA256 string // pinned hash, in lower-case hex; "": not pinned
	Fetch  Fetch

	Pull       PullPolicy // for oci:// and http(s)://
	PullSecret string     // for oci://: a docker config, by name or path; "": the default one
	Signed     *Signed    // for oci://: who must have signed it; nil: nobody
}

// PullPolicy determines whether a module that is already present is looked up
// again.
type PullPolicy string

const (
	PullDefault      PullPolicy = ""             // depends on the URL: not if pinned; with tag latest or no tag, yes
	PullAlways       PullPolicy = "always"       // whenever the definition is loaded
	PullIfNotPresent PullPolicy = "ifNotPresent" // only if it is not present
)

// Fetch determines who downloads a module from its URL.
type Fetch string

const (
	Mirror Fetch = "mirror" // xds-server fetches, verifies and serves it
	Direct Fetch = "direct" // each Envoy fetches it from the URL
)

// OnFailure determines what happens to requests while a filter can't run.
type OnFailure string

const (
	Closed OnFailure = "closed" // they fail
	Open   OnFailure = "open"   // they pass without the filter
	Reload OnFailure = "reload" // they fail; Envoy creates a new VM after a trap
)

// Verify determines how a module is tested before any Envoy sees it.
type Verify string

const (
	VerifyRun Verify = "run" // dry run with the filter's configuration
	VerifyABI Verify = "abi" // only that it exports a known Proxy-Wasm ABI
)

// Direction is the direction of a listener's traffic: to the workload, from it,
// or through a gateway.
type Direction string

const (
	Any      Direction = "any"
	Inbound  Direction = "inbound"
	Outbound Direction = "outbound"
	Gateway  Direction = "gateway"
)

// Attach selects the listeners that a filter belongs in.
type Attach struct {
	Nodes Selector
	// Listeners selects a listener if any entry matches. If it is empty, the
	// filter is attached to no listener (though a raw listener's slot may still
	// name it).
	Listeners []ListenerMatch
}

// ListenerMatch matches a listener if all criteria that are set match.
type ListenerMatch struct {
	Direction Direction // Any or "": either direction
	Names     []string  // empty: every name
	Ports     []uint32  // empty: every port
	Routes    []string  // names of the only routes that it runs for; empty: every route
}

// Selector selects nodes. All criteria that are set must match; the zero value
// matches every node.
type Selector struct {
	IDs      []string // globs, in the syntax of path.Match
	Clusters []string // globs
	Labels   map[string]string
}

// Node is the part of what an Envoy reports about itself that definitions
// select by.
type Node struct {
	ID      string
	Cluster string
	Labels  map[string]string // node.metadata.LABELS or node.metadata.labels, and NamespaceLabel
}

// Size returns the length of all strings in n, in bytes.
func (n Node) Size() int {
	total := len(n.ID) + len(n.Cluster)
	for key, value := range n.Labels {
		total += len(key) + len(value)
	}
	return total
}

// Listener is an HTTP listener with its routes, or a TCP listener that forwards
// connections.
type Listener struct {
	Name      string // unique among listeners, including raw ones
	Pos       Position
	Address   string // host:port
	Direction Direction
	Nodes     Selector
	TLS       *TLS // nil: none
	AccessLog AccessLog
	Routes    []Route // in the order of the file
	TCP       *TCP    // nil: an HTTP listener
}

// Resource is a raw Envoy resource.
type Resource struct {
	TypeURL string
	Name    string
	Pos     Position
	Message proto.Message // must not be modified
}
