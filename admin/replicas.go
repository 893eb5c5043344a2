package admin

import (
	"cmp"

	"wasmxds/definition"
)

// Replica is a server of a shared state.
type Replica struct {
	ID      string `json:"id"`
	Address string `json:"address"` // address for other servers
	Self    bool   `json:"self,omitempty"`
	Lives   bool   `json:"lives"`
	Stand   string `json:"stand"`             // whether it leads, follows, or is on its own
	Trouble string `json:"trouble,omitempty"` // problem with it
	Hint    string `json:"hint,omitempty"`    // what to do about that, unless it can't be reached
}

// replicas returns the servers, and warnings about them.
func (s *Server) replicas() (all []Replica, warnings []definition.Problem) {
	if s.opts.Replicas == nil {
		return nil, nil
	}
	all = s.opts.Replicas()
	for _, r := range all {
		if r.Trouble != "" {
			warnings = append(warnings, definition.Problem{File: "replica " + cmp.Or(r.ID, "?"), Message: r.Trouble, Warning: true,
				Hint: cmp.Or(r.Hint, "look at that server, and whether others reach it at "+r.Address+" (--peer-listen, --peer-address)")})
		}
	}
	return all, warnings
}
