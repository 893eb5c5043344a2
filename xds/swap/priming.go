package swap

import (
	"strings"
	"time"

	"wasmxds/resource"
)

// Times of the protocol.
const (
	firstBackoff = 250 * time.Millisecond // after a NACK, if no download is seen
	maxBackoff   = 15 * time.Second
	maxArrival   = 2 * time.Second  // between the end of a download and a push
	negative     = 10 * time.Second // how long Envoy remembers a failed fetch (CODE_CACHE_SECONDS_NEGATIVE_CACHING in its wasm.cc)
	downloading  = 2 * time.Minute  // after that, a download that was not seen to end is given up
	sharedWait   = 2 * time.Second  // the same for a download that may be another Envoy's
	patience     = 5 * time.Second  // how long to wait for a failing filter, or one that should stand by, before the rest continues without it
	unseen       = 5                // number of NACKs without a visible download after which the fetch has failed
	unseenOld    = 3                // the same if Envoy had the module, and may have dropped it since
	// settle is the least time that Envoy needs between the last byte of a module and its
	// use: it hashes the module and puts it in its cache.
	settle = 5 * time.Millisecond
)

// Phase is the progress of a filter version that is not primed yet on an Envoy.
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
// A NACK leads to Refused if Envoy has the module, or after too many NACKs without a
// visible download; otherwise it means that Envoy is fetching. An ACK leads from every
// phase to Primed. A new version begins at Queued or, if it has the same module and that
// was not rejected, continues in the same phase. A filter that is Queued when a download of
// its module ends, for another filter, is pushed with that one, and is Queued again if they
// are rejected together. Other filters that are rejected together keep their phase.
type Phase uint8

const (
	Missing     Phase = iota // xds-server does not have the module
	Queued                   // not sent
	Pushed                   // sent, and no download was seen since
	Downloading              // Envoy, or another one at its address, is seen downloading the module
	Fetched                  // a download has ended since it was sent
	Refused                  // NACKed although Envoy has the module, or too often
	Primed                   // Envoy has fetched, compiled, started and configured it
)

// Priming is the state of a filter that an Envoy should have and has not ACKed. It is a
// plain value; see [Priming.Next].
type Priming struct {
	Filter  string // name
	Version string
	SHA256  string    // of the module
	Message string    // of the newest NACK
	Since   time.Time // since when it is wanted
	Due     time.Time // earliest time of the next push
	Phase   Phase

	attempt   int
	nacks     int32
	refusals  int32 // NACKs since the last download ended that mean more than a fetch
	downloads int32 // downloads that were seen to end
	here      bool
	guessed   bool  // here is a guess, because the module was fetched for another filter
	cached    bool  // Envoy had the module at the last push: nothing is fetched
	fetches   bool  // a download was seen to begin: Envoy did not have the module
	shared    bool  // the download may be another Envoy's
	alone     bool  // it was NACKed together with others, and must be sent alone
	slotOnly  bool  // the slot was NACKed, not the twin
	told      Stage // how its failure was last reported
}

// PrimingEvent is an event that may change the phase of a Priming.
type PrimingEvent interface {
	next(p *Priming, t Timing)
}

// Timing contains what the times in a Priming depend on.
type Timing struct {
	Now    time.Time
	Lag    time.Duration  // between the newest response that was answered and its answer
	Random func() float64 // returns numbers in [0, 1) for jitter; nil: none
}

// Next returns p after an event.
func (p Priming) Next(e PrimingEvent, t Timing) Priming {
	e.next(&p, t)
	return p
}

// newPriming returns the Priming of f, starting at an attempt.
func newPriming(f *resource.Filter, attempt int, now time.Time) Priming {
	p := Priming{Filter: f.Name, Version: f.Version, SHA256: f.SHA256, Phase: Queued, Since: now, attempt: attempt}
	if f.Missing != "" {
		p.Phase = Missing
	}
	return p
}

// refused reports whether Envoy rejects this version, as far as is known.
func (p *Priming) refused() bool { return p.refusals > 0 }

// fails reports whether the version is unavailable, as far as is known.
func (p *Priming) fails() bool { return p.Phase == Missing || p.refused() }

// overdue reports whether it was waited for long enough.
func (p *Priming) overdue(now time.Time) bool { return !now.Before(p.Since.Add(patience)) }

// sent reports whether it was pushed.
func (p *Priming) sent() bool { return p.Phase > Queued }

// push means that the version is sent. cached means that Envoy has the module, because
// something else that runs uses it.
type push struct{ cached bool }

