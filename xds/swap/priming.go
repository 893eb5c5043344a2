package swap

import (
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
	patience     = 5 * time.Second  // how long a filter that fails, or one that is to stand by, is waited for before the rest goes on without it
	unseen       = 5                // NACKs without a download seen that make a fetch a failed one
	// settle is what Envoy needs, at least, between the last byte of a module
	// and its use: it hashes the module and puts it in its cache.
	settle = 5 * time.Millisecond
)

// Phase is how far a version of a filter has come on an Envoy that does not
// have it primed yet.
//
//	phase        push         NACK                        download begins  ends     breaks off
//	Missing      -            -                           -                -        -
//	Queued       Pushed       Pushed or Refused           -                -        -
//	Pushed       Pushed       Pushed or Refused           Downloading      Fetched  Pushed
//	Downloading  Downloading  Downloading, if another's   Downloading      Fetched  Pushed, if it was refused
//	                          as from Pushed                                        before Refused
//	Fetched      Pushed       Fetched                     Downloading      Fetched  Fetched
//	Refused      Refused      Refused                     Downloading      Fetched  Refused
//
// A NACK leads to Refused where Envoy has the module, or after too many without
// a download seen; elsewhere it means that Envoy fetches. An ACK leads from
// each to Primed. Another version wanted begins at Queued, or, if it is of the
// same module and that was not refused, goes on in the same phase. What is Queued
// when a download ends of its module, for another filter, is pushed with that one,
// and is Queued again if they are refused together; others that are keep their phase.
type Phase uint8

const (
	Missing     Phase = iota // xds-server does not have the module
	Queued                   // not sent
	Pushed                   // sent, and no download was seen since
	Downloading              // Envoy, or another at its address, is seen to download the module
	Fetched                  // a download has ended since it was sent
	Refused                  // NACKed with the module at hand, or too often
	Primed                   // Envoy has fetched, compiled, started and configured it
)

// Priming is a filter that an Envoy is to have and has not ACKed. It is a
// plain value; see [Priming.Next].
type Priming struct {
	Filter  string // name
	Version string
	SHA256  string    // of the module
	Message string    // of the newest NACK
	Since   time.Time // when it began to be wanted
	Due     time.Time // not pushed before
	Phase   Phase

	attempt   int
	nacks     int32
	refusals  int32 // NACKs that are no mere sign of a fetch, since a download ended
	downloads int32 // that were seen to end
	here      bool
	guessed   bool  // so far as its module was fetched for another filter
	cached    bool  // it was pushed last to an Envoy that had the module: nothing is fetched
	shared    bool  // the download may be another Envoy's
	alone     bool  // it was NACKed together with others: it goes alone
	slotOnly  bool  // the slot was NACKed, not the twin
	told      Stage // as what its end was told
}

// PrimingEvent is something that may take a Priming to another phase.
type PrimingEvent interface {
	next(p *Priming, t Timing)
}

// Timing is what the times in a Priming depend on.
type Timing struct {
	Now    time.Time
	Lag    time.Duration  // between the newest response that was answered and its answer
	Random func() float64 // in [0, 1), for jitter; nil: none
}

// Next is p after an event.
func (p Priming) Next(e PrimingEvent, t Timing) Priming {
	e.next(&p, t)
	return p
}

// newPriming begins with f at an attempt.
func newPriming(f *resource.Filter, attempt int, now time.Time) Priming {
	p := Priming{Filter: f.Name, Version: f.Version, SHA256: f.SHA256, Phase: Queued, Since: now, attempt: attempt}
	if f.Missing != "" {
		p.Phase = Missing
	}
	return p
}

// refused tells whether Envoy refuses this version, as far as is known.
func (p *Priming) refused() bool { return p.refusals > 0 }

// fails tells whether it can't be had, as far as is known.
func (p *Priming) fails() bool { return p.Phase == Missing || p.refused() }

// overdue tells whether it was waited for long enough.
func (p *Priming) overdue(now time.Time) bool { return !now.Before(p.Since.Add(patience)) }

// sent tells whether it was pushed.
func (p *Priming) sent() bool { return p.Phase > Queued }

// push is that it is sent. cached: Envoy has the module, as something else runs
// on it.
type push struct{ cached bool }

func (e push) next(p *Priming, _ Timing) {
	p.cached = e.cached
	if p.Phase != Refused && p.Phase != Downloading {
		p.Phase = Pushed
	}
}

// nack is a NACK of this version alone. cached: Envoy has the module, as
// something else runs on it.
type nack struct {
	message string
	cached  bool
}

func (e nack) next(p *Priming, t Timing) {
	p.Message = e.message
	p.nacks++
	p.doubt(e.cached)
	if p.Phase == Downloading && p.shared && p.nacks > 1 && !t.Now.Before(p.Due) {
		p.Phase = Pushed // pushed after the wait: the download was another Envoy's
	}
	switch p.Phase {
	case Downloading:
		p.Due = t.Now.Add(p.wait())
	case Fetched:
		p.Due = later(p.Due, t.Now.Add(settle))
	default:
		p.here = p.here || e.cached
		p.Phase = Pushed
		if p.here || p.nacks >= unseen {
			p.refusals++
			p.Phase = Refused
		}
		p.Due = t.Now.Add(t.backoff(int(p.nacks)))
	}
}

