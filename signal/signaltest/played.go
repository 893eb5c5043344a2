package signaltest

import (
	"sync"
	"time"

	"wasmxds/signal"
)

// Played is a simulated fleet for rollouts that are run elsewhere: it reports which Envoys
// are away, and stores the signals of those that are observed, as [signal.Counts] does. It
// is safe for concurrent use.
type Played struct {
	mu      sync.Mutex
	w       *world
	numbers map[string]int
	watched map[string]bool
}

// Play starts a fleet in which a change does harm. The result is deterministic for a seed.
func (f Fleet) Play(seed uint64, start time.Time, h Harm) *Played {
	p := &Played{w: f.world(seed, h), numbers: map[string]int{}, watched: map[string]bool{}}
	p.w.start = start
	for i := range f.Envoys {
		p.numbers[p.w.envoy(i, 0).name] = i
	}
	return p
}

// Name returns the name of an Envoy, by its number.
func (p *Played) Name(i int) string { return p.w.envoys[i].name }

// Has sets since when an Envoy has the change; zero: it does not have it.
func (p *Played) Has(i int, since time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	e := p.w.envoys[i]
	p.goTo(e, since)
	if e.since = never; !since.IsZero() {
		e.since = p.at(since)
	}
}

// Away reports whether an Envoy is away at a time, and how often it has restarted.
func (p *Played) Away(i int, at time.Time) (away bool, restarts int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	e := p.w.envoys[i]
	p.goTo(e, at)
	return float64(e.now) < e.down, e.restarts
}

// Watch replaces the observed Envoys, and removes blocks that began before since.
func (p *Played) Watch(nodes []string, since time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	watched := map[string]bool{}
	for _, name := range nodes {
		watched[name] = true
		e := p.w.envoys[p.numbers[name]]
		if !p.watched[name] {
			e.blocks, e.tally = nil, nil
		}
		for len(e.blocks) > 0 && e.blocks[0].Start.Before(since) {
			e.blocks = e.blocks[1:]
		}
	}
	p.watched = watched
}

// Envoy returns the blocks of an Envoy that have ended by now.
func (p *Played) Envoy(name string, now time.Time) signal.Envoy {
	p.mu.Lock()
	defer p.mu.Unlock()
	known := signal.Envoy{Node: name}
	if !p.watched[name] {
		return known
	}
	e := p.w.envoys[p.numbers[name]]
	p.goTo(e, now)
	known.Blocks = e.blocks
	if n := len(e.blocks); n > 0 {
		if last := e.blocks[n-1]; last.Start.Add(signal.BlockTime).After(now) {
			known.Blocks = e.blocks[:n-1]
		} else {
			e.close()
		}
	}
	return known
}

func (p *Played) at(t time.Time) float64 { return t.Sub(p.w.start).Seconds() }

// goTo simulates an Envoy until a time. For Envoys that are not observed, it simulates only
// lasting state.
func (p *Played) goTo(e *envoy, t time.Time) {
	if p.watched[e.name] {
		p.w.goTo(e, int(p.at(t)))
		return
	}
	for ; e.now < int(p.at(t)); e.now++ {
		p.w.pass(e, float64(e.now))
	}
}
