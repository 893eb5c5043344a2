package rollout

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"math"
	"slices"
	"strings"
	"time"

	"wasmxds/definition"
)

// diff is a definition that a change adds, changes or removes. From is nil if it adds it,
// To if it removes it.
type diff struct {
	Key
	From, To *Item
}

func hashIn(i *Item) string {
	if i == nil {
		return ""
	}
	return i.Hash
}

// change is a change that has not ended.
type change struct {
	ID     string
	Diffs  []diff              // by key; no two changes have a diff of the same key
	Policy *definition.Rollout // nil: it joins the base as soon as nothing prevents it
	Opened time.Time
	State  State
	Reason string // why it is Waiting, Paused or Stopped
	Ended  time.Time

	Promoted bool
	Wave     int     // the last wave that has begun, from 1; 0: none
	Reached  reached // the Envoys of this and earlier waves
	Waves    []waveTimes

	Counts counts
	seq    uint64  // among those that are done
	growth *growth // the wave that is about to begin; nil: none
	nodes  []definition.Selector

	needs    string            // why it does not compile with the base alone; "": it does
	heldBy   string            // the unreadable Rollout that may apply to it; "": none
	idle     time.Time         // since when no Envoy is concerned
	prepared time.Time         // when the Envoys of its next wave were last determined
	had      bool              // an Envoy that this replica has seen has been in its wave
	waitsFor map[string]string // labels of its next wave that no Envoy has; nil: none
	verdicts []verdict         // of the judges, for its current wave
	judging  time.Time         // since when they are asked: when the wave began, or was resumed
	cohorts  Watch             // of its current wave
	resumed  *Watch            // the Watch in the saved state, until it continues here; nil: none
	toldKept bool              // the signals from before the wave are written

	counted bool // false until its Envoys are counted for the first time
	census

	texts     *texts          // for people
	back      int             // how many Envoys had it when it stopped
	returning map[string]bool // Envoys that had it when it stopped, and have not yet shown what they run now
}

// census counts the Envoys of a change. Machine.tally maintains it.
type census struct {
	concerned int // connected, and concerned by the change
	members   int // of concerned, those that its waves have reached
	settled   int // of members, those that run it
	unsettled int // of members, those that do not run it and that its wave waits for
	expected  int // concerned, and not seen since this process started
	away      int // have the change, and disconnected a moment ago
}

// waveTimes are the times at which a wave began, was settled on all its Envoys, and ended.
type waveTimes struct {
	Began time.Time `json:"began"`
	Good  time.Time `json:"good,omitzero"`
	Ended time.Time `json:"ended,omitzero"`

	Envoys int `json:"envoys,omitempty"` // number that it reached, including earlier waves
}

// growth is a wave that begins as soon as it is saved.
type growth struct {
	wave    int
	reached reached
	seq     uint64    // of the batch that contains it; 0: none yet
	since   time.Time // since when its Envoys are observed
	waves   []waveTimes
	envoys  int  // number that it reaches
	writing bool // it is being saved; until then its Envoys are only observed
	pass    bool // the change joins the base once this is saved
	watch   Watch
	// observed means that the Envoys of watch are observed already.
	observed bool
}

type verdict struct {
	judge   string
	verdict Verdict
	words   string
}

// idOf derives a change's ID from its diffs.
func idOf(diffs []diff) string {
	h := sha256.New()
	for _, d := range diffs {
		for _, s := range []string{d.Kind, d.Name, hashIn(d.From), hashIn(d.To)} {
			h.Write(binary.AppendUvarint(nil, uint64(len(s))))
			h.Write([]byte(s))
		}
	}
	return hex.EncodeToString(h.Sum(nil)[:6])
}

// title names the change for people.
func title(diffs []diff) string {
	var names []string
	for _, d := range diffs {
		if len(names) == 3 && len(diffs) > 4 {
			return strings.Join(names, ", ") + " and " + number(len(diffs)-3, "other", "others")
		}
		names = append(names, d.Name)
	}
	return strings.Join(names, ", ")
}

// names returns the names of the definitions.
func names(diffs []diff) []string {
	var all []string
	for _, d := range diffs {
		all = append(all, d.Name)
	}
	return all
}

