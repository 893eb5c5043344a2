// Package wasmtest assembles small Proxy-Wasm modules for tests, so that they
// need no Wasm toolchain: a filter that adds one header is some 700 bytes
// long, and one that differs in a word is another module.
//
// Start with [Filter]. The same Filter gives the same bytes. The modules speak
// ABI 0.2.1 (https://github.com/proxy-wasm/spec) and run in Envoy as well as
// in any other host.
package wasmtest

import (
	"bytes"
	"cmp"
	"slices"
	"strings"
)

// Filter describes a Proxy-Wasm filter, an HTTP one unless it says otherwise.
type Filter struct {
	// Network makes it a network filter: Value stands before each piece of data
	// that a client sends, and what a Fault says of requests is said of
	// connections.
	Network bool
	// Header and Value are added to each request.
	Header, Value string
	// FromConfig makes the plugin configuration the Value.
	FromConfig bool
	// Response adds the header to each response, too.
	Response bool
	// Log is written at level info when the filter is configured, before a
	// Fault there.
	Log string
	// Counts, when not empty, is the counter that each request is counted in when it
	// is logged. Envoy calls it wasmcustom.COUNTS.
	Counts string
	// Fault is what goes wrong.
	Fault Fault
	// At is the number of a fault that has one.
	At int
	// Import is a function that the module imports from "env" and never calls.
	Import string
	// ABI is the version that the module says it is for; default "0.2.1".
	ABI string
	// Exports are further functions, or take the place of those of their name.
	Exports []Function
	// Bomb is what makes the module costly.
	Bomb Bomb
	// Size pads the module to this many bytes; 0 or too few: no padding.
	Size int
}

// Function is a function that takes and gives so many 32-bit numbers; they are
// all zero.
type Function struct {
	Name            string
	Params, Results int
}

// Fault is what is wrong with a module.
type Fault int

const (
	None            Fault = iota
	TrapInVMStart         // proxy_on_vm_start traps
	TrapInConfigure       // proxy_on_configure traps
	SpinInConfigure       // proxy_on_configure never returns
	RejectVMStart         // proxy_on_vm_start returns false
	RejectConfigure       // proxy_on_configure returns false
	RejectSize            // proxy_on_configure returns false for a configuration of At bytes
	TrapOnRequest         // a request that has TrapHeader traps
	TrapAt                // the At-th request of each VM traps
	SpinAt                // the At-th request of each VM never returns
	ErrorEvery            // each At-th request is answered 500
	DenyEvery             // each At-th request is answered 403
	SlowDown              // each request takes At thousand rounds of a loop
	TrapAtLog             // the At-th request that each VM logs traps
	Leak                  // each request takes At pages of 64 KiB, and keeps them
	TrapOnRefusal         // a header that can't be added traps, as SDKs do that check each answer
	NoABI                 // no proxy_abi_version_* is exported
	UnknownABI            // proxy_abi_version_9_9_9 is exported
)

// TrapHeader is the request header at which a [TrapOnRequest] module traps.
const TrapHeader = "x-trap"

// Numbers of the ABI.
const (
	requestHeaders  = 0 // proxy_map_type_t
	responseHeaders = 2
	downstreamData  = 2 // proxy_buffer_type_t
	pluginConfig    = 7
	levelInfo       = 2 // proxy_log_level_t
	counter         = 0 // proxy_metric_type_t
)

// Memory, from low to high: pointers that the host returns (at 0 and 4), data,
// the root context of each stream, configurations.
const (
	streamsAt = 1 << 16 // 4 bytes for each of the last 65536 contexts
	heapAt    = streamsAt + 1<<18
	pages     = 32
)

// A root's configuration is kept as a record of four words, newest first.
const (
	recordRoot = 4 * iota
	recordText
	recordLength
	recordNext
	recordSize
)

// Imports, in the order of their numbers.
const (
	addHeader = iota
	getHeader
	getBuffer
	writeLog
	answer
	setBuffer // of a network filter
)

// Those of one that counts what it logs, which is none.
const (
	defineMetric = iota + setBuffer
	incrementMetric
)

