package swap

import (
	"slices"
	"strings"
	"time"

	"wasmxds/resource"
)

// The protocol's times.
const (
	firstBackoff = 250 * time.Millisecond // after a NACK, where no download is seen
	maxBackoff   = 15 * time.Second
	maxArrival   = 2 * time.Second  // between a download that ended and a push
	negative     = 10 * time.Second // Envoy's memory of a failed fetch (CODE_CACHE_SECONDS_NEGATIVE_CACHING in its wasm.cc)
	downloading  = 2 * time.Minute  // a download that is not seen to end is given up
	sharedWait   = 2 * time.Second  // the same where it may be another Envoy's
	warmLimit    = 2 * time.Minute  // how long an Envoy that took a listener may be waited for to ask for its filters
	patience     = 5 * time.Second  // how long a filter that fails is waited for before the rest goes on without it
	unseen       = 5                // NACKs without a download seen that make a fetch a failed one
)

// try is a resource that this Envoy is to have and has not ACKed.
type try struct {
	typ       Type
	name      string // the filter's where typ is Extension
	version   string
	sha256    string
	since     time.Time
	due       time.Time // not pushed before
	attempt   int
	nacks     int
	pushed    bool // at least once
	open      bool // its download is under way
	shared    bool // or that of another Envoy
	fetched   bool // a download ended since the last push
	here      bool // Envoy has the module
	downloads int  // that were seen to end
	refused   bool // NACKed with the module at hand, or too often
	message   string
	onlySlot  bool  // the slot was NACKed, not the twin
	alone     bool  // it was NACKed together with others
	told      Stage // that it has come to nothing
	written   bool  // sent as it is written, and refused: not sent again
	restored  bool  // ... and replaced by what Envoy had
}

func (m *Machine) try(t Type, name string) *try {
	for _, tr := range m.tries {
		if tr.typ == t && tr.name == name {
			return tr
		}
	}
	return nil
}

// held tells whether this very version was NACKed and is not due again.
func (m *Machine) held(t Type, name, version string, now time.Time) bool {
	tr := m.try(t, name)
	return tr != nil && tr.version == version && (tr.written || now.Before(tr.due))
}

// tracked is what track looks at, but for what answers change.
type tracked struct {
	asker
	at *View // filters
}

// track keeps a try for each filter that is not primed, and none for those
// that are or are gone.
func (m *Machine) track(now time.Time) {
	s := &m.subs[Extension]
	seen := tracked{m.primer(), s.have}
	if !s.subscribed && !seen.lds {
		return
	}
	if seen == m.tracked {
		return
	}
	m.tracked = seen
	m.tries = slices.DeleteFunc(m.tries, func(tr *try) bool {
		if tr.typ != Extension {
			want, ok := m.lookup(tr.typ, tr.name)
			return !ok || want.version != tr.version
		}
		f := m.filter(tr.name)
		if f != nil {
			return tr.version == f.Version && !tr.onlySlot && m.primed(f)
		}
		want, ok := m.lookup(Extension, tr.name)
		return !ok || want.version != tr.version
	})
	for _, f := range m.unprimed() {
		if tr := m.try(Extension, f.Name); tr == nil {
			m.tries = append(m.tries, m.newTry(f, now))
		}
	}
	for _, tr := range m.tries {
		if f := m.filter(tr.name); tr.typ == Extension && f != nil && tr.version != f.Version {
			m.renew(tr, f, now)
		}
	}
}

func (m *Machine) newTry(f *resource.Filter, now time.Time) *try {
	tr := &try{typ: Extension, name: f.Name, version: f.Version, sha256: f.SHA256, since: now}
	if m.known {
		tr.attempt = m.salt
	}
	return tr
}

