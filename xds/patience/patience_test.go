package patience

import (
	"errors"
	"net/netip"
	"slices"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	here  = netip.MustParseAddr("10.0.0.1")
	there = netip.MustParseAddr("10.0.0.2")
)

// old begins a wait that has already lasted a minute.
func (r *Room) old(addr netip.Addr, bytes int, end func(error)) *Wait {
	w := r.Begin(addr, bytes, time.Hour, end)
	r.mu.Lock()
	defer r.mu.Unlock()
	w.since, w.silent = w.since.Add(-time.Minute), w.silent.Add(-time.Minute)
	return w
}

func TestWhoCostsMostIsEnded(t *testing.T) {
	r := New(1000, time.Second)
	ended := map[string]error{}
	end := func(name string) func(error) { return func(err error) { ended[name] = err } }
	honest := r.old(there, 300, end("of another address"))
	large := r.old(here, 400, end("large"))
	small := r.old(here, 200, end("small"))
	ours := r.old(here, 50, end("ours"))
	ours.Ours()
	young := r.Begin(here, 40, time.Hour, end("young"))
	if len(ended) > 0 {
		t.Fatalf("within the limit, %v ended", ended)
	}
	young.Grow(20)
	if len(ended) != 1 || !errors.Is(ended["large"], ErrShort) {
		t.Errorf("ended %v, want the largest of the address that has most", ended)
	}
	for _, w := range []*Wait{honest, small, ours, young} {
		if !w.Done() {
			t.Error("another ended as well")
		}
	}
	if large.Done() || r.Bytes() != 0 {
		t.Errorf("%d bytes are left", r.Bytes())
	}
}

// TestYoungIsNotEnded checks that a burst of honest clients passes, and that waits that
// stay are ended when they are no longer young, even if no other begins.
func TestYoungIsNotEnded(t *testing.T) {
	const grace = 200 * time.Millisecond
	r := New(1000, grace)
	began := time.Now()
	ended := make(chan time.Duration, 20)
	var all []*Wait
	for range 19 {
		all = append(all, r.Begin(here, 100, time.Hour, func(error) { ended <- time.Since(began) }))
	}
	for range 10 { // 9 of 1000 bytes stay, less an eighth: 8
		select {
		case d := <-ended:
			if d < grace {
				t.Errorf("one was ended after %v", d)
			}
		case <-time.After(time.Minute):
			t.Fatalf("they stay, %d bytes", r.Bytes())
		}
	}
	for _, w := range all {
		w.Done()
	}
}

// TestFlood checks that even young waits are ended above twice the limit.
func TestFlood(t *testing.T) {
	r := New(1000, time.Hour)
	ended := 0
	for range 1000 {
		r.Begin(here, 100, time.Hour, func(error) { ended++ })
		if r.Bytes() > 2000 {
			t.Fatalf("%d bytes", r.Bytes())
		}
	}
	if ended < 900 {
		t.Errorf("%d have ended", ended)
	}
}

func TestDeadline(t *testing.T) {
	r := New(1000, time.Hour)
	ended := make(chan error, 2)
	w := r.Begin(here, 1, time.Millisecond, func(err error) { ended <- err })
	select {
	case err := <-ended:
		if !errors.Is(err, ErrLate) {
			t.Error(err)
		}
	case <-time.After(time.Minute):
		t.Fatal("it goes on")
	}
	w.Grow(1)
	if w.Done() || r.Bytes() != 0 {
		t.Error("what has ended counts")
	}
}

func TestShed(t *testing.T) {
	r := New(1000, time.Second)
	var ended []string
	r.old(here, 10, func(error) { ended = append(ended, "first") })
	last := r.Begin(here, 10, time.Hour, func(error) { ended = append(ended, "last") })
	ours := r.Begin(here, 10, time.Hour, func(error) { ended = append(ended, "ours") })
	ours.Ours()
	for range 3 {
		r.Shed()
	}
	if !slices.Equal(ended, []string{"first", "last"}) {
		t.Errorf("ended %v", ended)
	}
	if !ours.Done() || last.Done() {
		t.Error("another has ended")
	}
}

func TestNetworks(t *testing.T) {
	for a, want := range map[string]string{"10.1.2.3": "10.1.2.3", "::ffff:10.1.2.3": "10.1.2.3", "2001:db8:1:2:3::4": "2001:db8:1:2::"} {
		if got := network(netip.MustParseAddr(a)); got != netip.MustParseAddr(want) {
			t.Errorf("%s counts as %v", a, got)
		}
	}
	if network(netip.Addr{}).IsValid() {
		t.Error("no address counts as one")
	}
}

// TestAwait checks that Await blocks while there is no room, until some is freed or made.
func TestAwait(t *testing.T) {
	r := New(200, 30*time.Second)
	first := r.Begin(here, 100, time.Hour, func(error) {})
	r.Await() // there is room
	second := r.Begin(here, 100, time.Hour, func(error) {})
	came := make(chan struct{})
	go func() {
		r.Await()
		close(came)
	}()
	select {
	case <-came:
		t.Fatal("there was no room")
	case <-time.After(20 * time.Millisecond):
	}
	first.Done()
	select {
	case <-came:
	case <-time.After(time.Minute):
		t.Fatal("it waits though there is room")
	}
	second.Done()

	r.old(here, 200, func(error) {})
	r.Await() // an old wait makes room

	impatient := New(100, time.Millisecond)
	busy := impatient.Begin(here, 100, time.Hour, func(error) {})
	busy.Ours()
	impatient.Await() // at most for the grace period
	busy.Done()
}

// TestUnless checks that a client that has sent something isn't taken for silent, up to
// twice the limit, and isn't checked again for each new one.
func TestUnless(t *testing.T) {
	r := New(1000, time.Minute)
	ended, looks := 0, 0
	r.old(here, 900, func(error) { ended++ }).Unless(func() bool { looks++; return true })
	r.Begin(here, 900, time.Hour, func(error) {})
	if ended > 0 {
		t.Error("it was ended though it has spoken")
	}
	for range 100 {
		if !r.full() {
			t.Fatal("there is room")
		}
	}
	if looks != 1 {
		t.Errorf("it was looked at %d times", looks)
	}
	r.Begin(here, 900, time.Hour, func(error) {})
	if ended == 0 {
		t.Error("it stays for ever")
	}
}
