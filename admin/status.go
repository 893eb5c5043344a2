package admin

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"
	"time"

	"wasmxds/definition"
	"wasmxds/module"
	"wasmxds/resource"
	"wasmxds/rollout"
	"wasmxds/signal/recording"
	"wasmxds/xds"
)

// Status is the status document, GET /api/v1/status.
type Status struct {
	Version     string        `json:"version"` // of xds-server
	Ready       bool          `json:"ready"`   // the first whole set has been published
	Definitions Definitions   `json:"definitions"`
	Envoys      xds.NodeCount `json:"envoys"`
	Filters     []Filter      `json:"filters"` // by name
	// Rollouts are the changes that are in progress, or were stopped.
	// RolledBack are the definitions for which the files differ from what is in
	// force, because of a rollback.
	Rollouts   []Rollout            `json:"rollouts,omitempty"`
	RolledBack []rollout.HeldStatus `json:"rolledBack,omitempty"`
	Recordings []recording.State    `json:"recordings,omitempty"` // requests of Envoys that are being recorded
	Replicas   []Replica            `json:"replicas,omitempty"`   // servers of a shared state, by id
	TurnedAway []xds.TurnedAway     `json:"turnedAway,omitempty"` // clients that were denied a stream by this server within the last hour, the newest first
	Nodes      []xds.NodeStatus     `json:"nodes"`                // by id; one page of them
	// Next is the ?after= of the next page of nodes; "" on the last.
	Next string `json:"next,omitempty"`
}

// Definitions is the state of the definitions.
type Definitions struct {
	Loaded   int                  `json:"loaded"` // number of definitions in use
	Files    int                  `json:"files"`
	Changed  time.Time            `json:"changed,omitzero"`
	Errors   []definition.Problem `json:"errors"`
	Warnings []definition.Problem `json:"warnings,omitempty"`
	Withheld []Withheld           `json:"withheld,omitempty"`
	Held     *Held                `json:"held,omitempty"` // removal that is held back; Errors has what to do
}

// Withheld is a listener that is not served, because documents that can't be
// read may be filters for it. Errors has what to do.
type Withheld struct {
	Listener string `json:"listener"`
	By       []Hole `json:"by"`
}

// Hole is a document with errors, as far as it can be read.
type Hole struct {
	File string `json:"file"`
	Line int    `json:"line,omitempty"`
	Kind string `json:"kind,omitempty"`
	Name string `json:"name,omitempty"`
	Why  string `json:"why"`
}

// Held is a removal that is held back, with the number of definitions to be
// removed and in force.
type Held struct {
	ID          string `json:"id"` // to promote it by
	Definitions int    `json:"definitions"`
	Of          int    `json:"of"`
}

// Filter is a filter in the whole fleet.
type Filter struct {
	Name    string `json:"name"`
	SHA256  string `json:"sha256"`  // of the served module or script; "" if Envoys fetch a module that is not pinned
	Version string `json:"version"` // served version, which nodes call wanted
	xds.FilterCount

	// VariantOf is the filter that this one replaces on the Routes; "": none.
	// For any other filter, Routes are those on which it differs or does not
	// run.
	VariantOf string        `json:"variantOf,omitempty"`
	Routes    []FilterRoute `json:"routes,omitempty"`

	Kind string `json:"kind"` // kind of the document
	File string `json:"file"`
	Line int    `json:"line,omitempty"`
	// Generation is that of the Kubernetes object, if the document is one.
	Generation int64  `json:"generation,omitempty"`
	By         string `json:"by,omitempty"`     // the field manager that last wrote that object
	Script     bool   `json:"script,omitempty"` // it is a Lua script, not a module
	URL        string `json:"url"`              // of the served module, or the file of the script; "": the script is in the definition
	Size       int64  `json:"size,omitempty"`   // size of the module or script in bytes
	ABI        string `json:"abi,omitempty"`
	Signer     string `json:"signer,omitempty"` // who has signed the module, if a signature is required
	// Allow is what the module may use; null: everything. Computed is whether
	// its definition has allow: computed. Wants is the minimum that the module
	// needs.
	Allow    []string      `json:"allow,omitempty"`
	Computed bool          `json:"computed,omitempty"`
	Wants    *module.Wants `json:"wants,omitempty"`
	State    module.State  `json:"state"`            // of its module
	Reason   string        `json:"reason,omitempty"` // why the directory's version is not served
}

