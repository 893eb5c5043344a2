// Package identity decides which node an Envoy may be, given its certificate,
// and who may operate the fleet.
//
// Start with [Load], which reads a [Policy] from a file like this:
//
//	rules:
//	- who:                            # any of these
//	  - spiffe://example.com/edge/*   # a URI of the certificate; * is one step of the path
//	  - "*.edge.example.com"          # a DNS name; * is one label
//	  ids: ["$1", "$1-*"]             # node IDs; $1 is what the first * was
//	  clusters: [edge]                # node clusters; not given: any
//	  labels: {app: shop, zone: "*"}  # labels, all others are refused; not given: any
//	operators:                        # who may pause, promote, stop and roll back changes; not given: nobody
//	- spiffe://example.com/ops/*
//
// What no rule allows is denied. In names and URIs, * matches one or more
// characters except the separator ("." in names, "/" in URIs), and a URI may
// end in /** to match everything below. IDs, clusters and labels are globs in
// the syntax of path.Match.
//
// A Policy is immutable and safe for concurrent use.
package identity

import (
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"wasmxds/definition"
)

// Policy determines which identities may be which nodes. The zero value denies
// everything.
type Policy struct {
	name      string
	rules     []rule
	operators []subject
}

// rule allows its subjects to be certain nodes.
type rule struct {
	line     int
	who      []subject
	ids      []string
	clusters []string // nil: any
	labels   []label  // nil: any
}

// label is a label that is allowed. Key and values are globs.
type label struct {
	key    string
	values []string
}

// Allow returns nil if a client with these identities (see [Of]) may be node.
// Otherwise, the error says which nodes it may be, for the log and the operator
// of the client.
func (p *Policy) Allow(identities []string, node definition.Node) error {
	if len(identities) == 0 {
		return errors.New("the client showed no certificate with a URI or DNS name")
	}
	var refused []error
	for _, r := range p.rules {
		for _, id := range identities {
			for _, s := range r.who {
				found, ok := s.match(id)
				if !ok {
					continue
				}
				err := r.allow(found, node)
				if err == nil {
					return nil
				}
				refused = append(refused, fmt.Errorf("%s %w (%s:%d)", id, err, p.name, r.line))
			}
		}
	}
	if len(refused) > 0 {
		return errors.Join(refused...)
	}
	return fmt.Errorf("no rule of %s is for %s", p.name, strings.Join(identities, ", "))
}

// Operator returns the first identity (see [Of]) that may operate the fleet, or
// "" if there is none.
func (p *Policy) Operator(identities []string) string {
	for _, id := range identities {
		for _, s := range p.operators {
			if _, ok := s.match(id); ok {
				return id
			}
		}
	}
	return ""
}

// allow returns nil if the rule allows node. The parameter found has the text
// that the wildcards of who match.
func (r *rule) allow(found []string, node definition.Node) error {
	if ids := expand(r.ids, found); !matches(ids, node.ID) {
		return fmt.Errorf("may not be node %q, only %s", node.ID, list(ids))
	}
	if clusters := expand(r.clusters, found); clusters != nil && !matches(clusters, node.Cluster) {
		return fmt.Errorf("may not be in cluster %q, only in %s", node.Cluster, list(clusters))
	}
	if r.labels == nil {
		return nil
	}
	for _, key := range slices.Sorted(maps.Keys(node.Labels)) {
		if err := r.label(found, key, node.Labels[key]); err != nil {
			return err
		}
	}
	return nil
}

func (r *rule) label(found []string, key, value string) error {
	var allowed []string
	for _, l := range r.labels {
		if matches([]string{l.key}, key) {
			allowed = append(allowed, expand(l.values, found)...)
		}
	}
	switch {
	case len(allowed) == 0:
		return fmt.Errorf("may not have a label %s", key)
	case !matches(allowed, value):
		return fmt.Errorf("may not have the label %s=%q, only %s", key, value, list(allowed))
	}
	return nil
}

// matches reports whether one of the globs matches. They were checked when they
// were parsed.
func matches(globs []string, text string) bool {
	return slices.ContainsFunc(globs, func(glob string) bool {
		ok, err := path.Match(glob, text)
		return ok && err == nil
	})
}

func list(globs []string) string {
	if len(globs) == 1 {
		return globs[0]
	}
	return "one of " + strings.Join(globs, ", ")
}
