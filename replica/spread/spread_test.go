package spread

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

var began = time.Unix(1_800_000_000, 0)

func others(streams ...int) []Other {
	var all []Other
	for _, n := range streams {
		all = append(all, Other{n, began})
	}
	return all
}

func TestNext(t *testing.T) {
	for _, c := range []struct {
		own    int
		others []Other
		want   int
	}{
		{1000, nil, 0},                // there is no other replica
		{0, others(1000), 0},          // nothing to close
		{1000, others(1000, 1000), 0}, // even
		{1099, others(1000, 901), 0},  // within a tenth
		{1101, others(1000, 899), 21}, // no longer
		{1050, others(1050, 880), 12}, // one has too few, though none has a tenth too many
		{900, others(1500, 0), 20},    // here as well: another has more than its share
		{800, others(1600, 0), 0},     // but here no other has
		{1500, others(1500, 0), 67},   // a fifteenth of the share a second
		{30_000, others(0), 500},      // at most
		{6, others(0), 1},             // a small fleet
		{4, others(3), 0},             // as even as possible
		{3, others(3, 1), 0},          // at most a share
		{4, others(3, 0), 1},          //
		{2, others(0), 1},             //
		{1, others(0), 0},             //
		{1, others(0, 0, 0), 0},       //
		{1111, others(1111, 1111, 1111, 1111, 1111, 1111, 1111, 1111, 0), 67}, // one of ten has none
		{math.MaxInt32, others(0), 500},                                       //
	} {
		var s Spread
		if got := s.Next(began, c.own, c.others); got != c.want {
			t.Errorf("of %d beside %v: %d, want %d", c.own, c.others, got, c.want)
		}
	}
}

// TestStale checks that streams that were closed here aren't closed again because of counts
// of other replicas that are older.
func TestStale(t *testing.T) {
	var s Spread
	now, own := began, 6
	for range 60 {
		n := s.Next(now, own, others(0)) // nothing new
		s.Closed(now, n)
		own -= n
		now = now.Add(Every / 2)
	}
	if own != 3 {
		t.Errorf("%d are left", own)
	}
}

// world simulates replicas, and Envoys that move to another when their stream is closed.
type world struct {
	rand    *rand.Rand
	now     time.Time
	servers []*server
	under   []landing // streams that are closed, and not opened again yet
	next    func(w *world, from int) int
	moved   int
}

type server struct {
	spread  Spread
	streams int
	away    bool
	beat    time.Duration // into the period
	told    []Other       // of the others, as it knows; At zero: unknown
	arrived int           // in this second
	most    int
}

type landing struct {
	at time.Time
	to int
}

const (
	step   = 100 * time.Millisecond
	beats  = 5 * time.Second
	looks  = time.Second
	settle = 60 * time.Second
)

func newWorld(seed uint64, streams ...int) *world {
	w := &world{rand: rand.New(rand.NewPCG(seed, 1)), now: began, next: random}
	for _, n := range streams {
		s := &server{streams: n, beat: time.Duration(w.rand.Int64N(int64(beats))), told: make([]Other, len(streams))}
		for i, o := range streams {
			s.told[i] = Other{o, began}
		}
		w.servers = append(w.servers, s)
	}
	return w
}

// kill kills a replica: its Envoys move to the others.
func (w *world) kill(i int) {
	s := w.servers[i]
	for range s.streams {
		w.under = append(w.under, landing{w.now.Add(time.Duration(w.rand.Int64N(int64(time.Second)))), random(w, i)})
	}
	s.streams, s.away, s.spread = 0, true, Spread{}
}

// back starts it again.
func (w *world) back(i int) {
	s := w.servers[i]
	s.away = false
	for j, o := range w.servers {
		if j != i {
			o.told[i], s.told[j] = Other{0, w.now}, Other{o.streams, w.now}
		}
	}
}

// random simulates Envoys that try the replicas in random orders.
func random(w *world, from int) int {
	to := w.rand.IntN(len(w.servers) - 1)
	if to >= from {
		to++
	}
	return to
}

// turn simulates Envoys that all try the replicas in the same order.
func turn(w *world, from int) int { return (from + 1) % len(w.servers) }

