package roster

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"time"

	"wasmxds/definition"
	"wasmxds/rollout"
)

func node(id string) definition.Node { return definition.Node{ID: id, Cluster: "edge"} }

// carry sends all that is pending, encoded as JSON as on the wire.
func carry(t *testing.T, o *Own, a *All, server string) (events []rollout.Event) {
	t.Helper()
	for o.Waits() {
		b, err := json.Marshal(o.Take())
		if err != nil {
			t.Fatal(err)
		}
		var telling Telling
		if err := json.Unmarshal(b, &telling); err != nil {
			t.Fatal(err)
		}
		more, ok := a.Hear(time.Unix(0, 0), server, telling)
		if !ok {
			o.Anew()
			continue
		}
		o.Taken(telling.Seq)
		events = append(events, more...)
	}
	return events
}

func want(t *testing.T, got []rollout.Event, want ...rollout.Event) {
	t.Helper()
	if len(got) != len(want) || len(got) > 0 && !reflect.DeepEqual(got, want) {
		t.Errorf("%#v\nwant %#v", got, want)
	}
}

// TestTold checks that reports of Envoys reach the leader unchanged.
func TestTold(t *testing.T) {
	o, a := NewOwn(), NewAll()
	o.Tell(rollout.Connected{Node: node("e1")})
	want(t, carry(t, o, a, "A"), rollout.Expected{Node: node("e1")}, rollout.Connected{Node: node("e1")})
	if !a.Heard("A") || a.Heard("B") {
		t.Error("A was heard, and B was not")
	}
	all := []rollout.Event{
		rollout.Connected{Node: node("e2")}, rollout.Restarted{ID: "e1"}, rollout.Crashed{ID: "e1", Filter: ""}, rollout.Crashed{ID: "e1", Filter: "hello"},
		rollout.Crashed{ID: "e1", Filter: "hello", Unsure: true},
		rollout.Refused{ID: "e1", Choice: "c", Key: rollout.Key{Kind: "filter", Name: "hello"}, Message: "no"},
		rollout.Settled{ID: "e2", Choice: "c"},
	}
	for _, e := range all {
		o.Tell(e)
	}
	want(t, carry(t, o, a, "A"), all...)
	o.Tell(rollout.Gone{ID: "e2"})
	want(t, carry(t, o, a, "A"), rollout.Gone{ID: "e2"})
	want(t, carry(t, o, a, "A"))
}

// TestMoves checks that an Envoy is gone when its last server has lost it, whichever server
// reports first.
func TestMoves(t *testing.T) {
	a, x, y := NewAll(), NewOwn(), NewOwn()
	x.Tell(rollout.Connected{Node: node("e")})
	carry(t, x, a, "X")
	carry(t, y, a, "Y")
	y.Tell(rollout.Connected{Node: node("e")})
	want(t, carry(t, y, a, "Y"), rollout.Connected{Node: node("e")})
	x.Tell(rollout.Gone{ID: "e"})
	want(t, carry(t, x, a, "X"))
	x.Tell(rollout.Connected{Node: node("e")})
	y.Tell(rollout.Gone{ID: "e"})
	want(t, carry(t, y, a, "Y"), rollout.Gone{ID: "e"})
	want(t, carry(t, x, a, "X"), rollout.Connected{Node: node("e")})
	want(t, a.Lose(time.Unix(0, 0), "X"), rollout.Gone{ID: "e"})
	if a.Heard("X") {
		t.Error("X is lost")
	}
}

