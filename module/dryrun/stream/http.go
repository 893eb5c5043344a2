package stream

import (
	"net/http"
	"slices"
	"time"

	"wasmxds/module/dryrun/abi"
)

// HTTP is one request with its response, on its way through a filter.
//
// [HTTP.Step] delivers what comes next: a piece of the request, or of the response that the
// upstream gives once it has the whole request. If it does nothing, the filter holds up the
// stream and waits for something else.
type HTTP struct {
	vm       VM
	options  Options
	request  direction
	response direction

	protocol       string
	head, grpc     bool // properties of the request
	created        bool // the module has a context for the stream
	endOfStream    bool // what the filter was last told
	logging        bool // proxy_on_log is running
	finished       bool
	streamFailed   bool
	failureReplied bool
	details        string // response code details
	detailed       bool   // response code details are set
	flags          int64  // response flags
	reset          string
	fatal          string // what would crash Envoy itself
	failedBefore   bool   // the module had trapped before this stream
	prepared       *preparedReply
	local          *LocalReply
	received       Message
	answered       *Message
}

// Options are what the definition of the filter and the stream specify.
type Options struct {
	StopIteration bool // the filter may hold up headers and still see the body
	FailOpen      bool // requests bypass a module that has trapped
	Began         time.Time
	Now           func() time.Time
}

// NewHTTP returns the state machine of a stream of which nothing has arrived yet.
func NewHTTP(vm VM, s Stream, options Options) *HTTP {
	h := &HTTP{vm: vm, options: options, protocol: s.Speaks()}
	h.request = direction{http: h, what: "request", code: 413, limits: bufferLimitReply413}
	h.response = direction{http: h, what: "response", code: 500, limits: bufferLimitReply500}
	request, response := s.Messages()
	headers := newHeaders(requestMap, request.Headers)
	method, _ := headers.Get(":method")
	contentType, _ := headers.Get("content-type")
	h.head, h.grpc = method == "HEAD", isGRPC(contentType)
	if h.head {
		response.Body = nil
	}
	h.request.source = newSource(&h.request, headers, request, s.Speaks())
	h.response.source = newSource(&h.response, newHeaders(responseMap, response.Headers), response, s.Speaks())
	h.received = Message{headers.copy(), request.Body, request.Trailers}
	return h
}

// Step delivers what comes next, and reports whether there was anything.
func (h *HTTP) Step() bool {
	switch {
	case h.finished:
		return false
	case !h.response.complete && h.request.source.next():
		return true
	case !h.request.out.ended || h.local != nil:
		return false
	case h.answered == nil:
		h.answered = h.response.source.message()
		h.details, h.detailed = "via_upstream", true
	}
	return h.response.source.next()
}

// Finished reports whether the stream has ended.
func (h *HTTP) Finished() bool { return h.finished }

// GiveUp ends a stream that the filter never continues, like a client that has waited long
// enough.
func (h *HTTP) GiveUp() {
	if !h.finished {
		h.finish()
	}
}

// Result returns the outcome.
func (h *HTTP) Result() Result {
	r := Result{
		Received: h.received, Answered: h.answered,
		Request: h.request.message(), Response: h.response.message(),
		Sent: h.request.out.ended, Complete: h.response.out.ended, Crash: h.fatal, LocalReply: h.local, Reset: h.reset,
	}
	if !h.response.out.ended && h.reset == "" {
		if r.Paused = h.response.held(); r.Paused == "" {
			r.Paused = h.request.held()
		}
	}
	return r
}

// over reports whether nothing more of a direction matters.
func (h *HTTP) over(d *direction) bool {
	return h.finished || d.aborted || d == &h.request && h.response.complete
}

// replied reports whether a direction can't be continued any more.
func (h *HTTP) replied(d *direction) bool {
	if d == &h.request {
		return h.response.complete
	}
	return h.response.out.ended
}

// left is called when something has left the filter.
func (h *HTTP) left(d *direction) {
	if d == &h.response && d.out.ended {
		h.finish()
	}
}

// sent returns the headers as Envoy sends them. From responses by HTTP/2, it removes those
// that concern a connection of HTTP/1.1.
func (h *HTTP) sent(d *direction) [][2]string {
	headers := d.headers.copy()
	if d == &h.request || h.protocol != HTTP2 {
		return headers
	}
	return slices.DeleteFunc(headers, func(f [2]string) bool { return slices.Contains(ofConnection, f[0]) })
}

