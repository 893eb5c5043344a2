package rollout

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// New returns a Machine that continues from the saved state, which may be empty. What can't
// be decoded is left out, and reported in the errors.
func New(o Options, written map[string][]byte) (*Machine, []error) {
	m, r := restore(o, written, nil)
	if o.BakeAnew {
		for _, c := range m.open {
			if n := len(c.Waves); n > 0 {
				c.Waves[n-1].Good = time.Time{}
			}
		}
	}
	return m, r.errs
}

// restore returns a Machine with the saved state. Contents in known, by the hashes under
// which they are saved, are not decoded again.
func restore(o Options, written map[string][]byte, known map[string]*Item) (*Machine, *restoring) {
	m := &Machine{o: o, base: items{}, held: map[Key]held{}, adopt: map[Key]bool{}, fleet: newFleet(),
		combinations: map[Choice]combination{}, kept: newKept(), replan: true}
	r := &restoring{m: m, written: written, known: known, items: map[string]*Item{}}
	r.run()
	return m, r
}

// errOther means that a saved value can be decoded, but does not belong at its key.
var errOther = errors.New("it is not what belongs there")

// restoring is the state of one call of restore.
type restoring struct {
	m       *Machine
	written map[string][]byte
	known   map[string]*Item
	items   map[string]*Item // by the hashes under which they were saved
	errs    []error
	moved   bool // some contents now have other hashes
}

func (r *restoring) fail(key string, err error) {
	r.errs = append(r.errs, fmt.Errorf("%s: %w", key, err))
	r.m.kept.batch[key] = nil
}

// each decodes the values below a prefix, by key.
func each[T any](r *restoring, prefix string, take func(key string, value T) error) {
	var keys []string
	for key := range r.written {
		if strings.HasPrefix(key, prefix) {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	for _, key := range keys {
		var value T
		err := json.Unmarshal(r.written[key], &value)
		if err == nil {
			err = take(key, value)
		}
		if err != nil {
			r.fail(key, err)
		}
	}
}

func (r *restoring) run() {
	m := r.m
	if _, m.begun = r.written[begunKey]; !m.begun {
		for key := range r.written {
			m.kept.batch[key] = nil
		}
		return
	}
	each(r, contentKey, func(key string, b json.RawMessage) error {
		was := strings.TrimPrefix(key, contentKey)
		i := r.known[was]
		if i == nil {
			var err error
			if i, err = readItem(b); err != nil {
				return err
			}
		}
		r.items[was] = i
		r.moved = r.moved || was != i.Hash
		m.kept.refs[i.Hash] = &ref{item: i, stored: was == i.Hash}
		m.kept.loose[i.Hash] = true
		if was != i.Hash {
			m.kept.batch[key] = nil
		}
		return nil
	})
	each(r, baseKeys, func(key string, b keptBase) error {
		i, err := r.item(b.Hash)
		if err == nil && (i == nil || i.Key != b.Key || path(baseKeys, b.Key) != key) {
			err = errOther
		}
		if err != nil {
			return err
		}
		m.base[b.Key] = i
		m.use(i)
		return nil
	})
	for key := range r.written {
		// Definitions of the desired state replace lost ones.
		if k, is := keyOf(key); is && m.base[k] == nil {
			m.adopt[k] = true
		}
	}
	r.changes()
	r.told()
	m.chosen = slices.ContainsFunc(m.open, (*change).reaches)
	each(r, turnKey, func(_ string, turn *uint64) error {
		if turn == nil {
			return errOther
		}
		m.turn = *turn
		return nil
	})
	each(r, heldKeys, func(key string, h keptHeld) error {
		to, err := r.item(h.To)
		if err == nil && (path(heldKeys, h.Key) != key || to != nil && to.Key != h.Key) {
			err = errOther
		}
		if err != nil {
			return err
		}
		m.held[h.Key] = held{r.now(h.Files), to, h.Since, h.By}
		m.use(to)
		return nil
	})
	if r.moved {
		r.rewrite()
	}
	if m.o.Broken != nil {
		m.audit = newAudit(m.o.Broken)
		m.audit.began(m)
	}
}

// readItem decodes a content.
func readItem(b []byte) (*Item, error) {
	var c content
	if err := json.Unmarshal(b, &c); err != nil {
		return nil, err
	}
	value, err := c.value()
	if err != nil {
		return nil, err
	}
	return itemOf(value)
}

// now returns the current hash of the content with a saved hash.
func (r *restoring) now(hash string) string {
	if i := r.items[hash]; i != nil {
		return i.Hash
	}
	return hash
}

func (r *restoring) item(hash string) (*Item, error) {
	if hash == "" {
		return nil, nil
	}
	i := r.items[hash]
	if i == nil {
		return nil, fmt.Errorf("its content %s is not there", hash)
	}
	return i, nil
}

func (r *restoring) changes() {
	m := r.m
	places := map[*change]int{}
	each(r, openKeys, func(key string, k keptChange) error {
		c, err := r.change(k)
		if err == nil && (openKeys+c.ID != key || !c.State.Open()) {
			err = errOther
		}
		if err == nil {
			m.open = append(m.open, c)
			places[c] = k.Place
		}
		return err
	})
	slices.SortStableFunc(m.open, func(a, b *change) int { return cmp.Compare(places[a], places[b]) })
	each(r, doneKeys, func(key string, k keptDone) error {
		c, err := r.change(k.keptChange)
		if err == nil && (doneKey(k.Seq) != key || c.State != Done) {
			err = errOther
		}
		if err == nil {
			c.seq = k.Seq
			m.seq = max(m.seq, k.Seq)
			m.done = append(m.done, c)
		}
		return err
	})
	slices.Reverse(m.done)
}

func (r *restoring) change(k keptChange) (*change, error) {
	c := &change{ID: k.ID, Policy: k.Policy, Opened: k.Opened, State: k.State, Reason: k.Reason, Ended: k.Ended,
		heldBy: k.HeldBy, Promoted: k.Promoted, Wave: k.Wave, Reached: k.Reached, Waves: k.Waves, Counts: k.Counts}
	for _, d := range k.Diffs {
		from, err := r.item(d.From)
		if err != nil {
			return nil, err
		}
		to, err := r.item(d.To)
		if err != nil {
			return nil, err
		}
		if from == nil && to == nil || from != nil && from.Key != d.Key || to != nil && to.Key != d.Key {
			return nil, errOther
		}
		c.Diffs = append(c.Diffs, diff{d.Key, from, to})
	}
	if len(c.Diffs) == 0 {
		return nil, errOther
	}
	switch {
	case c.Wave < 0 || c.Wave > len(c.Waves):
		return nil, fmt.Errorf("it is in wave %d, and %d are written", c.Wave, len(c.Waves))
	case c.Wave > 0 && c.Policy == nil:
		return nil, fmt.Errorf("it is in wave %d, and has no policy", c.Wave)
	}
	for _, d := range c.Diffs {
		r.m.use(d.From)
		r.m.use(d.To)
	}
	c.nodes = nodesOf(c.Diffs)
	if c.Wave > 0 {
		c.judgeAnew(c.Waves[c.Wave-1].Began)
	}
	return c, nil
}

// rewrite saves everything again, because this version computes hashes of contents
// differently.
func (r *restoring) rewrite() {
	m := r.m
	for key, i := range m.base {
		m.keepBase(key, i)
	}
	for key, h := range m.held {
		m.keepHeld(key, &h)
	}
	m.keepOpen()
	for _, c := range m.done {
		m.kept.put(doneKey(c.seq), keptDone{c.seq, c.keep(0)})
	}
}