// Module gives the module's bytes.
func (f Filter) Module() []byte {
	m := image{
		imports: []function{
			{name: "proxy_add_header_map_value", params: 5, results: 1},
			{name: "proxy_get_header_map_value", params: 5, results: 1},
			{name: "proxy_get_buffer_bytes", params: 5, results: 1},
			{name: "proxy_log", params: 3, results: 1},
			{name: "proxy_send_local_response", params: 8, results: 1},
		},
		pages:  pages,
		global: heapAt,
	}
	if f.Network {
		m.imports = append(m.imports, function{name: "proxy_set_buffer_bytes", params: 5, results: 1})
	}
	if f.Counts != "" {
		m.imports = append(m.imports,
			function{name: "proxy_define_metric", params: 4, results: 1},
			function{name: "proxy_increment_metric", params: 1, long: true, results: 1})
	}
	if f.Import != "" {
		m.imports = append(m.imports, function{name: f.Import})
	}
	word := func(s string) (at, length int) { // where s is in memory
		at = dataAt + len(m.data)
		m.data = append(m.data, s...)
		return at, len(s)
	}

	m.exports = []function{
		{name: "_initialize"},
		// A memory that is never freed: only configurations are kept in it.
		{name: "proxy_on_memory_allocate", params: 1, results: 1, body: ops(
			op(opGlobalGet, 0),
			op(opGlobalGet, 0), get(0), op(opAdd), push(7), op(opAdd), push(-8), op(opAnd), op(opGlobalSet, 0),
		)},
		{name: "proxy_on_context_create", params: 2, body: ops(streamSlot(), get(1), store(streamsAt))},
		{name: "proxy_on_vm_start", params: 2, results: 1, body: f.vmStart()},
		{name: "proxy_on_configure", params: 2, results: 1, locals: 1, body: f.configure(word)},
		{name: "proxy_on_done", params: 1, results: 1, body: push(1)},
		{name: "proxy_on_delete", params: 1},
	}
	if f.Network {
		m.exports = append(m.exports, f.connection(word)...)
	} else {
		m.exports = slices.Insert(m.exports, len(m.exports)-2, function{
			name: "proxy_on_request_headers", params: 3, results: 1, locals: 1, body: f.headers(requestHeaders, word)})
	}
	if f.Counts != "" {
		m.exports = append(m.exports, function{name: "proxy_on_log", params: 1, body: f.log()})
	}
	if f.Response {
		m.exports = append(m.exports, function{
			name: "proxy_on_response_headers", params: 3, results: 1, locals: 1, body: f.headers(responseHeaders, word)})
	}
	switch f.Fault {
	case NoABI:
	case UnknownABI:
		m.exports = append(m.exports, function{name: "proxy_abi_version_9_9_9"})
	default:
		m.exports = append(m.exports, function{name: "proxy_abi_version_" + strings.ReplaceAll(cmp.Or(f.ABI, "0.2.1"), ".", "_")})
	}
	for _, e := range f.Exports {
		m.exports = slices.DeleteFunc(m.exports, func(other function) bool { return other.name == e.Name })
		m.exports = append(m.exports, function{name: e.Name, params: e.Params, results: e.Results, body: bytes.Repeat(push(0), e.Results)})
	}
	f.Bomb.set(&m)
	return pad(m.encode(), f.Size)
}

func (f Filter) vmStart() []byte {
	switch f.Fault {
	case TrapInVMStart:
		return op(opUnreachable)
	case RejectVMStart:
		return push(0)
	}
	return push(1)
}

// configure logs, fails if it is to, and keeps the configuration in a new
// record; the newest record's address is in the memory's third word.
func (f Filter) configure(word func(string) (int, int)) []byte {
	const root, size, record = 0, 1, 2
	var b []byte
	if f.Log != "" {
		at, length := word(f.Log)
		b = ops(push(levelInfo), push(at), push(length), op(opCall, writeLog), op(opDrop))
	}
	taken := push(1)
	switch f.Fault {
	case TrapInConfigure:
		return append(b, opUnreachable)
	case SpinInConfigure:
		return ops(b, op(opLoop, noResult, opBr, 0, opEnd), push(1))
	case RejectConfigure:
		return ops(b, push(0))
	case RejectSize:
		taken = ops(get(size), push(f.At), op(opEq), op(opEqz))
	}
	if f.Counts != "" {
		at, length := word(f.Counts)
		b = ops(b, push(counter), push(at), push(length), push(counterAt), op(opCall, defineMetric), op(opDrop))
	}
	return ops(b,
		push(0), push(0), store(0), push(0), push(0), store(4), // no text where the host has none
		push(pluginConfig), push(0), get(size), push(0), push(4), op(opCall, getBuffer), op(opDrop),
		op(opGlobalGet, 0), set(record),
		get(record), push(recordSize), op(opAdd), op(opGlobalSet, 0),
		get(record), get(root), store(recordRoot),
		get(record), push(0), load(0), store(recordText),
		get(record), push(0), load(4), store(recordLength),
		get(record), push(0), load(8), store(recordNext),
		push(0), get(record), store(8),
		taken)
}

