// Package module fetches Wasm modules, ensures that Envoy can run them, and
// stores them by their content.
//
// Start with [Resolver], which turns a set of definitions into one whose
// modules are all in the [Store]. Package serve is the server that Envoys
// download them from.
package module

import "wasmxds/definition"

// Info describes a module in the store.
type Info struct {
	SHA256 string `json:"sha256"` // lower-case hex
	Size   int64  `json:"size"`   // in bytes
	ABI    string `json:"abi"`    // of the exported proxy_abi_version_*: "0.2.1"

	// Signer is the verified signer, and Signed the ID of the requirement that
	// was verified. Both are "" if no signature was required.
	Signer string `json:"signer,omitempty"`
	Signed string `json:"signed,omitempty"`
}

// Set is a set of definitions in which each filter has the best available
// module. It is immutable.
type Set struct {
	Filters   []*Filter // by name
	Listeners []*definition.Listener
	Resources []*definition.Resource
	Rollouts  []*definition.Rollout
	Tests     []*definition.FilterTest // by filter
	Withheld  []definition.Withheld
	// RolloutHoles are as in definition.Set.
	RolloutHoles []*definition.Hole
	Problems     []definition.Problem // with modules; each is at its filter's definition
}

// Filter is a filter to serve. It is immutable, and its pointer stays the same
// from set to set as long as nothing about it changes.
type Filter struct {
	// Definition is what to serve: the newest or, as long as the module of the
	// newest can't be fetched or doesn't run, the last good one.
	//
	// For a script in a file, Definition is Wanted with that script.
	Definition *definition.Filter
	// Module is zero if no version was ever good (see Reason), and for a Lua
	// filter, whose script is in Definition. If Envoy fetches from the module's
	// own URL, it may have only a SHA256.
	Module Info

	Wanted *definition.Filter // the current definition
	State  State
	Reason string // why Wanted is not (yet) served; "" if it is
	Tests  int    // number of FilterTest cases that Wanted has passed; 0: none, or not run
}

// State is the state of Wanted.
type State string

const (
	Good     State = "good"     // Wanted is served
	Fetching State = "fetching" // its module is being fetched
	Failed   State = "failed"   // its module can't be fetched or used
)

// Ready reports whether there is anything to serve for this filter. Envoy
// accepts no module without its SHA-256, and a script as it is.
func (f *Filter) Ready() bool {
	if l := f.Definition.Lua; l != nil {
		return l.Script != ""
	}
	return f.Module.SHA256 != ""
}
