// Package signaltest simulates fleets of Envoys that differ from each other, and rollouts
// on them, to find out how often a good change is stopped wrongly, and how soon a bad one
// is stopped.
//
// Start with [Fleet], which describes the Envoys, and [Rollout.Run].
package signaltest

import (
	"fmt"
	"math"
	"math/rand/v2"
	"time"

	"wasmxds/signal"
)

// Fleet describes the Envoys. All values are drawn for each Envoy, between zero and the
// value here, or at random times.
type Fleet struct {
	Envoys   int
	Requests float64 // seen per Envoy and second, on average; Envoys differ by a factor of ten
	Errors   float64 // largest share of an Envoy's requests that always fails

	// Bursts of errors, of one Envoy, and of all of them together, each of random strength.
	BurstEvery, SharedEvery time.Duration // on average; 0: none
	BurstFor                time.Duration // at most
	BurstErrors             float64       // share of requests, at most

	RestartEvery time.Duration // per Envoy, on average: away for 5 to 25 s, then some errors
	Day          time.Duration // length of a day: traffic varies by half, errors by a fifth
	Drift        float64       // by which share an Envoy's errors drift

	// Latency is lognormal, with a drifting median between 2 and 50 ms, slower by half in
	// bursts. If Latency is false, only counts are simulated, which is fast.
	Latency bool
}

// Usual returns a typical fleet: Envoys fail 0 to 3 % of their requests, each has an hourly
// burst of up to a fifth for up to a minute, and all of them have a common one every half
// hour; each is restarted twice a day.
func Usual() Fleet {
	return Fleet{
		Envoys: 1000, Requests: 200, Errors: 0.03,
		BurstEvery: time.Hour, SharedEvery: 30 * time.Minute, BurstFor: time.Minute, BurstErrors: 0.2,
		RestartEvery: 12 * time.Hour, Day: 24 * time.Hour, Drift: 0.1,
	}
}

// Harm is the effect of a change on an Envoy that has it.
type Harm struct {
	Errors float64 // additional share of requests
	Slower float64 // additional share of latency
	Silent bool    // it no longer answers
	After  time.Duration
}

// world is the state of a fleet over time.
type world struct {
	Fleet
	harm   Harm
	rand   *rand.Rand
	start  time.Time
	day    float64 // phase
	shared []burst // of all Envoys
	envoys map[int]*envoy
}

type burst struct {
	from, until float64 // seconds
	errors      float64
}

// envoy is the state of an Envoy.
type envoy struct {
	name          string
	rand          *rand.Rand
	rate, errors  float64
	median, sigma float64 // of latency, in seconds
	wander        float64 // log of the factor by which its errors drift
	exposed       float64 // to bursts of all Envoys
	next          burst
	down, cold    float64 // until when
	nextDown      float64
	restarts      int
	now           int // second
	since         float64
	blocks        []signal.Block
	tally         []time.Duration
}

const never = math.MaxFloat64

func (f Fleet) world(seed uint64, harm Harm) *world {
	w := &world{Fleet: f, harm: harm, rand: rand.New(rand.NewPCG(seed, 1)), start: time.Unix(1_800_000_000, 0), envoys: map[int]*envoy{}}
	w.day = w.rand.Float64()
	if f.SharedEvery > 0 {
		for at := 0.0; at < 4*3600; {
			at += w.rand.ExpFloat64() * f.SharedEvery.Seconds()
			w.shared = append(w.shared, w.burst(w.rand, at))
		}
	}
	return w
}

func (w *world) burst(r *rand.Rand, at float64) burst {
	return burst{at, at + 5 + r.Float64()*(w.BurstFor.Seconds()-5), w.BurstErrors * (0.1 + 0.9*r.Float64())}
}

// envoy starts to simulate an Envoy, by its number. With the same seed, each Envoy is the
// same.
func (w *world) envoy(i int, now int) *envoy {
	if e := w.envoys[i]; e != nil {
		return e
	}
	r := rand.New(rand.NewPCG(w.rand.Uint64(), uint64(i)))
	e := &envoy{
		name: fmt.Sprintf("edge-%d", i), rand: r, now: now, since: never,
		rate: w.Requests * math.Exp2(3.32*(r.Float64()-0.5)), errors: w.Errors * r.Float64(), exposed: 0.5 + r.Float64(),
		median: 0.002 * math.Exp2(4.6*r.Float64()), sigma: 0.3 + 0.4*r.Float64(),
		wander: w.Drift * r.NormFloat64(), next: burst{from: never}, nextDown: never,
	}
	if w.BurstEvery > 0 {
		e.next = w.burst(r, float64(now)-w.BurstFor.Seconds()+r.ExpFloat64()*w.BurstEvery.Seconds())
	}
	if w.RestartEvery > 0 {
		e.nextDown = float64(now) + r.ExpFloat64()*w.RestartEvery.Seconds()
	}
	w.envoys[i] = e
	return e
}

