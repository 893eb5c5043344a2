package intern

import (
	"maps"
	"slices"
	"strings"
	"sync"

	"wasmxds/resource"
)

// archive remembers what state-of-the-world Envoys have been sent. A response
// must carry all listeners and clusters, so one that Envoy is to keep, while its
// successor waits for a filter, is needed in bytes, also by the server that
// Envoy comes to after a restart. And a listener that warms while its Envoy
// comes again needs the content that its slots were meant to get.
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

// What bounds an archive, in resources. A filter's versions are held with all
// that they can become; who comes again has one of the last.
const (
	maxArchive  = 2048
	maxVersions = 8 // of a filter
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

// makeRoom forgets the oldest version of a filter that has as many as are kept,
// or else, where the archive is full, the oldest of all. The caller holds a.mu.
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

// Learn tells the Interner of listeners that Envoys may have from an earlier run.
func (in *Interner[A]) Learn(listeners []*resource.Listener) {
	items := make([]Item, len(listeners))
	for i, l := range listeners {
		items[i] = ListenerItem(l)
	}
	in.sent.add(Listener, items)
}

// OnSent sets what is called with each listener that is sent for the first
// time to an Envoy that will need it in bytes again: keep it for Learn. It must
// be set before the first machine steps, and must not call back.
func (in *Interner[A]) OnSent(f func(*resource.Listener)) { in.sent.added = f }

// Sent are the listeners that OnSent has been or would have been called with.
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

// Held are those of the Sent that some connected Envoy has.
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