// headers adds the header to the map of the given type and lets the request
// or response go on.
func (f Filter) headers(mapType int, word func(string) (int, int)) []byte {
	var b []byte
	if mapType == requestHeaders {
		b = f.request(word)
	}
	key, keyLength := word(f.Header)
	start := ops(push(mapType), push(key), push(keyLength))
	end := ops(op(opCall, addHeader), op(opDrop), push(0))
	if f.Fault == TrapOnRefusal {
		end = ops(op(opCall, addHeader), op(opIf, noResult, opUnreachable, opEnd), push(0))
	}
	return append(b, f.withValue(start, end, word)...)
}

// withValue has the address and the length of the value between start and end.
// Locals 0 and 3 are the stream and a record.
func (f Filter) withValue(start, end []byte, word func(string) (int, int)) []byte {
	const record = 3
	if !f.FromConfig {
		value, length := word(f.Value)
		return ops(start, push(value), push(length), end)
	}
	return ops(
		push(0), load(8), set(record),
		op(opBlock, noResult, opLoop, noResult),
		get(record), op(opEqz, opBrIf, 1),
		get(record), load(recordRoot), streamSlot(), load(streamsAt), op(opEq, opBrIf, 1),
		get(record), load(recordNext), set(record),
		op(opBr, 0, opEnd, opEnd),
		start, get(record), load(recordText), get(record), load(recordLength), end)
}

// countAt is where requests are counted; counterAt has the id of the counter that
// Counts names. They are between what has places of its own.
const (
	countAt   = 12
	counterAt = streamsAt - 4
)

// log counts a request that is over.
func (f Filter) log() []byte {
	b := ops(push(0), load(counterAt), op(opLong, 1), op(opCall, incrementMetric), op(opDrop))
	if f.Fault == TrapAtLog {
		b = ops(b, push(0), push(0), load(countAt), push(1), op(opAdd), store(countAt),
			push(0), load(countAt), push(f.At), op(opEq, opIf, noResult), op(opUnreachable), op(opEnd))
	}
	return b
}

// request is what goes wrong with a request.
func (f Filter) request(word func(string) (int, int)) []byte {
	const rounds = 3 // a local
	count := ops(push(0), push(0), load(countAt), push(1), op(opAdd), store(countAt))
	nth := func(do ...byte) []byte {
		return ops(count, push(0), load(countAt), push(f.At), op(opEq, opIf, noResult), do, op(opEnd))
	}
	each := func(status int) []byte {
		return ops(count, push(0), load(countAt), push(f.At), op(opRem, opEqz, opIf, noResult),
			push(status), bytes.Repeat(push(0), 6), push(-1), op(opCall, answer, opDrop), push(1), op(opReturn), op(opEnd))
	}
	switch f.Fault {
	case TrapOnRequest:
		at, length := word(TrapHeader)
		return ops(push(requestHeaders), push(at), push(length), push(0), push(4), op(opCall, getHeader),
			op(opEqz, opIf, noResult, opUnreachable, opEnd))
	case TrapAt:
		return nth(opUnreachable)
	case SpinAt:
		return nth(opLoop, noResult, opBr, 0, opEnd)
	case ErrorEvery:
		return each(500)
	case DenyEvery:
		return each(403)
	case SlowDown:
		return ops(push(1000*f.At), set(rounds), op(opLoop, noResult),
			get(rounds), push(-1), op(opAdd, opTee, rounds), op(opBrIf, 0, opEnd))
	case Leak:
		// The pages are written to, as what is only asked for takes no memory.
		return ops(push(f.At), op(opGrow, 0), push(16), op(opShl), push(1), push(f.At<<16), op(opBulk, opFill, 0))
	}
	return nil
}

// streamSlot is where the root of the context in local 0 is kept, less
// streamsAt.
func streamSlot() []byte {
	return ops(get(0), push(0xffff), op(opAnd), push(2), op(opShl))
}