// Rollout summarizes a change that is in progress or was stopped. [Rollouts]
// has the details.
type Rollout struct {
	ID      string        `json:"id"`
	Title   string        `json:"title"`
	State   rollout.State `json:"state"`
	Words   string        `json:"words"`
	Wave    int           `json:"wave"`              // from 1; 0: none has started
	Waves   int           `json:"waves"`             // number of waves
	Filters []string      `json:"filters,omitempty"` // names of the filters that it changes
}

// Quorum determines which Envoys [Status.Done] requires.
type Quorum struct {
	Min         int  // minimum number of connected Envoys; for one filter, of those that should have it
	WithoutAway bool // do not wait for Envoys that are away and awaited
}

// met reports whether enough Envoys are connected, for one filter, or for all
// if name is "".
func (q Quorum) met(s *Status, name string) bool {
	connected, awaited := s.Concerned(name)
	return connected >= q.Min && (q.WithoutAway || awaited == 0)
}

// Concerned returns the number of connected Envoys that should have a filter,
// and of those that are away and awaited. If name is "", it counts all Envoys.
func (s *Status) Concerned(name string) (connected, awaited int) {
	if name == "" {
		return s.Envoys.Connected, s.Envoys.Awaited
	}
	for _, f := range s.Filters {
		if f.Name == name {
			return f.Nodes + f.Ready, f.Away
		}
	}
	return 0, 0
}

// Done reports whether all Envoys run the directory's version of one filter, or
// of all if name is "". If version is not "", it must be a prefix of the
// filter's version or its module's sha256.
func (s *Status) Done(name, version string, q Quorum) bool {
	if !s.Ready || !q.met(s, name) {
		return false
	}
	files := map[string]bool{}
	found := false
	for _, f := range s.Filters {
		if name != "" && f.Name != name {
			continue
		}
		found, files[f.File] = true, true
		if f.State != module.Good || f.Running != f.Nodes || !f.Is(version) {
			return false
		}
	}
	if name == "" && s.Envoys.Behind > 0 {
		return false
	}
	for _, p := range s.Definitions.Errors {
		if name == "" || files[p.File] {
			return false
		}
	}
	return (found || name == "") && len(s.Unfinished(name)) == 0 && !s.rolledBack(name)
}

// Unfinished returns the changes in progress or stopped of one filter, or all
// if name is "".
func (s *Status) Unfinished(name string) []Rollout {
	var all []Rollout
	for _, r := range s.Rollouts {
		if name == "" || slices.Contains(r.Filters, name) {
			all = append(all, r)
		}
	}
	return all
}

// Stopped returns a change that was stopped, and does not continue by itself.
// It returns nil if there is none, or if a newer change may follow, whose
// modules are being fetched.
func (s *Status) Stopped(name string) *Rollout {
	for _, f := range s.Filters {
		if (name == "" || f.Name == name) && f.State == module.Fetching {
			return nil
		}
	}
	for _, r := range s.Unfinished(name) {
		if r.State == rollout.Stopped {
			return &r
		}
	}
	return nil
}

// rolledBack reports whether the files differ from what is in force because of
// a rollback.
func (s *Status) rolledBack(name string) bool {
	return slices.ContainsFunc(s.RolledBack, func(h rollout.HeldStatus) bool {
		return name == "" || h.Kind == filterKind && h.Name == name
	})
}

// filterKind is the kind of filters in package rollout.
const filterKind = "filter"

// Is reports whether version is a prefix of this filter's version or its
// module's sha256.
func (f *Filter) Is(version string) bool {
	return strings.HasPrefix(f.Version, version) || strings.HasPrefix(f.SHA256, version)
}

// status returns the document without nodes.
func (s *Server) status() Status { return s.statusOf(s.all) }

