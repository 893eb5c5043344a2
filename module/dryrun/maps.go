package dryrun

import (
	"encoding/binary"
	"fmt"

	"github.com/tetratelabs/wazero/api"

	"wasmxds/module/dryrun/abi"
	"wasmxds/module/dryrun/stream"
)

// Bounds of one map of headers. Envoy has none here, but no filter has a reason to exceed
// them.
const (
	maxHeaders      = 10_000
	maxHeadersBytes = 4 << 20
)

// headers returns the map for a call that changes it.
func (h *host) headers(number uint32) (*stream.Headers, status) {
	if s := h.scope().stream; s != nil && number <= uint32(abi.LastMap) {
		if m := s.Map(abi.Map(number)); m != nil {
			return m, ok
		}
	}
	return nil, badArgument
}

// readHeaders returns the map for a call that reads it, or nil if it is not available now.
func (h *host) readHeaders(number uint32) *stream.Headers {
	if abi.Map(number) >= abi.GRPCInitialMetadata {
		return h.callouts.now.maps[abi.Map(number)]
	}
	if s := h.scope().stream; s != nil {
		return s.ReadMap(abi.Map(number))
	}
	return nil
}

func (h *host) getHeader(m api.Module, a args) status {
	if a.u32(0) > uint32(abi.LastMap) {
		return badArgument
	}
	name, found := in(m, a.u32(1), a.u32(2))
	if !found {
		return invalidMemory
	}
	headers := h.readHeaders(a.u32(0))
	if s := h.scope().stream; headers == nil && (s == nil || !s.Logging()) {
		return badArgument
	}
	value := ""
	if found = headers != nil; found {
		value, found = headers.Get(string(name))
	}
	if !found && h.vm.abi != "0.1.0" {
		return notFound
	}
	return h.out(m, []byte(value), a.u32(3), a.u32(4))
}

func (h *host) addHeader(m api.Module, a args) status {
	return h.setHeader(m, a, (*stream.Headers).Add)
}

func (h *host) replaceHeader(m api.Module, a args) status {
	return h.setHeader(m, a, (*stream.Headers).Set)
}

func (h *host) setHeader(m api.Module, a args, set func(h *stream.Headers, name, value string)) status {
	if a.u32(0) > uint32(abi.LastMap) {
		return badArgument
	}
	name, hasName := in(m, a.u32(1), a.u32(2))
	value, hasValue := in(m, a.u32(3), a.u32(4))
	if !hasName || !hasValue {
		return invalidMemory
	}
	headers, s := h.headers(a.u32(0))
	if s == ok {
		bound(headers.Len()+1, headers.Size()+len(name)+len(value))
		h.spend(len(name) + len(value))
		set(headers, string(name), string(value))
	}
	return s
}

// bound ends a module that makes a map too large.
func bound(n, size int) {
	if n > maxHeaders || size > maxHeadersBytes {
		panic(&excess{fmt.Sprintf("more than %d headers, or %d MiB of them", maxHeaders, maxHeadersBytes>>20)})
	}
}

func (h *host) removeHeader(m api.Module, a args) status {
	if a.u32(0) > uint32(abi.LastMap) {
		return badArgument
	}
	name, found := in(m, a.u32(1), a.u32(2))
	if !found {
		return invalidMemory
	}
	headers, s := h.headers(a.u32(0))
	if s == ok {
		headers.Remove(string(name))
	}
	return s
}

func (h *host) getHeaders(m api.Module, a args) status {
	if a.u32(0) > uint32(abi.LastMap) {
		return badArgument
	}
	var data []byte
	if headers := h.readHeaders(a.u32(0)); headers != nil && headers.Len() > 0 {
		data = stream.Marshal(headers.Fields())
	}
	return h.out(m, data, a.u32(1), a.u32(2))
}

func (h *host) setHeaders(m api.Module, a args) status {
	if a.u32(0) > uint32(abi.LastMap) {
		return badArgument
	}
	data, found := in(m, a.u32(1), a.u32(2))
	if !found {
		return invalidMemory
	}
	headers, s := h.headers(a.u32(0))
	if s == ok {
		h.spend(len(data))
		headers.Replace(pairs(data))
	}
	return s
}

func (h *host) getHeadersSize(m api.Module, a args) status {
	headers, s := h.headers(a.u32(0))
	if s != ok {
		return s
	}
	return wrote(put32(m, a.u32(1), uint32(headers.Size())))
}

// pairs decodes a map as modules encode it: the number of pairs, the sizes of each, and
// then each name and value followed by a zero byte. For malformed or large input, it
// returns no pairs.
func pairs(b []byte) [][2]string {
	const limit, size = 1024, 1 << 20
	n, rest, found := take32(b)
	if !found || n > limit || len(b) > size || uint64(len(rest)) < 8*uint64(n) {
		return nil
	}
	sizes, rest := rest[:8*n], rest[8*n:]
	out := make([][2]string, 0, n)
	for range n {
		var pair [2]string
		for i := range pair {
			var size uint32
			size, sizes, _ = take32(sizes)
			if uint64(len(rest)) < uint64(size)+1 || rest[size] != 0 {
				return nil
			}
			pair[i], rest = string(rest[:size]), rest[size+1:]
		}
		out = append(out, pair)
	}
	if len(rest) > 0 {
		return nil
	}
	return out
}

func take32(b []byte) (v uint32, rest []byte, found bool) {
	if len(b) < 4 {
		return 0, b, false
	}
	return binary.LittleEndian.Uint32(b), b[4:], true
}
