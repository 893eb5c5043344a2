package intern

import (
	"crypto/sha256"
	"encoding/binary"
	"io"
	"slices"
	"sync/atomic"
	"weak"
)

// NameSet is what an Envoy asks for of one type. It is immutable, and shared by
// the machines whose Envoys ask for the same.
type NameSet struct {
	Sorted []string
	Raw    []string // as they came in state of the world

	next atomic.Pointer[asked] // by the newest request of an Envoy that had asked for these
}

// All are the names; none of a nil set.
func (n *NameSet) All() []string {
	if n == nil {
		return nil
	}
	return n.Sorted
}

// Has tells whether a name is one of them; false of a nil set.
func (n *NameSet) Has(name string) bool {
	_, ok := slices.BinarySearch(n.All(), name)
	return ok
}

// asked is a request and what it led to: a fleet that starts asks for the same
// names in the same order, one by one.
type asked struct {
	subscribe, unsubscribe []string
	to                     weak.Pointer[NameSet]
}

// Ask gives the names after a request of an Envoy that had asked for n: those of
// which it names all, in state of the world, or which it subscribes to and
// unsubscribes from, in delta. n may be nil.
func (in *Interner[A]) Ask(n *NameSet, delta bool, subscribe, unsubscribe []string) *NameSet {
	if n == nil {
		n = in.none
	}
	if a := n.next.Load(); a != nil && slices.Equal(a.subscribe, subscribe) && slices.Equal(a.unsubscribe, unsubscribe) {
		if to := a.to.Value(); to != nil {
			return to
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
	n.next.Store(&asked{subscribe, unsubscribe, weak.Make(shared)})
	return shared
}

// hash is the same for the same names.
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
