package dryrun

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tetratelabs/wazero/api"

	"wasmxds/module/dryrun/abi"
	"wasmxds/module/dryrun/stream"
)

// callouts are the calls of a module that have not been answered yet, and the answer that
// is being delivered.
type callouts struct {
	// answers by cluster; nil if the module is only started
	answers map[string]stream.Callout
	http2   bool      // clusters use HTTP/2
	last    [3]uint32 // last id of each kind
	open    map[uint32]*callout
	now     answered
}

// callout is a call in progress. As in Envoy, the lower two bits of its id are its kind.
type callout struct {
	id     uint32
	told   *stream.Call
	answer stream.Callout
	late   bool
	closed bool // a gRPC stream that the module has closed
}

const (
	httpCallout   = 0
	grpcCallout   = 1
	grpcStreaming = 2
	calloutKinds  = 3 // bit mask
	nextCallout   = 4 // distance between ids of the same kind
	maxCallouts   = 1000
)

// answered is what the module can read of the answer that is being delivered.
type answered struct {
	http    bool                        // it answers an HTTP call
	maps    map[abi.Map]*stream.Headers // of an HTTP or a gRPC call
	body    []byte
	message *stream.Buffer // of a gRPC call
	status  uint32
	reason  string
}

// begin assigns an id to a call and schedules its answer.
func (h *host) begin(kind uint32, told *stream.Call, a stream.Callout) *callout {
	c := &h.callouts
	if c.open == nil {
		c.open = map[uint32]*callout{}
		c.last = [3]uint32{httpCallout, grpcCallout, grpcStreaming}
	}
	c.last[kind] += nextCallout
	made := &callout{id: c.last[kind], told: told, answer: a}
	c.open[made.id] = made
	if c.answers == nil {
		return made
	}
	after := a.After
	if told.Timeout > 0 && after > told.Timeout {
		after, made.late = told.Timeout, true
	}
	h.afterTime(after, func() {
		if c.open[made.id] == made {
			h.answer(kind, made)
		}
	})
	return made
}

func (h *host) answer(kind uint32, c *callout) {
	switch kind {
	case httpCallout:
		h.answerHTTP(c)
	case grpcCallout:
		h.answerGRPC(c)
	default:
		h.answerStream(c)
	}
	h.callouts.now = answered{}
}

// cluster returns the answers of a cluster. For a module that is only started, every
// cluster exists.
func (h *host) cluster(name string) (stream.Callout, bool) {
	a, found := h.callouts.answers[name]
	return a, found || h.callouts.answers == nil
}

// tell records a call of the module.
func (h *host) tell(c stream.Call) *stream.Call {
	if len(h.records.calls) >= maxCallouts {
		panic(&excess{fmt.Sprintf("more than %d calls to other services", maxCallouts)})
	}
	h.records.calls = append(h.records.calls, &c)
	return &c
}

// texts reads arguments of a call that are pairs of a pointer and a size.
func (h *host) texts(m api.Module, a args, at ...int) ([][]byte, bool) {
	var out [][]byte
	for _, i := range at {
		b, found := in(m, a.u32(i), a.u32(i+1))
		if !found {
			return nil, false
		}
		h.spend(len(b))
		out = append(out, slices.Clone(b))
	}
	return out, true
}

func (h *host) httpCall(m api.Module, a args) status {
	t, found := h.texts(m, a, 0, 2, 4, 6)
	if !found || !put32(m, a.u32(9), 0) {
		return invalidMemory
	}
	cluster, headers, body, trailers := string(t[0]), stream.NewRequest(pairs(t[1])), t[2], pairs(t[3])
	timeout := time.Duration(int32(a.u32(8))) * time.Millisecond
	if timeout < 0 {
		return badArgument
	}
	told := h.tell(stream.Call{Kind: "http", Cluster: cluster, Headers: headers.Fields(), Body: body, Trailers: trailers, Timeout: timeout})
	answer, known := h.cluster(cluster)
	if !known {
		told.Answer = "no such cluster"
		return badArgument
	}
	for _, name := range []string{":path", ":method", ":authority"} {
		if _, there := headers.Get(name); !there {
			told.Answer = "it has no " + name
			return badArgument
		}
	}
	if _, there := headers.Get(":scheme"); !there {
		headers.Add(":scheme", "http")
	}
	if len(body) > 0 {
		headers.Set("content-length", strconv.Itoa(len(body)))
	}
	told.Headers = headers.Fields()
	return wrote(put32(m, a.u32(9), h.begin(httpCallout, told, answer).id))
}