// TestAnew checks that a leader that has lost sight of a server gets a complete report, and
// that Envoys that have left meanwhile are gone.
func TestAnew(t *testing.T) {
	o, a := NewOwn(), NewAll()
	for i := range 2500 {
		o.Tell(rollout.Connected{Node: node(fmt.Sprint("e", i))})
	}
	o.Tell(rollout.Settled{ID: "e7", Choice: "c"})
	if n := len(carry(t, o, a, "A")); n != 2*2500+1 {
		t.Errorf("%d events", n)
	}
	o.Tell(rollout.Gone{ID: "e1"})
	o.Take() // is lost
	o.Tell(rollout.Crashed{ID: "e2", Filter: "f"})
	o.Anew()
	events := carry(t, o, a, "A")
	gone, crashed, settled := 0, 0, 0
	for _, e := range events {
		switch e := e.(type) {
		case rollout.Gone:
			if gone++; e.ID != "e1" {
				t.Errorf("%s is gone", e.ID)
			}
		case rollout.Crashed:
			crashed++
		case rollout.Settled:
			settled++
		}
	}
	if gone != 1 || crashed != 1 || settled != 1 {
		t.Errorf("%d gone, %d crashed, %d settled", gone, crashed, settled)
	}
	o.Anew()
	a.Hear(time.Unix(0, 0), "A", o.Take())
	for i := range 2000 {
		o.Tell(rollout.Gone{ID: fmt.Sprint("e", 2+i)})
	}
	o.Anew() // before it has reported all
	gone = 0
	for _, e := range carry(t, o, a, "A") {
		if _, is := e.(rollout.Gone); is {
			gone++
		}
	}
	if gone != 2000 {
		t.Errorf("%d are gone, want 2000", gone)
	}
	next := NewAll() // another server leads
	if _, ok := next.Hear(time.Unix(0, 0), "A", Telling{Seq: 9}); ok {
		t.Error("the new leader has not heard what came before")
	}
}

// TestHeardAgain checks that nothing counts twice if an answer is lost.
func TestHeardAgain(t *testing.T) {
	o, a := NewOwn(), NewAll()
	o.Tell(rollout.Connected{Node: node("e")})
	carry(t, o, a, "A")
	o.Tell(rollout.Crashed{ID: "e", Filter: "f"})
	if events, ok := a.Hear(time.Unix(0, 0), "A", o.Take()); !ok || len(events) != 1 {
		t.Errorf("%v %v", events, ok)
	}
	want(t, carry(t, o, a, "A"))
}

// TestBounded checks that pending reports are limited by the number of Envoys, and that the
// newest events are reported.
func TestBounded(t *testing.T) {
	o := NewOwn()
	for i := range 3 * mostHappened {
		id := fmt.Sprint("e", i%10)
		o.Tell(rollout.Connected{Node: node(id)})
		o.Tell(rollout.Settled{ID: id, Choice: rollout.Choice(fmt.Sprint(i))})
		o.Tell(rollout.Crashed{ID: id, Filter: fmt.Sprint(i)})
	}
	got := o.Take()
	if len(got.Connected) != 10 || len(got.Settled) != 10 || len(got.Happened) != mostHappened || *got.Happened[mostHappened-1].Crashed != fmt.Sprint(3*mostHappened-1) {
		t.Errorf("%d connected, %d settled, %d happened", len(got.Connected), len(got.Settled), len(got.Happened))
	}
}

// TestLargeNodes checks that nodes with many labels are split over several reports, and
// that the error message of a rejection is truncated.
func TestLargeNodes(t *testing.T) {
	o, a := NewOwn(), NewAll()
	for i := range 10 {
		n := node(fmt.Sprint("e", i))
		n.Labels = map[string]string{"large": strings.Repeat("x", mostBytes/2)}
		o.Tell(rollout.Connected{Node: n})
	}
	o.Tell(rollout.Refused{ID: "e1", Message: strings.Repeat("no ", mostMessage)})
	first := o.Take()
	if len(first.Connected) != 1 || !first.Rest || len(first.Happened) > 0 {
		t.Errorf("%d Envoys at once, rest %v", len(first.Connected), first.Rest)
	}
	connected := 0
	for _, e := range carry(t, o, a, "A") {
		switch e := e.(type) {
		case rollout.Connected:
			connected++
		case rollout.Refused:
			if len(e.Message) != mostMessage || connected != 10 {
				t.Errorf("%d bytes, after %d Envoys", len(e.Message), connected)
			}
		}
	}
	if connected != 10 {
		t.Errorf("%d Envoys were told, want 10", connected)
	}
}

