// Package module gets Wasm modules, makes sure that they are what Envoy can
// run, and keeps them by their content.
//
// Start with [Resolver], which turns a set of definitions into one whose
// modules are all in the [Store]. Package serve is where Envoys download them.
package module

import "wasmxds/definition"

// Info is what is known of a module that is in the store.
type Info struct {
	SHA256 string `json:"sha256"` // lower-case hex
	Size   int64  `json:"size"`   // bytes
	ABI    string `json:"abi"`    // proxy_abi_version_* it exports: "0.2.1"

	// Signer has signed it, as was verified; Signed is the ID of what was demanded.
	// Both are "" where nothing was.
	Signer string `json:"signer,omitempty"`
	Signed string `json:"signed,omitempty"`
}

// Set is a set of definitions of which each filter has the best module that
// could be had. Immutable.
type Set struct {
	Filters   []*Filter // by name
	Listeners []*definition.Listener
	Resources []*definition.Resource
	Rollouts  []*definition.Rollout
	Withheld  []definition.Withheld
	// RolloutHoles are as in definition.Set.
	RolloutHoles []*definition.Hole
	Problems     []definition.Problem // of modules; each is at its filter's definition
}

// Filter is a filter as it is to be served. Immutable; the pointer stays the
// same from set to set while nothing about it changes.
type Filter struct {
	// Definition is what to serve: the newest, or, while the newest has a
	// module that can't be had or doesn't run, the last one that was good.
	//
	// Where it is a script in a file, Definition is Wanted with that script.
	Definition *definition.Filter
	// Module is zero where none was ever good (Reason says why), and for a Lua
	// filter, whose script is in Definition. Where Envoy fetches from the module's
	// own URL, there may be no more than its SHA256.
	Module Info

	Wanted *definition.Filter // what the directory says now
	State  State
	Reason string // why Wanted is not (yet) what is served; "" when it is
	Tests  int    // cases of FilterTests that Wanted has passed; 0: none, or they were not run
}

// State says how far Wanted is.
type State string

const (
	Good     State = "good"     // Wanted is served
	Fetching State = "fetching" // its module is on the way
	Failed   State = "failed"   // its module can't be had or can't be used
)

// Ready says whether there is anything to serve for this filter: Envoy takes
// no module without its SHA-256, and a script as it is.
func (f *Filter) Ready() bool {
	if l := f.Definition.Lua; l != nil {
		return l.Script != ""
	}
	return f.Module.SHA256 != ""
}
