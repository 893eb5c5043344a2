package dryrun

import (
	"bytes"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"wasmxds/definition"
	"wasmxds/e2e/conformance"
	"wasmxds/module"
	"wasmxds/module/dryrun/stream"
)

var folder = flag.String("cases", "../../e2e/conformance/testdata", "play the cases of this `folder`")

// TestConformance plays the cases of e2e/conformance through the host here, and
// compares what comes out with what came out of a real Envoy.
func TestConformance(t *testing.T) {
	cases, err := conformance.Cases(*folder)
	if err != nil {
		t.Fatal(err)
	}
	r := newRunner(t, Options{})
	for _, c := range cases {
		t.Run(c.Name, func(t *testing.T) {
			t.Parallel()
			got, want := c.Render(r.outcome(t, c)), c.Want("")
			switch {
			case got == want && c.Differs != "":
				t.Errorf("%s:%d: it does as Envoy: remove the line \"differs %s\"", c.File, c.Line, c.Differs)
			case got != want && c.Differs == "":
				t.Errorf("%s:%d: Envoy (-) and the host (+) differ:\n%s", c.File, c.Line, cmp.Diff(lines(want), lines(got)))
			}
		})
	}
}

func lines(s string) []string { return strings.Split(s, "\n") }

// outcome is what the host makes of a case.
func (r *runner) outcome(t *testing.T, c *conformance.Case) conformance.Outcome {
	t.Helper()
	info, err := r.options.Store.Put(bytes.NewReader(c.Module), 64<<20)
	if err != nil {
		t.Fatal(err)
	}
	played, err := r.Play(t.Context(), playOf(c, info))
	var refused *module.ContentError
	if errors.As(err, &refused) {
		return conformance.Outcome{Rejected: true}
	} else if err != nil {
		t.Fatal(err)
	}
	o := conformance.Outcome{Log: logOf(c, played.Start)}
	for i, s := range played.Streams {
		o.Log = append(o.Log, logOf(c, s.Record)...)
		ends := slices.ContainsFunc(c.Streams[i].Connection, func(a conformance.Action) bool { return a.Close })
		o.Streams = append(o.Streams, passedOf(s, ends))
		for _, call := range s.Calls {
			if call.Answer != "no such cluster" && call.Answer != "cancelled" && !strings.HasPrefix(call.Answer, "it has no ") {
				o.Called = append(o.Called, conformance.Called{Cluster: call.Cluster,
					Message: conformance.Message{Headers: call.Headers, Body: [][]byte{call.Body}, Trailers: call.Trailers}})
			}
		}
	}
	for _, kind := range []string{"counter", "gauge", "histogram"} {
		for _, m := range slices.SortedFunc(slices.Values(played.Metrics), func(a, b stream.Metric) int { return strings.Compare(a.Name, b.Name) }) {
			if m.Type == kind && strings.HasPrefix(m.Name, c.Name+".") {
				value := ""
				if kind != "histogram" {
					value = " " + strconv.FormatUint(m.Value, 10)
				}
				o.Metrics = append(o.Metrics, fmt.Sprintf("%s %s%s", kind, m.Name, value))
			}
		}
	}
	return o
}

// playOf is a case for the host, which is told of its surroundings what the
// Envoy of the cases has.
func playOf(c *conformance.Case, info module.Info) Play {
	policy := map[string]definition.OnFailure{"fail_open": definition.Open, "fail_reload": definition.Reload}[c.Policy]
	p := Play{
		Module: info, Ticks: 10,
		Filter: &definition.Filter{Name: c.Name, RootID: c.RootID, VMID: c.Name, Config: text(c.Config), VMConfig: text(c.VMConfig),
			OnFailure: policy, Allow: c.Allow, AllowComputed: c.Allow != nil, Place: definition.Place{Network: c.Network}},
		Properties: map[string]any{
			"xds.node":       map[string]any{"id": "conformance", "cluster": "test", "metadata": map[string]any{"tier": "edge"}},
			"xds.route_name": "first", "xds.virtual_host_name": "all", "xds.cluster_name": c.Upstream(),
			"xds.route_metadata.filter_metadata.app.owner": "web",
		},
		Callouts: map[string]stream.Callout{},
	}
	for _, k := range c.Callouts {
		p.Callouts[k.Cluster] = calloutOf(k)
	}
	for _, s := range c.Streams {
		if c.Network {
			p.Streams = append(p.Streams, stream.Stream{Connection: connectionOf(s.Connection)})
			continue
		}
		p.Streams = append(p.Streams, stream.Stream{Request: framed(s.Request), Response: framed(s.Response), Protocol: stream.HTTP2})
	}
	return p
}

