// Package sourcetest provides documents for tests of sources, and summaries of
// sets.
package sourcetest

import (
	"fmt"
	"hash/crc32"
	"slices"
	"strings"

	"wasmxds/definition"
)

// FilterNames returns the names of filters, with their rootID if set.
func FilterNames(set *definition.Set) string {
	if set == nil {
		return "unknown"
	}
	var names []string
	for _, f := range set.Filters {
		if f.RootID != "" {
			names = append(names, f.Name+"="+f.RootID)
		} else {
			names = append(names, f.Name)
		}
	}
	return strings.Join(names, " ")
}

// Withheld returns the names of the withheld listeners.
func Withheld(set *definition.Set) string {
	var names []string
	for _, w := range set.Withheld {
		names = append(names, w.Listener)
	}
	return strings.Join(names, " ")
}

// Prefixes returns the first route of each listener, to identify which version
// is served.
func Prefixes(set *definition.Set) string {
	var all []string
	for _, l := range set.Listeners {
		if l.TCP != nil {
			all = append(all, l.Name+":tcp")
			continue
		}
		all = append(all, l.Name+l.Routes[0].Prefix)
	}
	return strings.Join(all, " ")
}

// Filter returns a document with one filter.
func Filter(name, rootID string) string {
	return fmt.Sprintf("kind: WasmFilter\nname: %s\nmodule: {url: /modules/%s.wasm}\nrootID: %q\n", name, name, rootID)
}

// Listener returns a document with one listener. Each name has its own port.
func Listener(name string) string {
	port := 1024 + crc32.ChecksumIEEE([]byte(name))%60000
	return fmt.Sprintf("kind: Listener\nname: %s\naddress: 127.0.0.1:%d\nroutes:\n- {prefix: /, upstream: \"127.0.0.1:9000\"}\n", name, port)
}

// Routed returns the same with another first route.
func Routed(name, prefix string) string {
	return strings.Replace(Listener(name), "prefix: /", "prefix: /"+prefix, 1)
}

// Attached returns a filter that is attached to these listeners.
func Attached(name, rootID, listeners string) string {
	return Filter(name, rootID) + "attach: {listeners: [" + listeners + "]}\n"
}

// ByName returns a filter, or nil if there is none of that name.
func ByName(set *definition.Set, name string) *definition.Filter {
	i := slices.IndexFunc(set.Filters, func(f *definition.Filter) bool { return f.Name == name })
	if i < 0 {
		return nil
	}
	return set.Filters[i]
}