// stubborn simulates Envoys of which a third return to the same replica.
func stubborn(w *world, from int) int {
	if w.rand.IntN(3) == 0 {
		return from
	}
	return random(w, from)
}

// service simulates Envoys that connect through a Service of Kubernetes, to any replica.
func service(w *world, _ int) int { return w.rand.IntN(len(w.servers)) }

func (w *world) step(t time.Duration) {
	late := time.Duration(w.rand.Int64N(int64(looks)))
	for i, s := range w.servers {
		if !s.away && (t+s.beat)%beats < step {
			for j, o := range w.servers {
				if i != j {
					o.told[i] = Other{s.streams, w.now.Add(late)}
				}
			}
		}
	}
	if t%Every < step {
		for i, s := range w.servers {
			w.close(i, s)
		}
	}
	under := w.under[:0]
	for _, l := range w.under {
		if l.at.After(w.now) {
			under = append(under, l)
			continue
		}
		w.servers[l.to].streams++
		w.servers[l.to].arrived++
	}
	w.under = under
	w.now = w.now.Add(step)
}

func (w *world) close(i int, s *server) {
	var others []Other
	for j, o := range s.told {
		if j != i && !o.At.IsZero() && w.now.Sub(o.At) < 20*time.Second {
			others = append(others, o)
		}
	}
	s.most, s.arrived = max(s.most, s.arrived), 0
	if s.away {
		return
	}
	n := min(s.spread.Next(w.now, s.streams, others), s.streams)
	s.spread.Closed(w.now, n)
	s.streams -= n
	w.moved += n
	for range n {
		w.under = append(w.under, landing{w.now.Add(time.Duration(w.rand.Int64N(int64(time.Second)))), w.next(w, i)})
	}
}

// cut simulates Envoys that can reach two of three replicas.
func cut(w *world, from int) int {
	if w.rand.IntN(4) == 0 { // the one that closed the stream is tried again
		return from
	}
	return 1 - from
}

// even reports whether all replicas have about equal numbers.
func (w *world) even() bool {
	all := len(w.under)
	for _, s := range w.servers {
		all += s.streams
	}
	share := float64(all) / float64(len(w.servers))
	for _, s := range w.servers {
		if d := math.Abs(float64(s.streams) - share); d > share*tolerated && d > 1 {
			return false
		}
	}
	return true
}

func (w *world) String() string {
	var all []int
	for _, s := range w.servers {
		all = append(all, s.streams)
	}
	return fmt.Sprint(all)
}

// TestConverges checks that numbers are about equal within a minute, and that nothing moves
// after that.
func TestConverges(t *testing.T) {
	for name, c := range map[string]struct {
		streams []int
		next    func(*world, int) int
		moves   float64 // at most, as a multiple of what the last replica lacks
	}{
		"two, one restarted":       {[]int{9000, 0}, random, 1.1},
		"three, one restarted":     {[]int{4500, 4500, 0}, random, 2.3},
		"three, in turn":           {[]int{4500, 4500, 0}, turn, 2.3},
		"three, in turn, one full": {[]int{9000, 0, 0}, turn, 4},
		"five, one restarted":      {[]int{2500, 2500, 2500, 2500, 0}, random, 4.5},
		"ten, one restarted":       {[]int{1111, 1111, 1111, 1111, 1111, 1111, 1111, 1111, 1111, 0}, random, 11},
		"three, large":             {[]int{30_000, 30_000, 0}, random, 2.4},
		"three, a third come back": {[]int{4500, 4500, 0}, stubborn, 4},
		"two behind a Service":     {[]int{9000, 0}, service, 2.3},
		"three behind a Service":   {[]int{4500, 4500, 0}, service, 3.5},
		"few behind a Service":     {[]int{6, 0}, service, 5},
		"few":                      {[]int{6, 0}, random, 1.4},
		"few, three":               {[]int{5, 4, 0}, random, 5},
		"a smaller one":            {[]int{3300, 3300, 2400}, random, 4},
	} {
		t.Run(name, func(t *testing.T) {
			for seed := range uint64(20) {
				w := newWorld(seed, c.streams...)
				w.next = c.next
				all := 0
				for _, n := range c.streams {
					all += n
				}
				share := float64(all) / float64(len(c.streams))
				lacks := share - float64(c.streams[len(c.streams)-1])
				within, moved := time.Duration(0), 0
				for at := time.Duration(0); at < 6*time.Minute; at += step {
					w.step(at)
					if !w.even() {
						within = at + step
					}
					if at == 2*settle {
						moved = w.moved
					}
				}
				if testing.Verbose() && seed == 0 {
					t.Logf("even after %v, moved %d (%.1f of what is lacking), at most %d arrived in a second: %v", within, w.moved, float64(w.moved)/lacks, w.servers[len(w.servers)-1].most, w)
				}
				if within > settle {
					t.Errorf("seed %d: even after %v: %v", seed, within, w)
				}
				if got := float64(w.moved) / lacks; got > c.moves+2/lacks {
					t.Errorf("seed %d: moved %.1f times of what is lacking", seed, got)
				}
				if after := w.moved - moved; after > 0 {
					t.Errorf("seed %d: moved %d more when all was even", seed, after)
				}
				for i, s := range w.servers {
					if bound := 2*share*slowly + 5; c.next(w, i) >= 0 && float64(s.most) > bound {
						t.Errorf("seed %d: %d came to server %d in a second, more than %.0f", seed, s.most, i, bound)
					}
				}
			}
		})
	}
}