// renew turns to another version. A fetch of the same module that is under way
// serves it as well, so it is waited for all the same.
func (m *Machine) renew(tr *try, f *resource.Filter, now time.Time) {
	next := m.newTry(f, now)
	if tr.sha256 == f.SHA256 && !tr.refused {
		next.due, next.open, next.shared, next.fetched, next.here, next.downloads = tr.due, tr.open, tr.shared, tr.fetched, tr.here, tr.downloads
		next.attempt, next.pushed = tr.attempt, tr.pushed
	}
	*tr = *next
}

// done ends the try of what was ACKed.
func (m *Machine) done(t Type, it item) {
	name := it.name
	if t == Extension {
		name = strings.TrimPrefix(name, resource.TwinPrefix)
	}
	m.tries = slices.DeleteFunc(m.tries, func(tr *try) bool {
		return tr.typ == t && tr.name == name && tr.version == it.version
	})
}

func (m *Machine) nacked(t Type, r *Response, message string, now time.Time) {
	if t == Extension {
		for _, it := range r.changed {
			m.nackedExtension(it, len(r.changed) == 1, message, now)
		}
		return
	}
	// Envoy names what it refused; where it doesn't, all of it counts.
	refused := slices.DeleteFunc(slices.Clone(r.changed), func(it item) bool { return !mentions(message, it.name) })
	if len(refused) == 0 {
		refused = r.changed
	}
	for _, it := range refused {
		m.soilStatic(it)
		tr := m.try(t, it.name)
		if tr == nil {
			tr = &try{typ: t, name: it.name, since: now}
			m.tries = append(m.tries, tr)
		}
		if tr.version != it.version {
			tr.version, tr.nacks = it.version, 0
		}
		tr.nacks++
		tr.message, tr.refused = message, true
		tr.due = now.Add(m.backoff(tr.nacks))
		if t == Listener && it.name == resource.PrimerListener {
			m.soil()
		}
	}
}

// soil marks all twins as in need of another push: Envoy builds a listener
// from the last content it was sent for each slot, even from one it refused,
// and then refuses the listener.
func (m *Machine) soil() {
	s := &m.subs[Extension]
	if s.names == nil {
		return
	}
	for _, n := range s.names.sorted {
		if isTwin(n) && !slices.Contains(m.dirty, n) {
			m.dirty = append(m.dirty, n)
		}
	}
}

func (m *Machine) nackedExtension(it item, alone bool, message string, now time.Time) {
	if !slices.Contains(m.dirty, it.name) {
		m.dirty = append(m.dirty, it.name)
	}
	name := strings.TrimPrefix(it.name, resource.TwinPrefix)
	tr := m.try(Extension, name)
	if tr == nil {
		tr = &try{typ: Extension, name: name, version: it.version, since: now}
		if it.filter != nil {
			tr.sha256 = it.filter.SHA256
		}
		tr.attempt = m.salt
		m.tries = append(m.tries, tr)
	}
	tr.onlySlot = !isTwin(it.name) && m.wants(Extension, resource.TwinPrefix+name)
	tr.attempt++
	if tr.version != it.version {
		return // superseded while it was under way
	}
	if it.written {
		tr.refusedWritten(message)
		return
	}
	tr.message = message
	if !alone {
		tr.alone = true // which of them it was is seen when each goes again
		return
	}
	tr.nacks++
	if tr.shared && tr.nacks > 1 && !now.Before(tr.due) {
		tr.open = false // pushed after the wait: the download was another Envoy's
	}
	switch {
	case tr.open:
		tr.due = now.Add(tr.wait())
	case tr.fetched:
		tr.due = maxTime(tr.due, now.Add(settle))
	default:
		tr.here = tr.here || it.filter != nil && m.cached(it.filter)
		tr.refused = tr.here || tr.nacks >= unseen
		tr.due = now.Add(m.backoff(tr.nacks))
	}
	m.failed(tr)
}

// backoff is the pause after the nth NACK in a row. An Envoy that takes long to
// answer takes as long to begin a download, and to say so.
func (m *Machine) backoff(n int) time.Duration {
	d := maxBackoff
	if n < 8 {
		d = min(maxBackoff, max(firstBackoff, 4*m.lag)<<(n-1))
	}
	return m.jitter(d)
}

