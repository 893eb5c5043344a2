// Package identity decides who may be what: which node an Envoy may say that
// it is, given the certificate that it showed, and who may operate the fleet.
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
// What no rule allows is refused. Of names and URIs, * stands for one or more
// characters but no separator ("." of names, "/" of URIs), and a URI may end in
// /** for everything below. IDs, clusters and labels are globs as path.Match
// has them.
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

// Policy says who may be what. The zero value refuses everyone.
type Policy struct {
	name      string
	rules     []rule
	operators []subject
}

// rule allows what is written in it to those it is for.
type rule struct {
	line     int
	who      []subject
	ids      []string
	clusters []string // nil: any
	labels   []label  // nil: any
}

// label is a label that may be claimed. Both are globs.
type label struct {
	key    string
	values []string
}

// Allow is nil when whoever has these identities (see [Of]) may be node. The
// error says what it may be instead, in words for the log and for whoever
// runs the client.
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

// Operator gives the identity (see [Of]) by which somebody may operate the
// fleet; "": none of them is an operator's.
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

// allow is nil when node is within the rule; found is what the wildcards of
// who stand for.
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

// matches says whether one of the globs, which were checked when they were
// read, matches.
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
