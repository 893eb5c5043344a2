package dryrun

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"

	"wasmxds/definition"
	"wasmxds/module"
	"wasmxds/module/dryrun/profile"
	"wasmxds/module/dryrun/stream"
)

// Play is one start of a filter, and streams that go through it one after the
// other.
type Play struct {
	Filter  *definition.Filter
	Module  module.Info // of the store
	Streams []stream.Stream
	// Callouts are answers to the calls that the filter makes in its start, and of
	// clusters that a stream has none of.
	Callouts map[string]stream.Callout
	// Properties are of all streams, and of the plugin.
	Properties map[string]any
	// Ticks is how often the module is called for its timer, where it has set one:
	// when a stream waits, and else in the end.
	Ticks int
	// Clock has the module's timer go off as the streams' time passes, instead.
	Clock bool
	// Compile has the module compiled to machine code, as Envoy does, which
	// takes a second for a large one: what callbacks take means little without.
	Compile bool
	// Count has instructions counted, and Profile says which functions they are
	// of: [Played.Profile], which has the module run slower.
	Count, Profile bool
}

// Played is what came of a [Play].
type Played struct {
	Start   stream.Record // what the start logged, called and took
	Streams []stream.Result
	End     stream.Record // what timers did then, and the plugin's end
	Metrics []stream.Metric
	// Profile has the instructions and calls of the module's functions, by the
	// names that the module has for them. It is nil unless the Play asks for it.
	Profile *profile.Profile `json:",omitempty"`
	// Stopped is why not all streams were played; "": they were.
	Stopped string
}

// Unplayable says that a module can't be played here, though an Envoy may well
// run it.
type Unplayable struct{ Reason string }

func (u *Unplayable) Error() string { return "only an Envoy can run it: " + u.Reason }

// played is a play as the process that plays it is told of it.
type played struct {
	Streams       []playedStream
	Given         []stream.Leaf
	Callouts      map[string]stream.Callout
	Ticks         int
	Clock         bool
	Count         bool
	Profile       bool
	OnFailure     definition.OnFailure
	Logs          bool // it is an access logger
	StopIteration bool
}

type playedStream struct {
	stream.Stream
	Given []stream.Leaf
}

// Play plays streams through a filter. A *[module.ContentError] says why Envoy
// could not use the module, an *[Unplayable] that only an Envoy could tell; any
// other error, that it could not be played. What goes wrong while a stream is
// played is in its result.
func (r *Runner) Play(ctx context.Context, p Play) (Played, error) {
	q := request{Inputs: r.inputs(p.Filter, p.Module.SHA256), Compile: p.Compile, Play: &played{
		Callouts: p.Callouts, Ticks: p.Ticks, Clock: p.Clock, Count: p.Count, Profile: p.Profile, OnFailure: p.Filter.OnFailure, Logs: p.Filter.Logs(), StopIteration: p.Filter.Wasm.GetConfig().GetAllowOnHeadersStopIteration().GetValue(),
	}}
	var err error
	if q.Play.Given, err = stream.Leaves(p.Properties); err != nil {
		return Played{}, err
	}
	for i, s := range p.Streams {
		given, err := stream.Leaves(s.Properties)
		if err != nil {
			return Played{}, fmt.Errorf("stream %d: %w", i+1, err)
		}
		s.Properties = nil
		q.Play.Streams = append(q.Play.Streams, playedStream{s, given})
	}
	key, size := q.key()
	if size > maxRequest {
		return Played{}, fmt.Errorf("streams of %d MiB, at most %d can be played at once", size>>20, maxRequest>>20)
	}
	t := tried{in: q.Inputs, key: key}
	answer, err := r.judge(ctx, &t, q)
	switch {
	case err != nil:
		return Played{}, err
	case answer.Played != nil:
		if p := answer.Played.Profile; p != nil {
			if err := p.Check(); err != nil {
				return Played{}, err
			}
		}
		return *answer.Played, nil
	case answer.Outcome == unknown:
		return Played{}, &Unplayable{answer.Message}
	}
	return Played{}, r.verdict(t, answer)
}

// key names all that a play depends on, and says how large that is.
func (q request) key() (key string, size int) {
	b, err := json.Marshal(q)
	if err != nil { // strings, numbers and bytes only
		panic(err)
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:]), len(b)
}

// how says what the module is compiled to tell.
func (p *played) how() how {
	if p == nil {
		return how{}
	}
	return how{count: p.Count || p.Profile, profile: p.Profile}
}

func (q request) maxReply() uint32 {
	if q.Play != nil {
		return maxPlayed
	}
	return maxReply
}