// framed has the pieces of a body that frames of HTTP/2 make of it.
func framed(m conformance.Message) stream.Message {
	out := stream.Message{Headers: m.Headers, Trailers: m.Trailers}
	for _, piece := range m.Body {
		out.Body = slices.AppendSeq(out.Body, slices.Chunk(piece, 16384))
	}
	return out
}

// calloutOf has the status and the message of gRPC where the host has them.
func calloutOf(k conformance.Callout) stream.Callout {
	status, _ := strconv.Atoi(k.Headers[0][1])
	out := stream.Callout{Status: status, Headers: k.Headers[1:], Body: slices.Concat(k.Body...), After: k.After, Fails: k.Reset}
	if k.Hang {
		out.After = 1 << 40
	}
	grpc := slices.Contains(k.Headers, [2]string{"content-type", "application/grpc"})
	if frames := out.Body; grpc && len(frames) >= 5 {
		out.Body = nil
		for len(frames) >= 5 {
			end := min(5+int(binary.BigEndian.Uint32(frames[1:])), len(frames))
			out.Messages = append(out.Messages, frames[5:end])
			frames = frames[end:]
		}
		out.Body, out.Messages = out.Messages[0], out.Messages[1:]
	}
	for _, h := range k.Trailers {
		switch {
		case grpc && h[0] == "grpc-status":
			n, _ := strconv.Atoi(h[1])
			out.GRPCStatus = &n
		case grpc && h[0] == "grpc-message":
			out.GRPCMessage = h[1]
		default:
			out.Trailers = append(out.Trailers, h)
		}
	}
	return out
}

// connectionOf is a connection for the host, which closes every one. The upstream of the
// cases closes its side when the client has, so that nothing comes after a close.
func connectionOf(actions []conformance.Action) *stream.Connection {
	out := new(stream.Connection)
	for _, a := range actions {
		switch {
		case a.Close && a.Upstream:
			out.Closes = stream.ClosedUpstream
			return out
		case a.Close:
			return out
		default:
			out.Pieces = append(out.Pieces, stream.Piece{Upstream: a.Upstream, Data: a.Data})
		}
	}
	return out
}

func logOf(c *conformance.Case, r stream.Record) []conformance.Line {
	var out []conformance.Line
	for _, l := range r.Logs {
		if c.Foreign && (l.Level == "trace" || l.Level == "debug") {
			continue // Envoy does not tell them by default
		}
		level := l.Level
		if level == "warn" {
			level = "warning" // as Envoy calls it
		}
		out = append(out, conformance.Line{Level: level, Text: l.Text})
	}
	return out
}

func passedOf(r stream.Result, ends bool) conformance.Passed {
	if r.Connection != nil {
		closed := r.Connection.Closes == stream.ClosedFilter || ends
		// An upstream that closes first is not told that the client did.
		return conformance.Passed{Network: true, UpstreamClosed: closed && r.Connection.Closes != stream.ClosedUpstream, ClientClosed: closed, ToUpstream: slices.Concat(r.Connection.Downstream...), ToClient: slices.Concat(r.Connection.Upstream...)}
	}
	p := conformance.Passed{Reset: r.Reset != ""}
	if r.Request != nil && r.Sent {
		m := conformance.Message(*r.Request)
		p.Upstream = &m
	}
	if r.Response != nil && (r.Complete || p.Reset) {
		m := conformance.Message(*r.Response)
		p.Client = &m
	}
	switch {
	case r.Reset != "":
		p.Details = r.Reset
	case r.LocalReply != nil:
		p.Details = r.LocalReply.Details
	}
	return p
}
