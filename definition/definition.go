// Package definition is what people write: filters, listeners, raw Envoy
// resources and how their changes roll out, as values.
//
// Start with [Parser], which turns one file into its definitions, and [Merge],
// which puts files together and checks what only the whole can tell (names
// used twice, references to nothing). The native kinds are here; those of other
// systems are a [Kind] each, in packages of their own. The package is pure:
// bytes in, values and positioned [Problem]s out; it opens no file and no
// connection.
//
// All values are immutable once returned. Merge keeps the pointers of its
// input, so that later stages can tell by identity what did not change.
package definition

import (
	"fmt"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	wasmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/wasm/v3"
)

// Position is where a definition is written.
type Position struct {
	File string // path as it was given to Parser
	Line int    // from 1; 0: the file as a whole
	// Generation is that of the object of a Kubernetes cluster that it is; 0: it is
	// none.
	Generation int64
	By         string `json:",omitempty"` // who wrote that object, as the cluster has it; "": not known
}

// String is where it is, as problems say it.
func (p Position) String() string {
	if p.Line == 0 {
		return p.File
	}
	return fmt.Sprintf("%s:%d", p.File, p.Line)
}

// Set is a whole and valid set of definitions.
type Set struct {
	Filters   []*Filter     // by name
	Listeners []*Listener   // by name
	Resources []*Resource   // by type URL, then by name
	Rollouts  []*Rollout    // by name
	Tests     []*FilterTest // by filter, then by where they are written

	Withheld []Withheld // listeners among them that wait for a hole to be mended
	// RolloutHoles are Rollouts that never were good. What they may be for has
	// to wait until they are mended; see HeldBy.
	RolloutHoles []*Hole
	// TestHoles are FilterTests that never were good. No new version of a filter that
	// they name is served until they are mended.
	TestHoles []*Hole
}

// Withheld is a listener that is not to be served yet.
type Withheld struct {
	Listener string
	Pos      Position
	By       []*Hole
}

// Filter is an HTTP filter, a Wasm module with its configuration or a Lua
// script, and the listeners it belongs in. Every kind of document that describes
// one (WasmFilter, LuaFilter, Istio's WasmPlugin and TrafficExtension, ...) becomes this.
type Filter struct {
	Name      string // ECDS resource name; unique in a Set
	VariantOf string // filter that this one runs in place of on some routes; "": no document says so of it
	Kind      string // the document's kind, for people: "WasmFilter", ...
	Pos       Position
	Module    Module
	Config    *anypb.Any // plugin configuration; nil: none
	VMConfig  *anypb.Any // VM configuration; nil: none
	RootID    string
	VMID      string
	Attach    Attach
	Order     int // lower is nearer the client; ties by name
	Place     Place
	OnFailure OnFailure // of an access logger: what becomes of its listeners; of a service: of the Envoy's start
	Singleton bool      // of a service: one VM for all of Envoy
	Env       map[string]string
	HostEnv   []string
	Allow     []string // names of host calls; nil: all, unless AllowComputed
	// AllowComputed: the module may use what it imports and exports, as long as that
	// is what was accepted of it or is in Allow. Of a filter that has a module, Allow
	// has just that: every name, also those of WASI and of callbacks.
	AllowComputed bool
	Verify        Verify

	// Wasm, when set, is the filter's Envoy message as it was written (raw
	// TypedExtensionConfig, EnvoyFilter): it is served like this, but for its
	// code, which Module describes. The fields above are filled from it.
	Wasm *wasmv3.Wasm

	// Lua, when set, is what the filter is in place of a module: of Module there is
	// the URL, where the script is in a file, and of the other fields Name to Attach,
	// Order, Place and OnFailure.
	Lua *Lua
}

// Module says where a filter's code is.
type Module struct {
	// URL is absolute (file://, http://, https://, oci://); a relative path in
	// a file has been resolved against that file's folder. Where that folder
	// itself was given by a relative path, it is file:path; see Path.
	URL    string
	SHA256 string // lower-case hex pin; "": not pinned
	Fetch  Fetch

	Pull       PullPolicy // of oci:// and http(s)://
	PullSecret string     // of oci://: a docker config, by name or path; "": the default one
	Signed     *Signed    // of oci://: by whom it must be signed; nil: by nobody
}

// PullPolicy says whether a module that is there already is looked up again.
type PullPolicy string

const (
	PullDefault      PullPolicy = ""             // by the URL: pinned, no; tag latest or none, yes
	PullAlways       PullPolicy = "always"       // whenever the definition is loaded
	PullIfNotPresent PullPolicy = "ifNotPresent" // only where it is not there
)

// Fetch says who downloads a module from its URL.
type Fetch string

const (
	Mirror Fetch = "mirror" // xds-server fetches, verifies and serves it
	Direct Fetch = "direct" // each Envoy fetches it from the URL
)

// OnFailure says what becomes of requests while a filter can't run.
type OnFailure string

const (
	Closed OnFailure = "closed" // they are refused
	Open   OnFailure = "open"   // they pass without the filter
	Reload OnFailure = "reload" // refused; Envoy makes a new VM after a trap
)

// Verify says how much of a module is tried before any Envoy sees it.
type Verify string

const (
	VerifyRun Verify = "run" // dry run with the filter's configuration
	VerifyABI Verify = "abi" // only that it exports a known Proxy-Wasm ABI
)

// Direction is a listener's side: traffic to the workload, from it, or
// through a gateway.
type Direction string

const (
	Any      Direction = "any"
	Inbound  Direction = "inbound"
	Outbound Direction = "outbound"
	Gateway  Direction = "gateway"
)

// Attach selects the listeners a filter belongs in.
type Attach struct {
	Nodes Selector
	// Listeners: one entry is enough to match. None: the filter is attached
	// to nothing (a static listener's slot may still name it).
	Listeners []ListenerMatch
}

// ListenerMatch matches a listener when all that is given matches.
type ListenerMatch struct {
	Direction Direction // Any or "": every direction
	Names     []string  // none: every name
	Ports     []uint32  // none: every port
	Routes    []string  // names of routes that it runs for, and no other; none: every route
}

// Selector selects nodes. All that is given must match; the zero value
// matches every node.
type Selector struct {
	IDs      []string // globs, as path.Match has them
	Clusters []string // globs
	Labels   map[string]string
}

// Node is what an Envoy says of itself, as far as definitions look at it.
type Node struct {
	ID      string
	Cluster string
	Labels  map[string]string // node.metadata.LABELS or node.metadata.labels; and NamespaceLabel
}

// Size is how many bytes of text it has.
func (n Node) Size() int {
	total := len(n.ID) + len(n.Cluster)
	for key, value := range n.Labels {
		total += len(key) + len(value)
	}
	return total
}

// Listener is an HTTP listener with its routes, or one that passes connections on.
type Listener struct {
	Name      string // unique among listeners, raw ones included
	Pos       Position
	Address   string // host:port
	Direction Direction
	Nodes     Selector
	TLS       *TLS // nil: none
	AccessLog AccessLog
	Routes    []Route // in the order of the file
	TCP       *TCP    // nil: it is for HTTP
}

// Resource is an Envoy resource as it was written.
type Resource struct {
	TypeURL string
	Name    string
	Pos     Position
	Message proto.Message // must not be changed
}
