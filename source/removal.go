package source

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"

	"wasmxds/definition"
)

// Removal is a removal that is held back, because it would remove so many of
// the definitions in force. The zero value is none.
type Removal struct {
	Definitions int // number that would be removed
	Of          int // number in force
}

// fewest is the minimum number of definitions for a removal to be held back:
// removing one of two is an everyday change.
const fewest = 4

// tooMuch reports whether a removal looks like an accident: a volume that is
// not mounted appears as an empty directory, as does one that was emptied by
// mistake.
func (r Removal) tooMuch() bool { return r.Of >= fewest && 2*r.Definitions > r.Of }

func (r Removal) problem(dir string) definition.Problem {
	return definition.Problem{
		File:    dir,
		Message: fmt.Sprintf("held back: %d of %d definitions would be removed at once; all of them stay in force", r.Definitions, r.Of),
		Hint:    "restore the files; to remove them, run xds-server rollout promote, remove at most half at a time, or start xds-server with --removals all",
	}
}

// before returns the set that a removal is compared to: the last one that was
// joined or, after a start, the stored one. While a removal is held back, it is
// the set before the removal, so that additions do not make the removal look
// small.
func (t *table) before() *definition.Set {
	if t.base != nil {
		return t.base
	}
	if t.set != nil {
		return t.set
	}
	set, _ := t.merge(t.goods())
	return set
}

// goods returns the last good contents of all files.
func (t *table) goods() []*definition.File {
	var good []*definition.File
	for _, key := range t.sorted() {
		if f := t.docs[key]; f.good != nil {
			good = append(good, f.good.file)
		}
	}
	return good
}

// identity identifies a definition.
type identity struct{ kind, name string }

func identities(filters []*definition.Filter, listeners []*definition.Listener, resources []*definition.Resource, rollouts []*definition.Rollout) map[identity]bool {
	all := make(map[identity]bool, len(filters)+len(listeners)+len(resources)+len(rollouts))
	for _, d := range filters {
		if d.VariantOf != "" {
			continue // it is part of its route
		}
		all[identity{"filter", d.Name}] = true
	}
	for _, d := range listeners {
		all[identity{"listener", d.Name}] = true
	}
	for _, d := range resources {
		if _, listener := d.Target(); listener {
			all[identity{"listener", d.Name}] = true
			continue
		}
		all[identity{d.TypeURL, d.Name}] = true
	}
	for _, d := range rollouts {
		all[identity{"rollout", d.Name}] = true
	}
	return all
}

// removal returns what the change from one set to another removes, and its id:
// a hash of the removed identities.
func removal(before, after *definition.Set) (r Removal, id string) {
	was := identities(before.Filters, before.Listeners, before.Resources, before.Rollouts)
	is := identities(after.Filters, after.Listeners, after.Resources, after.Rollouts)
	var gone []identity
	for d := range was {
		if !is[d] {
			gone = append(gone, d)
		}
	}
	slices.SortFunc(gone, func(a, b identity) int {
		return cmp.Or(strings.Compare(a.kind, b.kind), strings.Compare(a.name, b.name))
	})
	return Removal{len(gone), len(was)}, fmt.Sprintf("removal-%x", sha256.Sum256(fmt.Append(nil, gone)))[:20]
}

// ErrNotHeld means that no removal with that id is held back: it has ended by
// itself, or has changed.
var ErrNotHeld = errors.New("no such removal is held back")

// release is a request to confirm a removal.
type release struct {
	id   string
	done chan<- error
}

// Release confirms the removal that is held back under an id ([Update.HeldID]).
// When it returns nil, the set without those definitions has been emitted. It
// blocks until Run handles it or ctx ends.
func (j *Join) Release(ctx context.Context, id string) error {
	done := make(chan error, 1)
	select {
	case j.releases() <- release{id, done}:
	case <-ctx.Done():
		return fmt.Errorf("release %s: %w", id, ctx.Err())
	}
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return fmt.Errorf("release %s: %w", id, ctx.Err())
	}
}

// releases returns the channel of requests to Run.
func (j *Join) releases() chan release {
	j.once.Do(func() { j.asked = make(chan release) })
	return j.asked
}

// release joins again, without holding back the removal with this id.
func (t *table) release(id string) error {
	if id == "" || id != t.heldID {
		return ErrNotHeld
	}
	t.released = id
	defer func() { t.released = "" }()
	t.join()
	return nil
}

// lacks reports whether a file lacks any of the definitions of the previous
// one.
func lacks(f, before *definition.File) bool {
	if f == nil || before == nil {
		return false
	}
	is := identities(f.Filters, f.Listeners, f.Resources, f.Rollouts)
	for id := range identities(before.Filters, before.Listeners, before.Resources, before.Rollouts) {
		if !is[id] {
			return true
		}
	}
	return false
}
