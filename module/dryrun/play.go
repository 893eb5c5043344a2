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

// Play is one start of a filter, and the streams that go through it one after the other.
type Play struct {
	Filter  *definition.Filter
	Module  module.Info // a module of the store
	Streams []stream.Stream
	// Callouts are the answers to calls that the filter makes while it starts, and those of
	// clusters for which a stream has no answer.
	Callouts map[string]stream.Callout
	// Properties apply to all streams and to the plugin.
	Properties map[string]any
	// Ticks is how often the module is called for its timer, if it has set one. Ticks occur
	// while a stream waits, and the remaining ones at the end.
	Ticks int
	// Clock makes the timer tick as the time of the streams passes, instead.
	Clock bool
	// Compile compiles the module to machine code, as Envoy does. That takes a second for a
	// large module, but without it the durations of callbacks mean little.
	Compile bool
	// Count counts instructions. Profile also assigns them to functions, in
	// [Played.Profile], which makes the module run slower.
	Count, Profile bool
}

// Played is the result of a [Play].
type Played struct {
	Start   stream.Record // log, calls and costs of the start
	Streams []stream.Result
	End     stream.Record // the remaining ticks, and the end of the plugin
	Metrics []stream.Metric
	// Profile contains the instructions and calls of the module's functions, by the names
	// that the module has for them. It is nil unless the Play asks for it.
	Profile *profile.Profile `json:",omitempty"`
	// Stopped is the reason why the remaining streams were not played; "": all were.
	Stopped string
}

// Unplayable is the error of a module that can't be played here, although an Envoy may be
// able to run it.
type Unplayable struct{ Reason string }

func (u *Unplayable) Error() string { return "only an Envoy can run it: " + u.Reason }

// played is a Play as it is sent to the process that plays it.
type played struct {
	Streams       []playedStream
	Given         []stream.Leaf
	Callouts      map[string]stream.Callout
	Ticks         int
	Clock         bool
	Count         bool
	Profile       bool
	OnFailure     definition.OnFailure
	Logs          bool // the module is an access logger
	StopIteration bool
}

type playedStream struct {
	stream.Stream
	Given []stream.Leaf
}

// Play plays streams through a filter. A *[module.ContentError] says why Envoy could not
// use the module. An *[Unplayable] says why only an Envoy can run it. Any other error says
// why it could not be played. What goes wrong while a stream is played is in the result of
// that stream.
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

// key returns a key of all that a play depends on, and the size of that.
func (q request) key() (key string, size int) {
	b, err := json.Marshal(q)
	if err != nil { // can't happen: there are only strings, numbers and bytes
		panic(err)
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:]), len(b)
}

// how returns which instrumentation the module is compiled with.
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