func (s *Server) statusOf(v *sight) Status {
	st := Status{
		Version:     s.opts.Version,
		Definitions: Definitions{Errors: []definition.Problem{}},
		Filters:     []Filter{},
		Nodes:       []xds.NodeStatus{},
	}
	counts := v.summary()
	st.Envoys = counts.envoys
	st.Replicas, st.Definitions.Warnings = s.replicas()
	recordings, told := s.recordings()
	st.Recordings, st.Definitions.Warnings = recordings, append(st.Definitions.Warnings, told...)
	if s.opts.Sources.TurnedAway != nil {
		st.TurnedAway = s.opts.Sources.TurnedAway()
	}
	l := s.loaded.Load()
	if l == nil {
		return st
	}
	d := &st.Definitions
	d.Files, d.Changed = l.Files, l.Changed
	if l.Held.Definitions > 0 {
		d.Held = &l.Held
	}
	for _, p := range l.Problems {
		if p.Warning {
			d.Warnings = append(d.Warnings, p)
		} else {
			d.Errors = append(d.Errors, p)
		}
	}
	if l.Set == nil {
		return st
	}
	st.Ready = true
	for _, w := range l.Set.Withheld {
		out := Withheld{Listener: w.Listener}
		for _, h := range w.By {
			out.By = append(out.By, Hole{File: h.Pos.File, Line: h.Pos.Line, Kind: h.Kind, Name: h.Name, Why: h.Cause.Error()})
		}
		d.Withheld = append(d.Withheld, out)
	}
	base := l.inForce()
	d.Loaded = len(base.Filters) + len(base.Listeners) + len(base.Resources) + len(l.Set.Rollouts)
	wanted := make(map[string]*module.Filter, len(l.Set.Filters))
	for _, f := range l.Set.Filters {
		wanted[f.Definition.Name] = f
	}
	add := func(f *module.Filter) {
		name := f.Definition.Name
		of := cmp.Or(wanted[name], f) // the directory may no longer have it
		shown := l.filter(f, of, counts.filters[name])
		shown.Wants = s.wants(shown.SHA256)
		shown.VariantOf, shown.Routes = f.Definition.VariantOf, filterRoutes(f.Definition, base.Listeners)
		st.Filters = append(st.Filters, shown)
		delete(wanted, name)
	}
	for _, f := range base.Filters {
		add(f)
	}
	for _, f := range l.Set.Filters { // those that are not everywhere yet
		if wanted[f.Definition.Name] != nil {
			add(f)
		}
	}
	slices.SortStableFunc(st.Filters, func(a, b Filter) int { return strings.Compare(a.Name, b.Name) })
	return st
}

// filter returns the status of f, which is served, compared to the directory's
// version.
func (l *Loaded) filter(f, wanted *module.Filter, n xds.FilterCount) Filter {
	at := cmp.Or(wanted.Wanted, wanted.Definition)
	size := f.Module.Size
	if f.Definition.Lua != nil {
		size = int64(len(f.Definition.Lua.Script))
	}
	version := l.version(f.Definition.Name)
	if f.Definition.Serves() && f.Ready() { // it is never sent to Envoys
		_, version = resource.ServiceConfig(f)
	}
	return Filter{
		Name:        f.Definition.Name,
		SHA256:      sha256Of(f),
		Version:     version,
		FilterCount: n,
		Kind:        at.Kind,
		File:        at.Pos.File,
		Line:        at.Pos.Line,
		Generation:  at.Pos.Generation,
		By:          at.Pos.By,
		URL:         definition.MaskURL(f.Definition.Module.URL),
		Script:      f.Definition.Lua != nil,
		Size:        size,
		ABI:         f.Module.ABI,
		Signer:      f.Module.Signer,
		Allow:       f.Definition.Allow,
		Computed:    f.Definition.AllowComputed,
		State:       wanted.State,
		Reason:      wanted.Reason,
	}
}

// wants returns the Wants of a module, or nil if the module is not here.
func (s *Server) wants(sha256 string) *module.Wants {
	if s.opts.Modules == nil || sha256 == "" {
		return nil
	}
	w, err := s.opts.Modules.Wants(sha256)
	if err != nil {
		return nil // Envoys fetch it from elsewhere
	}
	return &w
}

func sha256Of(f *module.Filter) string {
	if f.Module.SHA256 != "" {
		return f.Module.SHA256
	}
	if l := f.Definition.Lua; l != nil && l.Script != "" {
		sum := sha256.Sum256([]byte(l.Script))
		return hex.EncodeToString(sum[:])
	}
	return f.Definition.Module.SHA256 // pinned, and fetched by Envoys directly
}