// ofConnection are the headers that concern a connection of HTTP/1.1.
var ofConnection = []string{"connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade"}

// leftHeaders adds what Envoy adds after its filters. A filter sees that when the stream is
// logged.
func (h *HTTP) leftHeaders(d *direction) {
	if d == &h.request {
		d.headers.put("x-envoy-expected-rq-timeout-ms", "15000")
		return
	}
	if _, found := d.headers.Get("date"); !found {
		d.headers.Add("date", h.options.Began.UTC().Format(http.TimeFormat))
	}
	d.headers.put("server", "envoy")
}

// finish ends the stream: it is logged and then deleted.
func (h *HTTP) finish() {
	h.finished = true
	if h.vm.Failed() {
		return
	}
	if !h.created {
		h.vm.Create()
		h.created = true
	}
	h.logging = true
	h.tell("proxy_on_log")
	h.logging = false
	h.tell("proxy_on_done")
	h.tell("proxy_on_delete")
}

func (h *HTTP) tell(callback string) {
	if h.vm.Failed() {
		return
	}
	h.vm.Call(callback)
	h.vm.After()
}

// Continue does what proxy_continue_stream does, when the host call has returned.
func (h *HTTP) Continue(side abi.Side) {
	switch {
	case side == abi.Request:
		h.request.commonContinue()
	case !h.response.started && !h.finished:
		h.fatal = "proxy_continue_stream of a response that has not begun: Envoy itself would crash"
		h.cutOff("crash")
	default:
		h.response.commonContinue()
	}
}

// Forget takes the request away from the module. From then on, a call that continues either
// direction does so at once.
func (h *HTTP) Forget() {
	h.request.seenHeaders, h.request.seenBody, h.request.seenTrailers = nil, nil, nil
}

// Close does what proxy_close_stream does, when the host call has returned.
func (h *HTTP) Close() {
	if !h.detailed {
		h.details, h.detailed = "wasm_close_stream", true
	}
	h.cutOff(h.details)
}

func (h *HTTP) cutOff(reason string) {
	if !h.finished {
		h.reset = reason
		h.finish()
	}
}

// Map returns a map that the module may change, or nil if it is not available now.
func (h *HTTP) Map(m abi.Map) *Headers {
	switch m {
	case abi.RequestHeaders:
		return h.request.seenHeaders
	case abi.RequestTrailers:
		return h.request.mayAddTrailers(requestTrailerMap)
	case abi.ResponseHeaders:
		return h.response.seenHeaders
	case abi.ResponseTrailers:
		return h.response.mayAddTrailers(responseTrailerMap)
	}
	return nil
}

// mayAddTrailers adds trailers to a message without any. That is possible while the filter
// sees the end of a body.
func (d *direction) mayAddTrailers(k kind) *Headers {
	if d.seenTrailers == nil && d.seenBody != nil && d.http.endOfStream && d.trailers == nil && d.calling {
		d.trailers = newHeaders(k, nil)
		d.seenTrailers = d.trailers
	}
	return d.seenTrailers
}

// ReadMap returns a map to read, or nil if it is not available now.
func (h *HTTP) ReadMap(m abi.Map) *Headers {
	if h.logging {
		switch m {
		case abi.RequestHeaders:
			return h.request.headers
		case abi.ResponseHeaders:
			return h.response.headers
		case abi.ResponseTrailers:
			return h.response.trailers
		}
		return nil
	}
	switch m {
	case abi.RequestHeaders:
		return h.request.seenHeaders
	case abi.RequestTrailers:
		return h.request.seenTrailers
	case abi.ResponseHeaders:
		return h.response.seenHeaders
	case abi.ResponseTrailers:
		return h.response.seenTrailers
	}
	return nil
}

// Logging reports whether the stream is being logged.
func (h *HTTP) Logging() bool { return h.logging }

// Body returns what the module can access of a body, or nil if it can't access any now.
func (h *HTTP) Body(b abi.Buffer) *Buffer {
	if b == abi.RequestBody {
		return h.request.Body()
	}
	return h.response.Body()
}