// goTo simulates an Envoy until a second.
func (w *world) goTo(e *envoy, now int) {
	for ; e.now < now; e.now++ {
		w.second(e, float64(e.now))
	}
}

// pass simulates a second of an Envoy without its requests.
func (w *world) pass(e *envoy, at float64) {
	if at >= e.nextDown {
		e.down = at + 5 + 20*e.rand.Float64()
		e.cold = e.down + 10*e.rand.Float64()
		e.nextDown = e.down + e.rand.ExpFloat64()*w.RestartEvery.Seconds()
		e.restarts++
	}
	if at >= e.next.until && e.next.from < never {
		e.next = w.burst(e.rand, at+e.rand.ExpFloat64()*w.BurstEvery.Seconds())
	}
}

// second simulates a second of an Envoy.
func (w *world) second(e *envoy, at float64) {
	w.pass(e, at)
	// An autoregression with a time constant of a minute.
	const keep = 59.0 / 60
	e.wander = keep*e.wander + w.Drift*math.Sqrt(1-keep*keep)*e.rand.NormFloat64()
	if at < e.down {
		return
	}
	errors, slower, traffic := w.now(e, at)
	n := poisson(e.rand, e.rate*traffic)
	failed := min(poisson(e.rand, float64(n)*min(errors, 1)), n)
	if errors >= 1 {
		failed = n
	}
	e.tell(w, at, n, failed, slower)
}

// now returns the share of errors of an Envoy at a time, and the factors of its latency and
// traffic.
func (w *world) now(e *envoy, at float64) (errors, slower, traffic float64) {
	wave := 0.0
	if w.Day > 0 {
		wave = math.Sin(2 * math.Pi * (w.day + at/w.Day.Seconds()))
	}
	errors, slower, traffic = e.errors*math.Exp(e.wander)*(1+0.2*wave), 1+0.1*e.wander, 1+0.5*wave
	if at < e.cold {
		errors += 0.05
		slower *= 1.3
	}
	if at >= e.next.from && at < e.next.until {
		errors += e.next.errors
		slower *= 1 + 2.5*e.next.errors
	}
	for _, b := range w.shared {
		if at >= b.from && at < b.until {
			errors += b.errors * e.exposed
			slower *= 1 + 2.5*b.errors*e.exposed
		}
	}
	if at >= e.since+w.harm.After.Seconds() {
		errors += w.harm.Errors
		slower *= 1 + w.harm.Slower
		if w.harm.Silent {
			traffic = 0
		}
	}
	return errors, slower, traffic
}

// tell adds a second to the blocks, as signal.Counts does.
func (e *envoy) tell(w *world, at float64, n, failed int, slower float64) {
	moment := w.start.Add(time.Duration(at) * time.Second)
	start := moment.Truncate(signal.BlockTime)
	if len(e.blocks) == 0 || !e.blocks[len(e.blocks)-1].Start.Equal(start) {
		e.close()
		e.blocks = append(e.blocks, signal.Block{Start: start})
	}
	b := &e.blocks[len(e.blocks)-1]
	part := &b.Parts[int(moment.Sub(start)/(signal.BlockTime/time.Duration(len(b.Parts))))]
	part.Requests += uint32(n)
	part.Errors += uint32(failed)
	if w.Latency {
		for range n {
			took := e.median * slower * math.Exp(e.sigma*e.rand.NormFloat64())
			e.tally = append(e.tally, time.Duration(took*float64(time.Second)))
		}
	}
}

// close ends a block.
func (e *envoy) close() {
	if len(e.tally) > 0 {
		e.blocks[len(e.blocks)-1].Latencies = signal.NewLatencies(e.tally...)
		e.tally = e.tally[:0]
	}
}

// poisson draws a Poisson distributed number.
func poisson(r *rand.Rand, mean float64) int {
	if mean <= 0 {
		return 0
	}
	if mean > 50 {
		return max(int(math.Round(mean+math.Sqrt(mean)*r.NormFloat64())), 0)
	}
	limit, n := math.Exp(-mean), 0
	for p := r.Float64(); p > limit; p *= r.Float64() {
		n++
	}
	return n
}
