package intern

import (
	"bytes"
	"crypto/sha256"
	"hash/maphash"
	"slices"
	"sync"
	"weak"

	"wasmxds/resource"
)

// Interner contains what the machines of a server share. It is safe for concurrent use.
type Interner[A any] struct {
	mu    sync.Mutex
	acked map[ackedKey]weak.Pointer[Acked[A]]
	names map[[sha256.Size]byte]weak.Pointer[NameSet] // by their hash
	seed  maphash.Seed
	sweep int     // number of entries at which dead ones are next removed
	sent  archive // what Envoys may need in bytes again

	empties resource.Empties

	empty [Types]*Acked[A]
	none  *NameSet
}

// ackedKey is usually unique for a list of items.
type ackedKey struct {
	typ Type
	sum uint64
}

// New returns an empty Interner.
func New[A any]() *Interner[A] {
	in := &Interner[A]{
		acked: map[ackedKey]weak.Pointer[Acked[A]]{},
		names: map[[sha256.Size]byte]weak.Pointer[NameSet]{},
		seed:  maphash.MakeSeed(),
		sweep: 1024,
		sent:  archive{items: map[archived]Item{}},
		none:  new(NameSet),
	}
	for t := range in.empty {
		in.empty[t] = newAcked[A](nil)
	}
	return in
}

// Acked returns the shared Acked with these items.
func (in *Interner[A]) Acked(t Type, items []Item) *Acked[A] {
	if len(items) == 0 {
		return in.empty[t]
	}
	key := ackedKey{t, in.sum(items)}
	in.mu.Lock()
	defer in.mu.Unlock()
	if old := in.acked[key].Value(); old != nil && slices.EqualFunc(old.Items, items, sameResource) {
		return old
	}
	v := newAcked[A](items)
	in.tidy()
	in.acked[key] = weak.Make(v)
	return v
}

// sum returns a hash of the names, the versions and the attempts, if known. Without the
// attempts, Ackeds that differ only in these would constantly replace each other.
func (in *Interner[A]) sum(items []Item) uint64 {
	var h maphash.Hash
	h.SetSeed(in.seed)
	for i := range items {
		h.WriteString(items[i].Name)
		h.WriteByte(0)
		h.WriteString(items[i].Version)
		h.WriteByte(0)
		if r := items[i].Res; r != nil {
			h.WriteString(r.Version)
		}
		h.WriteByte(0)
	}
	return h.Sum64()
}

// intern returns the shared NameSet with these names.
func (in *Interner[A]) intern(n *NameSet) *NameSet {
	key := n.hash()
	in.mu.Lock()
	defer in.mu.Unlock()
	if old := in.names[key].Value(); old != nil {
		return old
	}
	in.tidy()
	in.names[key] = weak.Make(n)
	return n
}

// tidy removes entries that no machine uses any more. The caller holds in.mu.
func (in *Interner[A]) tidy() {
	if len(in.acked)+len(in.names) < in.sweep {
		return
	}
	for k, v := range in.acked {
		if v.Value() == nil {
			delete(in.acked, k)
		}
	}
	for k, n := range in.names {
		if n.Value() == nil {
			delete(in.names, k)
		}
	}
	in.sweep = max(1024, 2*(len(in.acked)+len(in.names)))
}

// Step returns the response that takes an Envoy from v to v with changed added and gone
// removed. All machines get the same one for the same step, while any of them is taking it.
func (in *Interner[A]) Step(v *Acked[A], t Type, delta bool, changed []Item, gone []string) *Response[A] {
	v.mu.Lock()
	defer v.mu.Unlock()
	live := v.steps[:0]
	var found *Response[A]
	for _, w := range v.steps {
		r := w.Value()
		if r == nil {
			continue
		}
		live = append(live, w)
		if r.Type == t && r.Delta == delta && sameItems(r.Changed, changed) && slices.Equal(r.Gone, gone) {
			found = r
		}
	}
	v.steps = live
	if found != nil {
		return found
	}
	r := &Response[A]{Type: t, Delta: delta, Changed: changed, Gone: gone, From: v, To: in.Acked(t, Merge(v.Items, changed, gone))}
	carried := changed
	if delta {
		r.Removed = gone
	} else if t.WholeState() {
		carried = r.To.Items
	}
	if neededAgain(t, delta) {
		in.sent.add(t, changed)
	}
	for _, it := range carried {
		if it.Res != nil {
			r.Resources = append(r.Resources, it.Res)
		}
	}
	v.steps = append(v.steps, weak.Make(r))
	return r
}

// Empty returns the content of a listener's own slot without a filter.
func (in *Interner[A]) Empty(slot string) Item { return PlainItem(in.empties.In(slot)) }

// NothingAgain returns r, which does nothing, in the bytes of an attempt.
func (in *Interner[A]) NothingAgain(r *resource.Resource, attempt int) Item {
	return PlainItem(in.empties.Again(r, attempt))
}

// Remember records what an Envoy has, as if it had been sent.
func (in *Interner[A]) Remember(t Type, delta bool, items []Item) {
	if neededAgain(t, delta) {
		in.sent.add(t, items)
	}
}

// Recall returns an item that some Envoy was sent.
func (in *Interner[A]) Recall(t Type, name, version string) (Item, bool) {
	return in.sent.find(t, name, version)
}

// neededAgain reports whether an item that an Envoy was sent may be needed in bytes when
// the Envoy reconnects: for a whole-state response, or for a slot that a listener waits
// for.
func neededAgain(t Type, delta bool) bool { return t == Extension || !delta && t.WholeState() }

// sameItems usually finds that both are the same slice.
func sameItems(a, b []Item) bool {
	return len(a) == len(b) && (len(a) == 0 || &a[0] == &b[0] || slices.EqualFunc(a, b, sameResource))
}

func sameResource(a, b Item) bool {
	return a.Is(b) && a.Filter == b.Filter && (a.Res == b.Res || sameBytes(a.Res, b.Res))
}

// sameBytes reports whether two resources that were created separately have the same bytes.
func sameBytes(a, b *resource.Resource) bool {
	return a != nil && b != nil && a.Version == b.Version && bytes.Equal(a.Value, b.Value)
}