// nackTogether is a NACK of a response that carried other filters, too: which
// of them it was is seen when each goes again: at once where Envoy has the module,
// else when it has had time to fetch it once more. One that was with them because
// its module had been fetched for another waits for that one.
type nackTogether struct {
	message string
	cached  bool // something else runs on the module
}

func (e nackTogether) next(p *Priming, t Timing) {
	p.Message = e.message
	if p.doubt(e.cached) {
		p.Phase = Queued
		return
	}
	p.alone = true
	if !e.cached {
		p.Due = later(p.Due, t.Now.Add(t.backoff(1)))
	}
}

// doubt takes back that the Envoy has the module, where that was guessed and nothing
// runs on it.
func (p *Priming) doubt(cached bool) bool {
	if !p.guessed || cached {
		return false
	}
	p.here, p.guessed = false, false
	return true
}

// fetched is that the module was fetched for another filter, which is due then.
type fetched struct{ due time.Time }

func (e fetched) next(p *Priming, _ Timing) {
	if p.Phase == Queued && !p.here {
		p.here, p.guessed, p.Due = true, true, later(p.Due, e.due)
	}
}

// ack is that it is primed.
type ack struct{}

func (ack) next(p *Priming, _ Timing) { p.Phase = Primed }

// supersede is that another version, or the same of another module, is wanted
// instead. A fetch of the same module that is under way serves it as well.
type supersede struct {
	filter  *resource.Filter
	attempt int // where attempts begin
}

func (e supersede) next(p *Priming, t Timing) {
	next := newPriming(e.filter, e.attempt, t.Now)
	if p.SHA256 == e.filter.SHA256 && !p.refused() && next.Phase != Missing {
		next.Phase, next.Due, next.attempt = max(p.Phase, Queued), p.Due, p.attempt
		next.here, next.guessed, next.shared, next.downloads = p.here, p.guessed, p.shared, p.downloads
	}
	*p = next
}

// Progress is how far a download is.
type Progress uint8

const (
	DownloadStarted Progress = iota
	DownloadDone             // all bytes are with the Envoy
	DownloadAborted
)

// Download is what the module server saw of a download that is probably this
// Envoy's.
type Download struct {
	SHA256   string
	Progress Progress
	Size     int64 // bytes, of the module
	Shared   bool  // it may be another Envoy's at the same address
}

func (d Download) next(p *Priming, t Timing) {
	switch d.Progress {
	case DownloadStarted:
		p.Phase, p.shared = Downloading, d.Shared
		if p.nacks > 0 {
			p.Due = t.Now.Add(p.wait())
		}
	case DownloadDone:
		p.Phase, p.here, p.guessed, p.refusals = Fetched, true, false, 0
		p.downloads++
		p.Due = t.Now.Add(t.arrival(int(p.downloads), d.Size))
	case DownloadAborted:
		switch {
		case p.refused():
			p.Phase = Refused
		case p.Phase == Downloading:
			p.Phase = Pushed
		}
		p.Due = t.Now.Add(t.jitter(negative))
	}
}

// wait is how long a download that is under way is waited for.
func (p *Priming) wait() time.Duration {
	if p.shared {
		return sharedWait
	}
	return downloading
}

// backoff is the pause after the nth NACK in a row. An Envoy that takes long to
// answer takes as long to begin a download, and to say so.
func (t Timing) backoff(n int) time.Duration {
	d := maxBackoff
	if n < 8 {
		d = min(maxBackoff, max(firstBackoff, 4*t.Lag)<<(n-1))
	}
	return t.jitter(d)
}

// arrival is when Envoy has probably stored a module after its nth download was
// seen to end: one that takes long to answer takes long to see what has come.
// If it had not after the first, something on the way holds modules back for
// longer than can be seen, and each push made it fetch again: then the pause
// doubles.
func (t Timing) arrival(n int, size int64) time.Duration {
	if n == 1 {
		return settle + min(maxArrival, 2*t.Lag) + time.Duration(size)*10*time.Millisecond/(1<<20)
	}
	return t.jitter(min(maxArrival, firstBackoff<<min(n-2, 8)))
}

// jitter lengthens d by up to a fifth, so that a fleet does not come at once.
func (t Timing) jitter(d time.Duration) time.Duration {
	if t.Random == nil {
		return d
	}
	return d + time.Duration(t.Random()*float64(d)/5)
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// refusal is a resource that Envoy NACKed and that is no filter of ours: it is
// sent again after a pause, or at once when it changes.
type refusal struct {
	typ           Type
	name, version string
	message       string
	nacks         int
	due           time.Time // not sent again before
	written       bool      // it is sent as it is written, and so not again at all
	restored      bool      // ... and replaced by what Envoy had
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
