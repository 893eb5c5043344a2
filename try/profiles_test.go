package try

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"wasmxds/definition"
	"wasmxds/e2e/wasmtest"
	"wasmxds/module"
	"wasmxds/module/dryrun"
	"wasmxds/module/dryrun/profile"
	"wasmxds/module/dryrun/stream"
)

// TestProfiles profiles a real module, with and without tests.
func TestProfiles(t *testing.T) {
	h := newHost(t, dryrun.Options{})
	p := NewProfiles(h)
	s := ProfileSubject{Filter: &definition.Filter{Name: "a"}, Module: h.module(t, wasmtest.Filter{Header: "x-a", Value: "1"})}
	if p.Kept(s) != nil {
		t.Error("there is a profile that nobody has asked for")
	}
	one, err := p.Profile(t.Context(), s)
	if err != nil || one.Of != 0 {
		t.Fatalf("%+v, %v", one, err)
	}
	if again, err := p.Profile(t.Context(), s); again != one || err != nil || p.Kept(s) != one {
		t.Errorf("the profile is made again: %v", err)
	}
	s.Tests = parse(t, "- {name: one}\n- {name: two, before: [{}, {}]}\n")
	four, err := p.Profile(t.Context(), s)
	if err != nil || four.Cases != 2 || four.Of != 2 {
		t.Fatalf("%+v, %v", four, err)
	}
	calls := func(p *profile.Profile, function string) (n uint64) {
		for _, node := range p.Nodes {
			if node.Function == function {
				n += node.Calls
			}
		}
		return n
	}
	for function, want := range map[string][2]uint64{
		profile.Start: {1, 2}, profile.Requests: {1, 4}, "proxy_on_configure": {1, 2}, "proxy_on_request_headers": {1, 4},
	} {
		if got := [2]uint64{calls(one.Profile, function), calls(four.Profile, function)}; got != want {
			t.Errorf("%s: %d calls, want %d", function, got, want)
		}
	}
}

// TestNoProfiles checks what a module that does not start or return gives, and
// that it is not played again at once.
func TestNoProfiles(t *testing.T) {
	h := newHost(t, dryrun.Options{})
	player := &counting{Player: h}
	p := NewProfiles(player)
	s := ProfileSubject{Filter: &definition.Filter{Name: "a"}, Module: h.module(t, wasmtest.Filter{Fault: wasmtest.RejectConfigure})}
	for range 2 {
		made, err := p.Profile(t.Context(), s)
		if _, content := errors.AsType[*module.ContentError](err); !content || made != nil {
			t.Errorf("%+v, %v", made, err)
		}
	}
	if player.plays != 1 {
		t.Errorf("played %d times", player.plays)
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	s.Filter = &definition.Filter{Name: "b"}
	if _, err := p.Profile(gone, s); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	s.Module = h.module(t, wasmtest.Filter{Header: "x-a", Value: "1"})
	if _, err := p.Profile(t.Context(), s); err != nil {
		t.Errorf("what nobody waited for is kept: %v", err)
	}
}

// TestProfilesAreBounded checks that the oldest are forgotten, and that many
// tests are not all played.
func TestProfilesAreBounded(t *testing.T) {
	p := NewProfiles(large{})
	var first ProfileSubject
	for i := range maxKept + 1 {
		s := ProfileSubject{Filter: &definition.Filter{Name: fmt.Sprint(i)}, Tests: []*definition.FilterTest{{Cases: make([]definition.TestCase, maxProfileCases+9)}}}
		if i == 0 {
			first = s
		}
		made, err := p.Profile(t.Context(), s)
		if err != nil || made.Cases != maxProfileCases || made.Of != maxProfileCases+9 || len(made.Profile.Nodes) > maxProfileNodes {
			t.Fatalf("%+v, %v", made, err)
		}
	}
	if len(p.kept) != maxKept || p.Kept(first) != nil {
		t.Errorf("%d are kept", len(p.kept))
	}
}

// counting counts what is played.
type counting struct {
	Player
	plays int
}

func (c *counting) Play(ctx context.Context, p dryrun.Play) (dryrun.Played, error) {
	c.plays++
	return c.Player.Play(ctx, p)
}

// large is a Player of a module with many functions.
type large struct{}

func (large) Play(context.Context, dryrun.Play) (dryrun.Played, error) {
	p := &profile.Profile{Nodes: []profile.Node{{Parent: -1, Function: profile.Requests, Calls: 1}}}
	for i := range 2 * maxProfileNodes {
		p.Nodes = append(p.Nodes, profile.Node{Function: fmt.Sprint(i), Instructions: uint64(i), Calls: 1})
	}
	return dryrun.Played{Profile: p, Streams: []stream.Result{{}}}, nil
}
