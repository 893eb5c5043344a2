package intern

import (
	"crypto/sha256"
	"encoding/binary"
	"io"
	"slices"
	"sync/atomic"
	"weak"
)

// NameSet is what an Envoy subscribes to of one type. It is immutable, and shared by the
// machines whose Envoys subscribe to the same.
type NameSet struct {
	Sorted []string
	Raw    []string // in their original order, in the state-of-the-world protocol

	next atomic.Pointer[asked] // the newest request of an Envoy with these names
}

// All returns the names; n may be nil.
func (n *NameSet) All() []string {
	if n == nil {
		return nil
	}
	return n.Sorted
}

// Has reports whether the set contains a name; n may be nil.
func (n *NameSet) Has(name string) bool {
	_, ok := slices.BinarySearch(n.All(), name)
	return ok
}

// Ahead returns Raw, followed by the name that the last Envoy with this subscription
// added, if it added exactly one at the end. The next Envoy most likely adds the same,
// and can share the list.
func (n *NameSet) Ahead() []string {
	a := n.next.Load()
	if a == nil || len(a.subscribe) != len(n.Raw)+1 || !slices.Equal(a.subscribe[:len(n.Raw)], n.Raw) {
		return n.Raw
	}
	return a.subscribe
}

// includes reports whether all names of o are among those of n.
func (n *NameSet) includes(o *NameSet) bool {
	rest := n.Sorted
	for _, name := range o.Sorted {
		i := slices.Index(rest, name)
		if i < 0 {
			return false
		}
		rest = rest[i+1:]
	}
	return true
}

// asked is a request and its result: a starting fleet subscribes to the same names in the
// same order, one by one.
type asked struct {
	subscribe, unsubscribe []string
	to                     weak.Pointer[NameSet]
	more                   bool // to includes all names from before
}

// Ask returns the names after a request of an Envoy that had subscribed to n: in the
// state-of-the-world protocol, the names in subscribe; in delta, n with subscribe added and
// unsubscribe removed. more means that all names of n are among them. n may be nil.
func (in *Interner[A]) Ask(n *NameSet, delta bool, subscribe, unsubscribe []string) (_ *NameSet, more bool) {
	if n == nil {
		n = in.none
	}
	if a := n.next.Load(); a != nil && slices.Equal(a.subscribe, subscribe) && slices.Equal(a.unsubscribe, unsubscribe) {
		if to := a.to.Value(); to != nil {
			return to, a.more
		}
	}
	var to NameSet
	to.Sorted = slices.Clone(subscribe)
	if delta {
		for _, name := range n.Sorted {
			if !slices.Contains(unsubscribe, name) {
				to.Sorted = append(to.Sorted, name)
			}
		}
	} else {
		to.Raw = subscribe
	}
	slices.Sort(to.Sorted)
	to.Sorted = slices.Compact(to.Sorted)
	shared := in.intern(&to)
	more = shared.includes(n)
	n.next.Store(&asked{subscribe, unsubscribe, weak.Make(shared), more})
	return shared, more
}

// hash returns a hash of the names.
func (n *NameSet) hash() (sum [sha256.Size]byte) {
	h := sha256.New()
	var length [4]byte
	for _, list := range [][]string{n.Sorted, n.Raw} {
		for _, name := range list {
			binary.BigEndian.PutUint32(length[:], uint32(len(name)))
			h.Write(length[:])
			io.WriteString(h, name)
		}
		binary.BigEndian.PutUint32(length[:], 1<<32-1) // no name is as long
		h.Write(length[:])
	}
	h.Sum(sum[:0])
	return sum
}