// TestModel plays random servers, and compares the Envoys according to the events with the
// real ones.
func TestModel(t *testing.T) {
	for seed := range uint64(200) {
		rng := rand.New(rand.NewPCG(seed, 3))
		a := NewAll()
		owns := map[string]*Own{"A": NewOwn(), "B": NewOwn(), "C": NewOwn()}
		at := map[string]map[string]bool{"A": {}, "B": {}, "C": {}}
		there := map[string]bool{}
		take := func(events []rollout.Event) {
			for _, e := range events {
				switch e := e.(type) {
				case rollout.Connected:
					there[e.Node.ID] = true
				case rollout.Gone:
					if !there[e.ID] {
						t.Fatalf("seed %d: %s is gone, and was not there", seed, e.ID)
					}
					delete(there, e.ID)
				}
			}
		}
		for range 300 {
			s := string(rune('A' + rng.IntN(3)))
			id := fmt.Sprint("e", rng.IntN(6))
			switch rng.IntN(8) {
			case 0, 1:
				owns[s].Tell(rollout.Connected{Node: node(id)})
				at[s][id] = true
			case 2, 3:
				if at[s][id] {
					owns[s].Tell(rollout.Gone{ID: id})
					delete(at[s], id)
				}
			case 4:
				take(a.Lose(time.Unix(0, 0), s))
				owns[s].Anew()
			case 5:
				events, ok := a.Hear(time.Unix(0, 0), s, owns[s].Take()) // its answer is lost
				if !ok {
					owns[s].Anew()
				}
				take(events)
			default:
				take(carry(t, owns[s], a, s))
			}
		}
		now := map[string]bool{}
		for s, o := range owns {
			take(carry(t, o, a, s))
			for id := range at[s] {
				now[id] = true
			}
			if o.Len() != len(at[s]) {
				t.Errorf("seed %d: %d Envoys at %s, want %d", seed, o.Len(), s, len(at[s]))
			}
		}
		if !reflect.DeepEqual(now, there) {
			t.Fatalf("seed %d: there are %v, and by the events %v", seed, now, there)
		}
	}
}

// TestGoneIsBounded checks that Envoys that come and go while no leader can be reached are not
// all remembered, and that the next leader then knows those that are here.
func TestGoneIsBounded(t *testing.T) {
	o, a := NewOwn(), NewAll()
	for _, id := range []string{"here", "there"} {
		o.Tell(rollout.Connected{Node: node(id)})
	}
	carry(t, o, a, "A")
	o.Tell(rollout.Gone{ID: "there"})
	for i := range 10 * mostGone {
		id := fmt.Sprint(i)
		o.Tell(rollout.Connected{Node: node(id)})
		o.Tell(rollout.Gone{ID: id, Had: true})
		if n := max(len(o.changed), len(o.pending), len(o.had)); n > mostGone+2 {
			t.Fatalf("%d are remembered", n)
		}
	}
	carry(t, o, a, "A")
	if a.holders["here"] != 1 || len(a.holders) != 1 || !a.Heard("A") {
		t.Errorf("the leader knows %v", a.holders)
	}
}

// TestHappensOnce checks that what has happened counts once, also if the acknowledgement of the
// first report to a leader is lost.
func TestHappensOnce(t *testing.T) {
	o, a := NewOwn(), NewAll()
	for range 2 { // after the second Anew it is another report
		o.Anew()
		o.Tell(rollout.Connected{Node: node("e1")})
		o.Tell(rollout.Crashed{ID: "e1", Filter: "hello"})
		crashed := 0
		for range 3 {
			events, ok := a.Hear(time.Unix(0, 0), "A", o.Take())
			if !ok {
				t.Fatal("it is to report anew")
			}
			for _, e := range events {
				if _, is := e.(rollout.Crashed); is {
					crashed++
				}
			}
		}
		o.Taken(1)
		if crashed != 1 || !a.Heard("A") {
			t.Errorf("it crashed once, and %d times for the leader", crashed)
		}
	}
}