const (
	noContent      = 204
	gatewayTimeout = 504
	unavailable    = 503
	noConnection   = "upstream connect error or disconnect/reset before headers. reset reason: remote connection failure"
	noAnswer       = "upstream request timeout"
)

// answerHTTP delivers the answer to an HTTP call.
func (h *host) answerHTTP(c *callout) {
	a := c.answer
	a.Status = cmp.Or(a.Status, 200)
	switch {
	case c.late:
		a, c.told.Answer = ofEnvoy(gatewayTimeout, noAnswer), "timed out"
	case a.Fails:
		a, c.told.Answer = ofEnvoy(unavailable, noConnection), "no connection"
	case a.BreaksOff:
		c.told.Answer = "broken off"
		h.callouts.now = answered{status: uint32(abi.BrokenConnection), reason: "reset"}
		h.callRoot("proxy_on_http_call_response", uint64(c.id), 0, 0, 0)
		delete(h.callouts.open, c.id)
		return
	default:
		a.Headers = h.callouts.sized(a)
		if stream.Bodiless(strconv.Itoa(a.Status)) {
			a.Body, a.Trailers = nil, nil
		}
		c.told.Answer = strconv.Itoa(a.Status)
	}
	headers := stream.NewResponse(append([][2]string{{":status", strconv.Itoa(a.Status)}}, a.Headers...))
	h.callouts.now = answered{http: true, body: a.Body, maps: map[abi.Map]*stream.Headers{abi.CallHeaders: headers}}
	if len(a.Trailers) > 0 {
		h.callouts.now.maps[abi.CallTrailers] = stream.NewTrailers(a.Trailers)
	}
	h.callRoot("proxy_on_http_call_response", uint64(c.id), uint64(headers.Len()), uint64(len(a.Body)), uint64(len(a.Trailers)))
	delete(h.callouts.open, c.id)
}

// sized returns the headers of an answer, with those that an upstream and Envoy add.
func (c *callouts) sized(a stream.Callout) [][2]string {
	headers := slices.Clone(a.Headers)
	has := func(name string) bool {
		return slices.ContainsFunc(headers, func(h [2]string) bool { return strings.EqualFold(h[0], name) })
	}
	switch {
	case a.Status == noContent:
		headers = slices.DeleteFunc(headers, func(h [2]string) bool { return strings.EqualFold(h[0], "content-length") })
	case !c.http2 && !has("content-length") && !has("transfer-encoding"):
		headers = append(headers, [2]string{"content-length", strconv.Itoa(len(a.Body))})
	}
	if !has(serviceTime) {
		headers = append(headers, [2]string{serviceTime, "0"})
	}
	return headers
}

// serviceTime is a header that Envoy adds to responses of upstreams.
const serviceTime = "x-envoy-upstream-service-time"

// ofEnvoy returns the response that Envoy gives in place of an upstream.
func ofEnvoy(code int, text string) stream.Callout {
	return stream.Callout{Status: code, Body: []byte(text), Headers: [][2]string{
		{"content-length", strconv.Itoa(len(text))}, {"content-type", "text/plain"},
	}}
}

func (h *host) getStatus(m api.Module, a args) status {
	now := &h.callouts.now
	if !put32(m, a.u32(0), now.status) {
		return invalidMemory
	}
	return h.out(m, []byte(now.reason), a.u32(1), a.u32(2))
}
