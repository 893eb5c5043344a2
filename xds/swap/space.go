package swap

import (
	"crypto/sha256"
	"encoding/binary"
	"io"
	"slices"
	"sync"
	"weak"
)

// Space is what the machines of a server share: views, steps and lists of
// names, each kept once for as long as some machine uses it. It is safe for
// concurrent use.
type Space struct {
	mu    sync.Mutex
	views map[spaceKey]weak.Pointer[View]
	names map[[sha256.Size]byte]weak.Pointer[names] // by what they are, which may be long
	sweep int                                       // size at which dead entries are next swept out
	known archive

	empty [Types]*View
	none  *names
}

type spaceKey struct {
	typ  Type
	text string
}

// NewSpace makes an empty Space.
func NewSpace() *Space {
	sp := &Space{
		views: map[spaceKey]weak.Pointer[View]{},
		names: map[[sha256.Size]byte]weak.Pointer[names]{},
		sweep: 1024,
		known: archive{items: map[archived]item{}},
		none:  new(names),
	}
	for t := range sp.empty {
		sp.empty[t] = newView(nil)
	}
	return sp
}

// view gives the one view of these items.
func (sp *Space) view(t Type, items []item) *View {
	if len(items) == 0 {
		return sp.empty[t]
	}
	v := newView(items)
	key := spaceKey{t, v.version()}
	sp.mu.Lock()
	defer sp.mu.Unlock()
	if old := sp.views[key].Value(); old != nil && slices.EqualFunc(old.items, items, sameResource) {
		return old
	}
	sp.tidy()
	sp.views[key] = weak.Make(v)
	return v
}

// intern gives the one value of these names.
func (sp *Space) intern(n *names) *names {
	key := n.hash()
	sp.mu.Lock()
	defer sp.mu.Unlock()
	if old := sp.names[key].Value(); old != nil {
		return old
	}
	sp.tidy()
	sp.names[key] = weak.Make(n)
	return n
}

// hash is the same for the same names.
func (n *names) hash() (sum [sha256.Size]byte) {
	h := sha256.New()
	var length [4]byte
	for _, list := range [][]string{n.sorted, n.raw} {
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

// tidy forgets what no machine uses any more. The caller holds sp.mu.
func (sp *Space) tidy() {
	if len(sp.views)+len(sp.names) < sp.sweep {
		return
	}
	for k, v := range sp.views {
		if v.Value() == nil {
			delete(sp.views, k)
		}
	}
	for k, n := range sp.names {
		if n.Value() == nil {
			delete(sp.names, k)
		}
	}
	sp.sweep = max(1024, 2*(len(sp.views)+len(sp.names)))
}

// step gives the response that takes an Envoy from v to v with changed put in
// and gone taken out: the same one to every machine that is to take this step
// while any is taking it.
func (sp *Space) step(v *View, t Type, delta bool, changed []item, gone []string) *Response {
	v.mu.Lock()
	defer v.mu.Unlock()
	live := v.steps[:0]
	var found *Response
	for _, w := range v.steps {
		r := w.Value()
		if r == nil {
			continue
		}
		live = append(live, w)
		if r.Type == t && r.Delta == delta && slices.EqualFunc(r.changed, changed, sameResource) && slices.Equal(r.gone, gone) {
			found = r
		}
	}
	v.steps = live
	if found != nil {
		return found
	}
	r := &Response{Type: t, Delta: delta, changed: changed, gone: gone, from: v, to: sp.view(t, merge(v.items, changed, gone))}
	carried := changed
	if delta {
		r.Removed = gone
	} else if t.wholeState() {
		carried = r.to.items
	}
	if neededAgain(t, delta) {
		sp.known.add(t, changed)
	}
	for _, it := range carried {
		if it.res != nil {
			r.Resources = append(r.Resources, it.res)
		}
	}
	v.steps = append(v.steps, weak.Make(r))
	return r
}

// neededAgain tells whether what an Envoy was sent may be needed in bytes when
// it comes again: for a response that is whole, or for a slot that a listener
// waits for.
func neededAgain(t Type, delta bool) bool { return t == Extension || !delta && t.wholeState() }

func sameResource(a, b item) bool {
	return a.is(b) && a.res == b.res && a.filter == b.filter
}