// TestKilled checks that nothing moves while a replica is away, whether that is known or
// not, and that numbers are even within a minute after its return.
func TestKilled(t *testing.T) {
	for _, servers := range []int{2, 3, 5, 10} {
		for _, n := range []int{3, 3000} {
			if n == 3 && servers > 3 {
				continue // with few streams, chance decides where they go
			}
			for _, away := range []time.Duration{time.Second, 4 * time.Second, 15 * time.Second, time.Minute} {
				t.Run(fmt.Sprintf("%d servers with %d, away for %v", servers, n, away), func(t *testing.T) {
					for seed := range uint64(10) {
						w := newWorld(seed, slices.Repeat([]int{n}, servers)...)
						const killed = 30 * time.Second
						back, within := killed+away, time.Duration(0)
						for at := time.Duration(0); at < 4*time.Minute; at += step {
							switch at {
							case killed:
								w.kill(0)
							case back:
								if w.moved > 0 && n > 3 { // with few streams, all may go to one replica
									t.Errorf("seed %d: %d were moved while it was away: %v", seed, w.moved, w)
								}
								w.back(0)
							}
							w.step(at)
							if at > back && !w.even() {
								within = at - back
							}
						}
						if within > settle {
							t.Errorf("seed %d: even after %v: %v", seed, within, w)
						}
					}
				})
			}
		}
	}
}

// TestOutOfReach checks that streams that can't reach the least loaded replica aren't moved
// forever.
func TestOutOfReach(t *testing.T) {
	w := newWorld(1, 4500, 4500, 0)
	w.next = cut
	for at := time.Duration(0); at < 2*time.Hour; at += step {
		w.step(at)
	}
	t.Logf("moved %d", w.moved)
	if w.moved > 5*9000 {
		t.Errorf("%d were moved", w.moved)
	}
	w.next = random
	w.servers[2].streams += 10 // that can reach it
	within := time.Duration(0)
	for at := time.Duration(0); at < 3*time.Hour; at += step {
		w.step(at)
		if !w.even() {
			within = at
		}
	}
	if within > time.Hour+settle {
		t.Errorf("when it can be reached it is even after %v: %v", within, w)
	}
}

// TestComeAndGo checks that Envoys that join and leave all day don't cause moves of others.
func TestComeAndGo(t *testing.T) {
	w := newWorld(1, 3000, 3000, 3000)
	for at := time.Duration(0); at < time.Hour; at += step {
		if at%time.Second == 0 { // about thirty thousand a day
			w.servers[w.rand.IntN(3)].streams++
			w.servers[w.rand.IntN(3)].streams--
		}
		w.step(at)
	}
	if w.moved > 0 {
		t.Errorf("%d were moved", w.moved)
	}
}
