package intern

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"sync"
	"weak"
)

// Acked is what an Envoy has of one type. It is immutable, and shared by the machines whose
// Envoys have the same.
type Acked[A any] struct {
	Items []Item   // by name
	names []string // their names, close together for Find

	text func() string // see Version

	mu    sync.Mutex
	steps []weak.Pointer[Response[A]] // responses in flight to machines at this Acked

	// Answers are cached results for all machines that have it.
	Answers A
}

func newAcked[A any](items []Item) *Acked[A] {
	names := make([]string, len(items))
	for i := range items {
		names[i] = items[i].Name
	}
	return &Acked[A]{Items: items, names: names, text: sync.OnceValue(func() string { return describe(items) })}
}

// maxText is the longest version that lists its items, in bytes.
const maxText = 16 << 10

// Find returns the item with a name. Its binary search is written out because it is the
// most frequent operation of machines.
func (v *Acked[A]) Find(name string) (Item, bool) {
	names := v.names
	lo, hi := 0, len(names)
	for lo < hi {
		mid := int(uint(lo+hi) / 2)
		if names[mid] < name {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	if lo == len(names) || names[lo] != name {
		return Item{}, false
	}
	return v.Items[lo], true
}

// Version returns the version_info of a state-of-the-world response: a list of all names
// with their versions, so that a reconnecting Envoy lists exactly what it has, even to
// another replica. A long list is replaced by a hash.
func (v *Acked[A]) Version() string { return v.text() }

func describe(items []Item) string {
	var b strings.Builder
	for i, it := range items {
		if i > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(escape(it.Name))
		b.WriteByte('@')
		b.WriteString(it.Version)
	}
	if b.Len() <= maxText {
		return b.String()
	}
	sum := sha256.Sum256([]byte(b.String()))
	return "sha256:" + hex.EncodeToString(sum[:16])
}

// ParseItems decodes the output of describe. It returns nil for a hash, or anything else.
func ParseItems(text string) []Item {
	var items []Item
	for word := range strings.FieldsSeq(text) {
		at := strings.LastIndexByte(word, '@')
		if at < 0 {
			return nil
		}
		name, err := url.PathUnescape(word[:at])
		if err != nil {
			return nil
		}
		items = append(items, Item{Name: name, Version: word[at+1:]})
	}
	slices.SortFunc(items, func(a, b Item) int { return strings.Compare(a.Name, b.Name) })
	return slices.CompactFunc(items, func(a, b Item) bool { return a.Name == b.Name })
}

// separators are escaped in names.
const separators = "% @\t\n\r"

// escape escapes the separators in a name.
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

// Has reports whether the Envoy has exactly this version.
func (v *Acked[A]) Has(it Item) bool {
	have, ok := v.Find(it.Name)
	return ok && have.Is(it)
}
