// Package try plays requests through a filter without an Envoy, and says what came of
// them.
//
// Start with [Play], for one case, or [Tests], which runs the FilterTests of a filter.
// Modules run where package dryrun has them run, within its limits. Packages curl and
// har read requests that others have written.
package try

import (
	"context"
	"fmt"

	"wasmxds/definition"
	"wasmxds/module"
	"wasmxds/module/dryrun"
	"wasmxds/module/dryrun/stream"
)

// Player plays streams through a filter's module, as [dryrun.Runner] does.
type Player interface {
	Play(ctx context.Context, p dryrun.Play) (dryrun.Played, error)
}

// Outcome is what came of a case.
type Outcome struct {
	Played dryrun.Played
	Result stream.Result // of the request itself, without those before it
	// Failures are expectations that are not met, each with its place.
	Failures []definition.Problem
}

// Play plays a case through a filter with a module of the store. A [*module.ContentError]
// says why the module can't be used, a [*dryrun.Unplayable] that only an Envoy can play
// it; any other error, that it could not be played.
func Play(ctx context.Context, p Player, f *definition.Filter, m module.Info, c definition.TestCase) (Outcome, error) {
	streams := make([]stream.Stream, 0, len(c.Before)+1)
	for _, b := range c.Before {
		streams = append(streams, Stream(b))
	}
	streams = append(streams, Stream(c.TestStream))
	played, err := p.Play(ctx, dryrun.Play{Filter: f, Module: m, Streams: streams})
	if err != nil {
		return Outcome{}, fmt.Errorf("%s: %w", c.Name, err)
	}
	out := Outcome{Played: played}
	if n := len(played.Streams); n > 0 {
		out.Result = played.Streams[n-1] // where not all were played, one of those before
	}
	if played.Stopped != "" {
		out.Failures = []definition.Problem{failure(c.At, "%s: %s", c.Name, played.Stopped)}
		return out, nil
	}
	out.Failures = failures(c, played, out.Result)
	return out, nil
}

func failure(at definition.Expected, format string, args ...any) definition.Problem {
	return definition.Problem{File: at.Pos.File, Line: at.Pos.Line, Field: at.Field, Message: fmt.Sprintf(format, args...)}
}

// Stream is a request of a case as the host takes it.
func Stream(s definition.TestStream) stream.Stream {
	made := stream.Stream{Request: message(s.Request), Response: message(s.Response), Properties: s.Properties}
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
