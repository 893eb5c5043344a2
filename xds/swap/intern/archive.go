package intern

import (
	"maps"
	"slices"
	"strings"
	"sync"

	"wasmxds/resource"
)

// archive remembers what state-of-the-world Envoys have been sent. A response must contain
// all listeners and clusters. A listener that Envoy should keep, while its successor waits
// for a filter, is therefore needed in bytes, even by the process that Envoy reconnects to
// after a restart. And a listener that is warming while its Envoy reconnects needs the
// contents that its slots were supposed to get.
type archive struct {
	mu    sync.Mutex
	items map[archived]Item
	order []archived // oldest first
	added func(*resource.Listener)
}

type archived struct {
	typ           Type
	name, version string
}

// Limits of an archive, in resources. Each version of a filter is held with everything
// derived from it; a reconnecting Envoy has one of the last few.
const (
	maxArchive  = 2048
	maxVersions = 8 // per filter
)

func (a *archive) add(t Type, items []Item) {
	var fresh []Item
	a.mu.Lock()
	for _, it := range items {
		key := archived{t, it.Name, it.Version}
		if _, ok := a.items[key]; ok || it.Res == nil {
			continue
		}
		a.makeRoom(key)
		a.items[key] = it
		a.order = append(a.order, key)
		fresh = append(fresh, it)
	}
	added := a.added
	a.mu.Unlock()
	for _, it := range fresh {
		if added != nil && t == Listener {
			added(it.Listener())
		}
	}
}

// makeRoom removes the oldest version of a filter that has the most versions, or else the
// oldest item if the archive is full. The caller holds a.mu.
func (a *archive) makeRoom(key archived) {
	oldest, versions := -1, 0
	if key.typ == Extension {
		for i, k := range a.order {
			if k.typ == key.typ && k.name == key.name {
				versions++
				if oldest < 0 {
					oldest = i
				}
			}
		}
	}
	if versions < maxVersions {
		if len(a.order) < maxArchive {
			return
		}
		oldest = 0
	}
	delete(a.items, a.order[oldest])
	a.order = slices.Delete(a.order, oldest, oldest+1)
}

func (a *archive) find(t Type, name, version string) (Item, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	it, ok := a.items[archived{t, name, version}]
	return it, ok
}

// Learn adds listeners that Envoys may have from an earlier process.
func (in *Interner[A]) Learn(listeners []*resource.Listener) {
	items := make([]Item, len(listeners))
	for i, l := range listeners {
		items[i] = ListenerItem(l)
	}
	in.sent.add(Listener, items)
}

// OnSent sets a function that is called with each listener that is sent for the first time
// to an Envoy that will need its bytes again, and that should be saved for Learn. It must
// be set before the first machine steps, and the function must not call the Interner.
func (in *Interner[A]) OnSent(f func(*resource.Listener)) { in.sent.added = f }

// Sent returns the listeners that OnSent's function has been, or would have been, called
// with.
func (in *Interner[A]) Sent() []*resource.Listener {
	in.sent.mu.Lock()
	defer in.sent.mu.Unlock()
	var out []*resource.Listener
	for key, it := range maps.All(in.sent.items) {
		if key.typ == Listener {
			out = append(out, it.Listener())
		}
	}
	slices.SortFunc(out, func(a, b *resource.Listener) int { return strings.Compare(a.Name+a.Version, b.Name+b.Version) })
	return out
}

// Held returns those of Sent that connected Envoys have.
func (in *Interner[A]) Held() []*resource.Listener {
	held := map[archived]bool{}
	in.mu.Lock()
	for key, w := range in.acked {
		if v := w.Value(); v != nil && key.typ == Listener {
			for _, it := range v.Items {
				held[archived{Listener, it.Name, it.Version}] = true
			}
		}
	}
	in.mu.Unlock()
	return slices.DeleteFunc(in.Sent(), func(l *resource.Listener) bool { return !held[archived{Listener, l.Name, l.Version}] })
}
