package rollout

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// The keys of the saved state. Contents are stored by their hashes, for as long as anything
// refers to them.
const (
	begunKey   = "begun"    // there is a base
	baseKeys   = "base/"    // KIND/NAME
	openKeys   = "open/"    // ID
	doneKeys   = "done/"    // SEQ
	heldKeys   = "held/"    // KIND/NAME
	contentKey = "content/" // HASH
	turnKey    = "turn"     // see Plan
)

// kept collects what is to be saved at the end of a step.
type kept struct {
	seq   uint64
	batch map[string][]byte
	// urgent means that batch contains something that can't be found out again.
	urgent bool
	dirty  map[string]bool // IDs of changes to save, open or not
	refs   map[string]*ref // by hash
	loose  map[string]bool // hashes whose number of uses has changed
}

// ref is a content with its number of uses.
type ref struct {
	item   *Item
	uses   int
	stored bool
}

type keptBase struct {
	Key
	Hash string `json:"hash"`
}

type keptHeld struct {
	Key
	Files string    `json:"files,omitempty"`
	To    string    `json:"to,omitempty"`
	Since time.Time `json:"since"`
	By    string    `json:"by"`
}

// keptDone is the saved form of a change that joined the base.
type keptDone struct {
	Seq uint64 `json:"seq"`
	keptChange
}

func newKept() kept {
	return kept{batch: map[string][]byte{}, dirty: map[string]bool{}, refs: map[string]*ref{}, loose: map[string]bool{}}
}

func (k *kept) put(key string, value any) {
	b, err := json.Marshal(value)
	if err != nil {
		panic(fmt.Sprintf("rollout: %s can't be encoded: %v", key, err)) // it consists of plain values
	}
	k.batch[key] = b
}

// use adds a use of a content; i may be nil.
func (m *Machine) use(i *Item) {
	if i == nil {
		return
	}
	r := m.kept.refs[i.Hash]
	if r == nil {
		r = &ref{item: i}
		m.kept.refs[i.Hash] = r
	}
	r.uses++
	m.kept.loose[i.Hash] = true
}

// drop removes a use of a content; i may be nil.
func (m *Machine) drop(i *Item) {
	if i == nil {
		return
	}
	if r := m.kept.refs[i.Hash]; r != nil {
		r.uses--
		m.kept.loose[i.Hash] = true
	}
}

func path(prefix string, k Key) string { return prefix + k.Kind + "/" + k.Name }

// keyOf returns the definition that is saved at a key of the base.
func keyOf(at string) (k Key, is bool) {
	rest, is := strings.CutPrefix(at, baseKeys)
	if !is {
		return k, false
	}
	k.Kind, k.Name, is = strings.Cut(rest, "/")
	if is && k.Kind != FilterKind && k.Kind != ListenerKind { // a type URL has one slash
		var last string
		last, k.Name, is = strings.Cut(k.Name, "/")
		k.Kind += "/" + last
	}
	return k, is
}

func (m *Machine) keepBegun() { m.kept.put(begunKey, m.now) }

func (m *Machine) keepBase(k Key, i *Item) {
	if i == nil {
		m.kept.batch[path(baseKeys, k)] = nil
		return
	}
	m.kept.put(path(baseKeys, k), keptBase{k, i.Hash})
}

func (m *Machine) keepHeld(k Key, h *held) {
	if h == nil {
		m.kept.batch[path(heldKeys, k)] = nil
		return
	}
	m.kept.put(path(heldKeys, k), keptHeld{k, h.Files, hashIn(h.To), h.Since, h.By})
}

// keep saves a change as it is after the step, or removes it if it is no longer open.
func (m *Machine) keep(c *change) { m.kept.dirty[c.ID] = true }

// keepOpen saves all open changes, because their places may have changed.
func (m *Machine) keepOpen() {
	for _, c := range m.open {
		m.keep(c)
	}
}

func (m *Machine) keepDone(c *change) {
	m.seq++
	c.seq = m.seq
	m.kept.put(doneKey(c.seq), keptDone{c.seq, c.keep(0)})
}

func (m *Machine) forgetDone(c *change) { m.kept.batch[doneKey(c.seq)] = nil }

func doneKey(seq uint64) string { return fmt.Sprintf("%s%012d", doneKeys, seq) }

// keep returns the saved form of the change, including the wave that is about to begin.
func (c *change) keep(place int) keptChange {
	k := keptChange{c.ID, keptDiffs(c.Diffs), c.Policy, c.Opened, c.State, c.Reason, c.Ended, c.heldBy, c.Promoted, c.Wave, c.Reached, c.Waves, c.Counts, place, nil}
	if g := c.growth; g != nil && g.writing {
		k.Before = &keptWave{c.Wave, c.Reached, c.Waves}
		k.Wave, k.Reached, k.Waves = g.wave, g.reached, g.waves
	}
	return k
}

// flush returns what a step must save, as one batch, in m.ready.
func (m *Machine) flush() {
	k := &m.kept
	for id := range k.dirty {
		k.batch[openKeys+id] = nil
	}
	for place, c := range m.open {
		if k.dirty[c.ID] {
			k.put(openKeys+c.ID, c.keep(place))
		}
	}
	for _, hash := range slices.Sorted(maps.Keys(k.loose)) {
		r := k.refs[hash]
		switch {
		case r.uses > 0 && !r.stored:
			c, err := contentOf(r.item.Value)
			if err != nil {
				panic(fmt.Sprintf("rollout: %s can't be encoded: %v", r.item.Name, err)) // computing its hash has encoded it before
			}
			k.put(contentKey+hash, c)
			r.stored = true
		case r.uses <= 0:
			if r.stored {
				k.batch[contentKey+hash] = nil
			}
			delete(k.refs, hash)
		}
	}
	clear(k.dirty)
	clear(k.loose)
	if len(k.batch) == 0 {
		return
	}
	k.seq++
	m.ready.Save = &Batch{Seq: k.seq, Values: k.batch, Urgent: k.batch[begunKey] != nil || k.urgent}
	k.urgent = false
	for _, c := range m.open {
		if g := c.growth; g != nil && g.writing && g.seq == 0 {
			g.seq, m.ready.Save.Urgent = k.seq, true
		}
	}
	k.batch = map[string][]byte{}
}
