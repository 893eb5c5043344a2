// Package try plays requests through a filter without an Envoy, and describes their
// outcomes.
//
// Start with [Trial], which plays a case or several requests, or with [Tests], which runs the
// FilterTests of a filter before it is served. [Outcome.Report] describes an outcome for people.
// Package dryrun runs the modules, within its limits. Packages curl and har read requests that
// other programs have written.
package try

import (
	"context"
	"fmt"
	"slices"

	"wasmxds/definition"
	"wasmxds/module"
	"wasmxds/module/dryrun"
	"wasmxds/module/dryrun/profile"
	"wasmxds/module/dryrun/stream"
)

// Player plays streams through a filter's module, as [dryrun.Runner] does.
type Player interface {
	Play(ctx context.Context, p dryrun.Play) (dryrun.Played, error)
}

// Trial is a filter with a module of the store.
//
// A [*module.ContentError] says why the module can't be used. A [*dryrun.Unplayable] says that
// only an Envoy can play the requests. Any other error means that they could not be played.
type Trial struct {
	Player Player
	Filter *definition.Filter
	Module module.Info
	// Envoy is the version of the Envoy that the player uses. It is "" for the host here.
	Envoy string
	// Compile, Count and Profile are as in [dryrun.Play].
	Compile, Count, Profile bool
}

// Outcome is the outcome of a request.
type Outcome struct {
	Name    string
	Start   stream.Record // of the VM, for its first request
	Result  stream.Result
	Metrics []stream.Metric  // for the last request of the VM
	Profile *profile.Profile // of all requests of the VM, for its last one; nil: not requested
	Stopped string           // why the requests after it were not played; "": they were
	Envoy   string           // version of the Envoy that played it; "": the host here did
	// Compiled means that the module ran as machine code, as in Envoy, so that its costs are
	// similar.
	Compiled bool
	Hint     string // what may be wrong with a filter that has crashed
	// Failures are expectations that are not met, each with its place.
	Failures []definition.Problem
}

// Logs returns the log lines of the start and of the request.
func (o Outcome) Logs() []stream.Line { return slices.Concat(o.Start.Logs, o.Result.Logs) }

// Crashed reports whether the filter crashed, or did not return.
func (o Outcome) Crashed() bool { return o.Result.Crash != "" || o.Stopped != "" }

// Case plays a case in a VM of its own, and compares the outcome with what is expected.
func (t Trial) Case(ctx context.Context, c definition.TestCase) (Outcome, error) {
	requests := append(slices.Clone(c.Before), c.TestStream)
	for _, r := range requests {
		if network := t.Filter.Place.Network; network != (r.Connection != nil) {
			p := failure(r.At, "%s: %s has %s, not %s", c.Name, t.Filter.Name, kindOf(network), kindOf(!network))
			p.Hint = "a network filter needs connection: in each case and in before; other filters have requests"
			return Outcome{Name: c.Name, Envoy: t.Envoy, Failures: []definition.Problem{p}}, nil
		}
	}
	all, err := t.Together(ctx, requests...)
	if err != nil {
		return Outcome{}, fmt.Errorf("%s: %w", c.Name, err)
	}
	out := all[len(all)-1] // the case itself, or the last request that was played
	out.Name, out.Start = c.Name, all[0].Start
	if out.Stopped != "" {
		out.Failures = []definition.Problem{failure(requests[len(all)-1].At, "%s: %s", c.Name, out.Stopped)}
		return out, nil
	}
	for i, o := range all[:len(all)-1] {
		if o.Result.Crash != "" { // so that the case itself says nothing
			k := newChecker(c, out)
			k.crashed(requests[i].At, fmt.Sprintf("before[%d]: ", i), o.Result)
			out.Failures = k.found
			return out, nil
		}
	}
	out.Failures = failures(c, out)
	return out, nil
}

// Together plays requests through one VM, one after the other, and returns an outcome for
// each that was played.
func (t Trial) Together(ctx context.Context, requests ...definition.TestStream) ([]Outcome, error) {
	play := dryrun.Play{Filter: t.Filter, Module: t.Module, Compile: t.Compile, Count: t.Count, Profile: t.Profile, Clock: true}
	for _, r := range requests {
		play.Streams = append(play.Streams, Stream(r))
	}
	played, err := t.Player.Play(ctx, play)
	switch {
	case err != nil:
		return nil, err
	case len(played.Streams) == 0:
		return []Outcome{{Start: played.Start, Metrics: played.Metrics, Stopped: played.Stopped, Envoy: t.Envoy, Compiled: t.Compile}}, nil
	}
	all := make([]Outcome, len(played.Streams))
	for i, result := range played.Streams {
		all[i].Result, all[i].Envoy, all[i].Compiled = result, t.Envoy, t.Compile
	}
	last := &all[len(all)-1]
	last.Profile = played.Profile
	all[0].Start, last.Metrics, last.Stopped = played.Start, played.Metrics, played.Stopped
	return all, nil
}

func kindOf(network bool) string {
	if network {
		return "connections"
	}
	return "requests"
}

func failure(at definition.Expected, format string, args ...any) definition.Problem {
	return definition.Problem{File: at.Pos.File, Line: at.Pos.Line, Field: at.Field, Message: fmt.Sprintf(format, args...)}
}

// Stream returns a request of a case in the form that the host takes.
func Stream(s definition.TestStream) stream.Stream {
	made := stream.Stream{Request: message(s.Request), Response: message(s.Response), Properties: s.Properties, After: s.After, Wait: s.Wait}
	if c := s.Connection; c != nil {
		made.Connection = &stream.Connection{Closes: stream.Closer(c.Closes)}
		for _, d := range c.Data {
			made.Connection.Pieces = append(made.Connection.Pieces, stream.Piece(d))
		}
	}
	for cluster, c := range s.Callouts {
		if made.Callouts == nil {
			made.Callouts = map[string]stream.Callout{}
		}
		made.Callouts[cluster] = stream.Callout{
			Status: c.Status, Headers: c.Headers, Body: c.Body, GRPCStatus: c.GRPCStatus, GRPCMessage: c.GRPCMessage, Fails: c.Fails, After: c.After,
		}
	}
	return made
}

func message(m definition.TestMessage) stream.Message { return stream.Message(m) }
