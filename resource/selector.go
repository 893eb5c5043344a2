package resource

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"wasmxds/definition"
)

// selector is a definition.Selector with an identity: definitions with
// equivalent selectors share one, from Catalog to Catalog.
type selector struct {
	name string // see canonical
	definition.Selector
}

// canonical returns the same string for equivalent selectors.
func canonical(s definition.Selector) string {
	ids, clusters := slices.Sorted(slices.Values(s.IDs)), slices.Sorted(slices.Values(s.Clusters))
	var b strings.Builder
	fmt.Fprintf(&b, "%q%q", slices.Compact(ids), slices.Compact(clusters))
	for _, k := range slices.Sorted(maps.Keys(s.Labels)) {
		fmt.Fprintf(&b, "%q%q", k, s.Labels[k])
	}
	return b.String()
}

// anchor is a property that a node must have to match a selector.
type anchor struct {
	kind       byte // 'i' for id, 'c' for cluster, 'l' for label
	key, value string
}

// index finds the selectors that match a node without evaluating each of them.
// Those with an anchor are looked up by it. Only those with nothing but globs
// (or nothing at all) are evaluated for every node.
type index struct {
	anchored map[anchor][]*selector
	rest     []*selector
}

func newIndex(selectors []*selector) *index {
	// Of several labels, the rarest is the anchor: "env: prod" may be in all
	// selectors, "app: cart" in one.
	uses := make(map[anchor]int)
	for _, s := range selectors {
		for k, v := range s.Labels {
			uses[anchor{'l', k, v}]++
		}
	}
	x := &index{anchored: make(map[anchor][]*selector)}
	for _, s := range selectors {
		at := anchors(s, uses)
		if len(at) == 0 {
			x.rest = append(x.rest, s)
		}
		for _, a := range at {
			x.anchored[a] = append(x.anchored[a], s)
		}
	}
	return x
}

// anchors returns anchors of which a matching node has at least one, or none if
// there are no such anchors.
func anchors(s *selector, uses map[anchor]int) []anchor {
	if literal(s.IDs) {
		return named('i', s.IDs)
	}
	var rarest anchor
	for k, v := range s.Labels {
		a := anchor{'l', k, v}
		fewer := uses[a] < uses[rarest] || uses[a] == uses[rarest] && k < rarest.key
		if rarest.kind == 0 || fewer {
			rarest = a
		}
	}
	if rarest.kind != 0 {
		return []anchor{rarest}
	}
	if literal(s.Clusters) {
		return named('c', s.Clusters)
	}
	return nil
}

// literal reports whether there are patterns and none is a glob.
func literal(patterns []string) bool {
	return len(patterns) > 0 && !slices.ContainsFunc(patterns, func(p string) bool {
		return strings.ContainsAny(p, `*?[\`)
	})
}

func named(kind byte, names []string) []anchor {
	var as []anchor
	for _, n := range names {
		as = append(as, anchor{kind: kind, key: n})
	}
	return as
}

// match calls found for each selector that matches n. It may call found twice
// for a selector that names the same id twice.
func (x *index) match(n definition.Node, found func(*selector)) {
	try := func(ss []*selector) {
		for _, s := range ss {
			if s.Matches(n) {
				found(s)
			}
		}
	}
	try(x.rest)
	try(x.anchored[anchor{'i', n.ID, ""}])
	try(x.anchored[anchor{'c', n.Cluster, ""}])
	for k, v := range n.Labels {
		try(x.anchored[anchor{'l', k, v}])
	}
}
