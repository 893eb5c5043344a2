package envoy

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"sync"

	"wasmxds/module/dryrun"
	"wasmxds/module/dryrun/stream"
	"wasmxds/try/exchange"
)

// ends are the servers that Envoy sends to: the upstream, and each cluster that the filter
// calls.
type ends struct {
	upstream *exchange.Server
	callouts map[string]calloutEnd
	servers  []*exchange.Server

	mu      sync.Mutex
	now     stream.Stream // the stream that goes through Envoy
	common  map[string]stream.Callout
	request *stream.Message // its request, as the upstream got it
	calls   []stream.Call
}

type calloutEnd struct {
	port int
	grpc bool
}

// nobody is a port on which nothing answers: ports below 1024 are reserved for the system,
// and no service uses the first.
const nobody = 1

// maxCalls is how many callouts of a request are recorded.
const maxCalls = 1000

func newEnds(ctx context.Context, p dryrun.Play) (*ends, error) {
	e := &ends{callouts: map[string]calloutEnd{}, common: p.Callouts}
	var err error
	if e.upstream, err = e.serve(ctx, e.answer); err != nil {
		return nil, err
	}
	for name, all := range clusters(p) {
		end := calloutEnd{port: nobody, grpc: slices.ContainsFunc(all, isGRPC)}
		if slices.ContainsFunc(all, func(c stream.Callout) bool { return !c.Fails }) {
			s, err := e.serve(ctx, func(m stream.Message) *exchange.Answer { return e.called(name, m) })
			if err != nil {
				e.close()
				return nil, err
			}
			end.port = s.Port()
		}
		e.callouts[name] = end
	}
	return e, nil
}

func isGRPC(c stream.Callout) bool {
	return c.GRPCStatus != nil || c.GRPCMessage != "" || !c.Fails && c.Status == 0
}

// clusters returns the answers of each cluster that any of the streams has answers for.
func clusters(p dryrun.Play) map[string][]stream.Callout {
	all := map[string][]stream.Callout{}
	for name, c := range p.Callouts {
		all[name] = append(all[name], c)
	}
	for _, s := range p.Streams {
		for name, c := range s.Callouts {
			all[name] = append(all[name], c)
		}
	}
	return all
}

func (e *ends) serve(ctx context.Context, answer func(stream.Message) *exchange.Answer) (*exchange.Server, error) {
	s, err := exchange.Serve(ctx, answer)
	if err != nil {
		return nil, errors.Join(errors.New("serve what Envoy asks"), err)
	}
	e.servers = append(e.servers, s)
	return s, nil
}

func (e *ends) close() {
	for _, s := range e.servers {
		s.Close()
	}
}

// next begins a stream, and drops what was recorded for the one before.
func (e *ends) next(s stream.Stream) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.now, e.request, e.calls = s, nil, nil
}

// came returns what was recorded for the current stream.
func (e *ends) came() (request *stream.Message, calls []stream.Call) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.request, slices.Clone(e.calls)
}

// answer returns the answer of the upstream.
func (e *ends) answer(m stream.Message) *exchange.Answer {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.request = &m
	_, response := sent(e.now)
	return &exchange.Answer{Message: response}
}

// called returns the answer of a cluster to a callout.
func (e *ends) called(cluster string, m stream.Message) *exchange.Answer {
	e.mu.Lock()
	defer e.mu.Unlock()
	c, found := e.now.Callouts[cluster]
	if !found {
		if c, found = e.common[cluster]; !found {
			c.Fails = true
		}
	}
	kind, grpc := "http", exchange.IsGRPC(m)
	if grpc {
		kind = "grpc"
	}
	plain := exchange.Called(m)
	a := answerOf(c, grpc)
	if len(e.calls) < maxCalls {
		e.calls = append(e.calls, stream.Call{Kind: kind, Cluster: cluster, Headers: plain.Headers, Body: slices.Concat(plain.Body...),
			Trailers: plain.Trailers, Answer: exchange.Value(a.Headers, ":status")})
	}
	return a
}

func answerOf(c stream.Callout, grpc bool) *exchange.Answer {
	a := &exchange.Answer{After: c.After, Reset: c.Fails}
	a.Headers = append([][2]string{{":status", strconv.Itoa(cmp.Or(c.Status, 200))}}, c.Headers...)
	a.Trailers = c.Trailers
	if !grpc {
		if len(c.Body) > 0 {
			a.Body = [][]byte{c.Body}
		}
		if exchange.Value(c.Headers, "content-length") == "" {
			a.Headers = append(a.Headers, [2]string{"content-length", strconv.Itoa(len(c.Body))})
		}
		return a
	}
	status := 0
	if c.GRPCStatus != nil {
		status = *c.GRPCStatus
	}
	a.Headers = append(a.Headers, [2]string{"content-type", "application/grpc"})
	if status == 0 {
		a.Body = [][]byte{exchange.Framed(c.Body)}
	}
	a.Trailers = append(slices.Clip(a.Trailers), [2]string{"grpc-status", strconv.Itoa(status)})
	if c.GRPCMessage != "" {
		a.Trailers = append(a.Trailers, [2]string{"grpc-message", c.GRPCMessage})
	}
	return a
}

// sent returns the messages of a stream as they are sent to Envoy. It leaves out what Envoy
// adds by itself, unless the stream sets that.
func sent(s stream.Stream) (request, response stream.Message) {
	request, response = s.Messages()
	own := func(m, given *stream.Message) {
		m.Headers = slices.DeleteFunc(m.Headers, func(h [2]string) bool {
			switch h[0] {
			case "x-forwarded-for", "x-forwarded-proto", "x-envoy-external-address", "x-request-id", "x-envoy-upstream-service-time":
				return !slices.ContainsFunc(given.Headers, func(g [2]string) bool { return strings.EqualFold(g[0], h[0]) })
			}
			return false
		})
	}
	own(&request, &s.Request)
	own(&response, &s.Response)
	return request, response
}