func (e push) next(p *Priming, _ Timing) {
	p.cached = e.cached
	if p.Phase != Refused && p.Phase != Downloading {
		p.Phase = Pushed
	}
}

// nack is a NACK of this version alone. cached means that Envoy has the module, because
// something else that runs uses it; old that it had the module, and may have dropped it.
type nack struct {
	message     string
	cached, old bool
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
		p.here = p.here || e.cached || e.old && p.nacks >= unseenOld && !p.fetches
		p.Phase = Pushed
		if p.here || p.nacks >= unseen {
			p.refusals++
			p.Phase = Refused
		}
		p.Due = t.Now.Add(t.backoff(int(p.nacks)))
	}
}

// nackTogether is a NACK of a response with other filters as well. Each is sent again to
// find out which one was rejected: at once if Envoy has the module, or else when it has had
// time to fetch it once more. A filter that was in the response because its module had been
// fetched for another waits for that one.
type nackTogether struct {
	message string
	cached  bool // something else that runs uses the module
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

// doubt revokes a guess that the Envoy has the module, unless something that runs uses it.
// It reports whether it did.
func (p *Priming) doubt(cached bool) bool {
	if !p.guessed || cached {
		return false
	}
	p.here, p.guessed = false, false
	return true
}

// fetched means that the module was fetched for another filter, which is due then.
type fetched struct{ due time.Time }

func (e fetched) next(p *Priming, _ Timing) {
	if p.Phase == Queued && !p.here {
		p.here, p.guessed, p.Due = true, true, later(p.Due, e.due)
	}
}

// ack means that the version is primed.
type ack struct{}

func (ack) next(p *Priming, _ Timing) { p.Phase = Primed }

// supersede means that another version, or the same version with another module, is wanted
// instead. A fetch of the same module that is in progress serves that as well.
type supersede struct {
	filter  *resource.Filter
	attempt int // where attempts begin
}

func (e supersede) next(p *Priming, t Timing) {
	next := newPriming(e.filter, e.attempt, t.Now)
	if p.SHA256 == e.filter.SHA256 && !p.refused() && next.Phase != Missing {
		next.Phase, next.Due, next.attempt = max(p.Phase, Queued), p.Due, p.attempt
		next.here, next.guessed, next.shared, next.downloads, next.fetches = p.here, p.guessed, p.shared, p.downloads, p.fetches
	}
	*p = next
}

// Progress is the progress of a download.
type Progress uint8

const (
	DownloadStarted Progress = iota
	DownloadDone             // the Envoy has received all bytes
	DownloadAborted
)

// Download is an observation of the module server about a download that is probably this
// Envoy's.
type Download struct {
	SHA256   string
	Progress Progress
	Size     int64 // size of the module, in bytes
	Shared   bool  // it may be another Envoy's at the same address
}

func (d Download) next(p *Priming, t Timing) {
	switch d.Progress {
	case DownloadStarted:
		p.Phase, p.shared, p.fetches = Downloading, d.Shared, true
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

// wait returns how long to wait for a download in progress.
func (p *Priming) wait() time.Duration {
	if p.shared {
		return sharedWait
	}
	return downloading
}

// backoff returns the pause after the nth NACK in a row. An Envoy that takes long to answer
// also takes long to begin a download, and that download takes long to be seen.
func (t Timing) backoff(n int) time.Duration {
	d := maxBackoff
	if n < 8 {
		d = min(maxBackoff, max(firstBackoff, 4*t.Lag)<<(n-1))
	}
	return t.jitter(d)
}

// arrival returns how long after the visible end of its nth download Envoy has probably
// stored a module: an Envoy that takes long to answer takes long to notice what has
// arrived. If it had not stored the module after the first download, something on the way
// delays modules for longer than can be observed, and each push made it fetch again; the
// pause then doubles.
func (t Timing) arrival(n int, size int64) time.Duration {
	if n == 1 {
		return settle + min(maxArrival, 2*t.Lag) + time.Duration(size)*10*time.Millisecond/(1<<20)
	}
	return t.jitter(min(maxArrival, firstBackoff<<min(n-2, 8)))
}

// jitter lengthens d by up to one fifth, so that a fleet does not act at once.
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

// refusal is a resource that Envoy NACKed and that is not one of our filters. It is sent
// again after a pause, or at once when it changes.
type refusal struct {
	typ           Type
	name, version string
	message       string
	nacks         int
	due           time.Time // earliest time at which it is sent again
	written       bool      // it is sent as written, and therefore never again
	restored      bool      // it was replaced by what Envoy had
}

// mentions reports whether message contains name as a separate word.
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