// concerns reports whether the change affects a node: whether its old or new content
// selects it.
func (c *change) concerns(n *definition.Node) bool { return anyMatches(c.nodes, n) }

func anyMatches(all []definition.Selector, n *definition.Node) bool {
	for i := range all {
		if all[i].Matches(*n) {
			return true
		}
	}
	return false
}

// has reports whether an Envoy should have the change. (Invariant 1.)
func (c *change) has(n *node) bool {
	return c.reaches() && c.Reached.has(&n.Node, n.place) && c.concerns(&n.Node)
}

// reaches reports whether any Envoy should have the change.
func (c *change) reaches() bool {
	return c.Wave > 0 && (c.State == Rolling || c.State == Paused)
}

// anew lets a change that no Envoy has begin with its first wave.
func (c *change) anew() {
	c.Wave, c.Reached, c.Waves, c.waitsFor = 0, reached{}, nil, nil
}

// policyWaves returns the number of waves in the policy.
func (c *change) policyWaves() int {
	if c.Policy == nil {
		return 0
	}
	return len(c.Policy.Waves)
}

// touches reports whether the change contains a definition.
func (c *change) touches(k Key) bool {
	return slices.ContainsFunc(c.Diffs, func(d diff) bool { return d.Key == k })
}

// reached describes the Envoys that waves have reached.
type reached struct {
	Labels []map[string]string // Envoys with all labels of one of these
	IDs    []string            // sorted; chosen for waves with a count
	UpTo   uint64              // Envoys whose place is at most this
}

func (r *reached) has(n *definition.Node, place uint64) bool {
	if place <= r.UpTo && r.UpTo > 0 {
		return true
	}
	if _, chosen := slices.BinarySearch(r.IDs, n.ID); chosen {
		return true
	}
	return r.labels(n)
}

func (r *reached) labels(n *definition.Node) bool {
	return slices.ContainsFunc(r.Labels, func(l map[string]string) bool { return labelled(n, l) })
}

func (r *reached) all() bool { return r.UpTo == math.MaxUint64 }

func labelled(n *definition.Node, labels map[string]string) bool {
	return definition.Selector{Labels: labels}.Matches(*n)
}

// everybody returns the reached of a change that is everywhere.
func everybody() reached { return reached{UpTo: math.MaxUint64} }

// placeOf returns a node's place in the order of all nodes. It is the same on every
// replica, and does not follow the order of names.
func placeOf(id string) uint64 {
	sum := sha256.Sum256([]byte(id))
	return binary.BigEndian.Uint64(sum[:8])
}

// keptChange is the saved form of a change.
type keptChange struct {
	ID       string              `json:"id"`
	Diffs    []keptDiff          `json:"diffs"`
	Policy   *definition.Rollout `json:"policy,omitempty"`
	Opened   time.Time           `json:"opened"`
	State    State               `json:"state"`
	Reason   string              `json:"reason,omitempty"`
	Ended    time.Time           `json:"ended,omitzero"`
	HeldBy   string              `json:"heldBy,omitempty"`
	Promoted bool                `json:"promoted,omitempty"`
	Wave     int                 `json:"wave,omitempty"`
	Reached  reached             `json:"reached,omitzero"`
	Waves    []waveTimes         `json:"waves,omitempty"`
	Counts   counts              `json:"counts,omitzero"`
	Place    int                 `json:"place"` // among the open changes
	// Before is the progress before the wave that is being saved; nil: none is.
	Before *keptWave `json:"before,omitempty"`
}

// keptWave is the progress of a change.
type keptWave struct {
	Wave    int         `json:"wave,omitempty"`
	Reached reached     `json:"reached,omitzero"`
	Waves   []waveTimes `json:"waves,omitempty"`
}

// keptDiff has the hashes of contents.
type keptDiff struct {
	Key
	From string `json:"from,omitempty"`
	To   string `json:"to,omitempty"`
}

func keptDiffs(diffs []diff) []keptDiff {
	var out []keptDiff
	for _, d := range diffs {
		out = append(out, keptDiff{d.Key, hashIn(d.From), hashIn(d.To)})
	}
	return out
}
