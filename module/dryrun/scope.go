package dryrun

import (
	"fmt"

	"github.com/tetratelabs/wazero/api"

	"wasmxds/module/dryrun/abi"
	"wasmxds/module/dryrun/stream"
)

// scope is a context of the module, which it knows by number: its plugin, or a stream.
type scope struct {
	id     uint32
	stream *stream.HTTP      // nil: not a request
	tcp    *stream.TCP       // nil: not a connection
	given  stream.Map        // properties
	set    map[string][]byte // properties that the module has set, by path
	states map[string][]byte // filter state objects, by key
}

// scope returns the context that calls of the module apply to now.
func (h *host) scope() *scope {
	if s := h.scopes[h.effective]; h.effective != 0 && s != nil {
		return s
	}
	if h.running != nil {
		return h.running
	}
	return h.scopes[0]
}

func (h *host) setEffectiveContext(_ api.Module, a args) status {
	if h.scopes[a.u32(0)] == nil {
		return badArgument
	}
	h.effective = a.u32(0)
	return ok
}

// later schedules a function for when the callback has returned.
func (h *host) later(do func()) {
	if h.after = append(h.after, do); len(h.after) > maxEntries {
		panic(&excess{fmt.Sprintf("more than %d times it replies, continues or closes in one callback", maxEntries)})
	}
}

func (h *host) runAfter() {
	for len(h.after) > 0 && h.vm.failed == nil {
		do := h.after[0]
		h.after = h.after[1:]
		do()
	}
	if h.vm.failed != nil {
		h.after = nil
	}
}

// streamVM lets a stream call the module, in the stream's context.
type streamVM struct {
	vm    *vm
	scope *scope
}

func (s *streamVM) Create() {
	if s.vm.failed != nil {
		return
	}
	s.vm.host.scopes[s.scope.id] = s.scope
	s.vm.enter(s.scope, "proxy_on_context_create", uint64(s.scope.id), rootContext) //nolint:errcheck // it has failed then
	s.After()
}

func (s *streamVM) Call(name string, args ...uint32) (result uint32, found bool) {
	all := []uint64{uint64(s.scope.id)}
	for _, a := range args {
		all = append(all, uint64(a))
	}
	if s.vm.abi == "0.1.0" && (name == "proxy_on_request_headers" || name == "proxy_on_response_headers") {
		all = all[:2] // this callback has no parameter for the end of the stream
	}
	results, found, err := s.vm.enter(s.scope, name, all...)
	if err != nil || len(results) == 0 {
		return 0, found
	}
	return uint32(results[0]), found
}

func (s *streamVM) Failed() bool { return s.vm.failed != nil }

func (s *streamVM) Stopped() bool { return s.vm.host.replied }

func (s *streamVM) After() {
	s.vm.host.replied = false
	s.vm.host.runAfter()
}

func (s *streamVM) Did(action string) { s.vm.host.records.did(action) }

// loggerVM calls the module only when a stream is logged.
type loggerVM struct{ streamVM }

func (l *loggerVM) Create() {}

func (l *loggerVM) Call(name string, args ...uint32) (result uint32, found bool) {
	if name != "proxy_on_log" {
		return 0, false
	}
	return l.streamVM.Call(name, args...)
}

func (h *host) sendLocalResponse(m api.Module, a args) status {
	details, hasDetails := in(m, a.u32(1), a.u32(2))
	body, hasBody := in(m, a.u32(3), a.u32(4))
	headers, hasHeaders := in(m, a.u32(5), a.u32(6))
	if !hasDetails || !hasBody || !hasHeaders {
		return invalidMemory
	}
	h.spend(len(details) + len(body) + len(headers))
	if s := h.scope().stream; s != nil {
		code, text, with, grpc, why := a.u32(0), string(body), pairs(headers), a.u32(7), string(details)
		h.later(func() { s.Reply(code, text, with, grpc, why) })
	}
	h.replied = true
	return ok
}

func (h *host) continueRequest(api.Module, args) status  { return h.resume(abi.Request) }
func (h *host) continueResponse(api.Module, args) status { return h.resume(abi.Response) }

func (h *host) continueStream(_ api.Module, a args) status {
	if a.u32(0) > uint32(abi.LastSide) {
		return badArgument
	}
	return h.resume(abi.Side(a.u32(0)))
}

func (h *host) resume(side abi.Side) status {
	s := h.scope()
	switch {
	case side == abi.Upstream:
		return abi.Unimplemented
	case side == abi.Downstream && s.tcp != nil:
		h.later(s.tcp.Continue)
	case side <= abi.Response && s.stream != nil:
		h.later(func() { s.stream.Continue(side) })
		s.stream.Forget()
	}
	return ok
}

func (h *host) closeStream(_ api.Module, a args) status {
	if a.u32(0) > uint32(abi.LastSide) {
		return badArgument
	}
	switch s := h.scope(); {
	case s.stream != nil && abi.Side(a.u32(0)) <= abi.Response:
		h.later(s.stream.Close)
	case s.tcp != nil && abi.Side(a.u32(0)) > abi.Response:
		h.later(s.tcp.Close)
	}
	return ok
}
