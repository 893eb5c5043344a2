package swap

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"weak"

	"wasmxds/resource"
)

// item is one resource as an Envoy has it or is to have it.
type item struct {
	name    string
	version string             // without the attempt
	res     *resource.Resource // nil: told by a reconnecting Envoy, bytes unknown
	filter  *resource.Filter   // of an ECDS resource that is a Wasm filter
	slots   []string           // of a listener; of the primer: twins
	static  []string           // of a listener: its slots for what is sent as it is written
	written bool               // an ECDS resource that is sent as it is written; Envoy may refuse it
}

func (i item) is(o item) bool { return i.name == o.name && i.version == o.version }

// View is what an Envoy has of one type. It is immutable and shared by the
// machines whose Envoys have the same.
type View struct {
	items []item // by name

	text func() string // see version

	mu    sync.Mutex
	steps []weak.Pointer[Response] // what is being sent to machines at this view

	// What was found out of it last, for all machines that have it.
	whole    atomic.Pointer[whole]    // of all types but ECDS
	unprimed atomic.Pointer[unprimed] // of ECDS, as the following
	behind   atomic.Pointer[behind]
	fills    atomic.Pointer[View]  // listeners whose every slot has a content here
	named    atomic.Pointer[names] // subscriptions that name all of it
}

func newView(items []item) *View {
	return &View{items: items, text: sync.OnceValue(func() string { return describe(items) })}
}

// maxText bounds a version that spells out its items, in bytes.
const maxText = 4096

// find is a binary search; it is written out because it is what a machine does
// most.
func (v *View) find(name string) (item, bool) {
	lo, hi := 0, len(v.items)
	for lo < hi {
		mid := int(uint(lo+hi) / 2)
		if v.items[mid].name < name {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	if lo == len(v.items) || v.items[lo].name != name {
		return item{}, false
	}
	return v.items[lo], true
}

// version is the version_info of a state-of-the-world response: a list of all
// names with their versions, so that a reconnecting Envoy tells exactly what
// it has, also to another server. Where that gets long it is a hash.
func (v *View) version() string { return v.text() }

func describe(items []item) string {
	var b strings.Builder
	for i, it := range items {
		if i > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(escape(it.name))
		b.WriteByte('@')
		b.WriteString(it.version)
	}
	if b.Len() <= maxText {
		return b.String()
	}
	sum := sha256.Sum256([]byte(b.String()))
	return "sha256:" + hex.EncodeToString(sum[:16])
}

// parse reads what describe wrote. A hash, or anything else, gives no items.
func parse(text string) []item {
	var items []item
	for word := range strings.FieldsSeq(text) {
		at := strings.LastIndexByte(word, '@')
		if at < 0 {
			return nil
		}
		name, err := url.PathUnescape(word[:at])
		if err != nil {
			return nil
		}
		items = append(items, item{name: name, version: word[at+1:]})
	}
	slices.SortFunc(items, func(a, b item) int { return strings.Compare(a.name, b.name) })
	return slices.CompactFunc(items, func(a, b item) bool { return a.name == b.name })
}

// separators can't stand in a name as they are.
const separators = "% @\t\n\r"

// escape keeps the separators out of names.
func escape(name string) string {
	if !strings.ContainsAny(name, separators) {
		return name
	}
	var b strings.Builder
	for _, c := range []byte(name) {
		if strings.IndexByte(separators, c) >= 0 {
			fmt.Fprintf(&b, "%%%02X", c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}

// base cuts the attempt off a resource's version.
func base(version string) string {
	v, _, _ := strings.Cut(version, ".")
	return v
}

// sameItems tells whether two sorted lists have the same names and versions.
func sameItems(a, b []item) bool { return slices.EqualFunc(a, b, item.is) }

// merge gives a with changed put in and removed taken out; all sorted by name.
func merge(a, changed []item, removed []string) []item {
	out := make([]item, 0, len(a)+len(changed))
	for _, it := range a {
		for len(changed) > 0 && changed[0].name < it.name {
			out, changed = append(out, changed[0]), changed[1:]
		}
		if len(changed) > 0 && changed[0].name == it.name {
			out, changed = append(out, changed[0]), changed[1:]
			continue
		}
		if !slices.Contains(removed, it.name) {
			out = append(out, it)
		}
	}
	return append(out, changed...)
}