// jitter lengthens d by up to a fifth, so that a fleet does not come at once.
func (m *Machine) jitter(d time.Duration) time.Duration {
	if m.rand == nil {
		return d
	}
	return d + time.Duration(m.rand()*float64(d)/5)
}

// wait is how long a download that is under way is waited for.
func (tr *try) wait() time.Duration {
	if tr.shared {
		return sharedWait
	}
	return downloading
}

// Awaits tells whether this Envoy has probably been told to fetch a module and
// has not been seen to have it, or is seen to download it: whoever was told of
// a beginning has to be told of the end.
func (m *Machine) Awaits(sha256 string) bool {
	return slices.ContainsFunc(m.tries, func(tr *try) bool {
		return tr.typ == Extension && tr.sha256 == sha256 && tr.pushed && (tr.open || !tr.refused && !tr.fetched)
	})
}

// Phase is how far a download is.
type Phase uint8

const (
	Started Phase = iota
	Done          // all bytes are with the Envoy
	Aborted
)

// Download is what the module server saw of a download that is probably this
// Envoy's.
type Download struct {
	SHA256 string
	Phase  Phase
	Size   int64 // bytes, of the module
	Shared bool  // it may be another Envoy's at the same address
}

// arrival is when Envoy has probably stored a module after its nth download was
// seen to end: one that takes long to answer takes long to see what has come. If
// it had not after the first, something on the way holds
// modules back for longer than can be seen, and each push made it fetch again:
// then the pause doubles.
func (m *Machine) arrival(n int, size int64) time.Duration {
	if n == 1 {
		return settle + min(maxArrival, 2*m.lag) + time.Duration(size)*10*time.Millisecond/(1<<20)
	}
	return m.jitter(min(maxArrival, firstBackoff<<min(n-2, 8)))
}

// settle is what Envoy needs, at least, between the last byte of a module and
// its use: it hashes the module and puts it in its cache.
const settle = 5 * time.Millisecond

func (d Download) apply(m *Machine, now time.Time) {
	for _, tr := range m.tries {
		if tr.typ != Extension || tr.sha256 != d.SHA256 || !tr.pushed {
			continue
		}
		switch d.Phase {
		case Started:
			tr.open, tr.shared = true, d.Shared
			if tr.nacks > 0 {
				tr.due = now.Add(tr.wait())
			}
		case Done:
			tr.open, tr.fetched, tr.here = false, true, true
			tr.refused = false
			tr.downloads++
			tr.due = now.Add(m.arrival(tr.downloads, d.Size))
		case Aborted:
			tr.open = false
			tr.due = now.Add(m.jitter(negative))
		}
	}
}

// Due is when to Step with a Tick next; zero: not needed.
func (m *Machine) Due(now time.Time) time.Time {
	var due time.Time
	soonest := func(t time.Time) {
		if t.After(now) && (due.IsZero() || t.Before(due)) {
			due = t
		}
	}
	for _, tr := range m.tries {
		soonest(tr.due)
		soonest(tr.since.Add(patience))
	}
	if m.warming(now) {
		soonest(m.warmEnd)
	}
	if m.mute() {
		soonest(m.began.Add(silence)) // what it is told to lack changes then
	}
	return due
}

func maxTime(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// mentions tells whether name stands in message as a word of its own.
func mentions(message, name string) bool {
	for rest := message; ; {
		i := strings.Index(rest, name)
		if i < 0 {
			return false
		}
		end := i + len(name)
		if !wordAt(rest, i-1) && !wordAt(rest, end) {
			return true
		}
		rest = rest[end:]
	}
}

func wordAt(s string, i int) bool {
	if i < 0 || i >= len(s) {
		return false
	}
	c := s[i]
	return c == '-' || c == '_' || c == '/' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}
