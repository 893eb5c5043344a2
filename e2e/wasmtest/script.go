package wasmtest

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Script is a module that makes given host calls in given callbacks, and logs
// what came of each, as [Script.Module] says.
type Script struct {
	ABI       string // default "0.2.1"
	Callbacks []ScriptCallback
}

// ScriptCallback is what the module does in a callback. It logs its arguments
// first, but for the context.
type ScriptCallback struct {
	Name string // without the "proxy_"
	// Runs are the steps of its first call, of the second, and so on. Calls after
	// the last do as the last.
	Runs [][]Step
}

// Step is one host call, or what else a callback does.
type Step struct {
	Number int
	Call   string // the host call, without the "proxy_"
	Args   []Arg
	// Keep has the argument of the callback kept in a variable instead.
	Keep  string
	Param int
	// Trap ends the module instead; Return, the callback, with Value.
	Trap, Return bool
	Value        int
}

// Arg is one or two arguments of a host call.
type Arg struct {
	Kind ArgKind
	Int  int64
	Text string // the bytes of Text, the name of Variable and Out32
}

// ArgKind is what an Arg is.
type ArgKind int

const (
	Number   ArgKind = iota // Int
	Text                    // address and length of Text
	Param                   // argument number Int of the callback
	Variable                // what is kept as Text
	Out32                   // where the host puts a number; kept as Text, unless that is ""
	Out64                   // where the host puts a longer one
	OutBytes                // where the host puts an address and a length
)

// hostCalls are the types of what a script may call: i stands for i32, I for i64.
var hostCalls = map[string]string{
	"log": "iii", "get_log_level": "i", "get_status": "iii", "get_property": "iiii", "set_property": "iiii",
	"get_buffer_bytes": "iiiii", "get_buffer_status": "iii", "set_buffer_bytes": "iiiii",
	"get_current_time_nanoseconds": "i", "set_tick_period_milliseconds": "i", "set_effective_context": "i", "done": "",
	"call_foreign_function": "iiiiii", "get_header_map_value": "iiiii", "add_header_map_value": "iiiii",
	"replace_header_map_value": "iiiii", "remove_header_map_value": "iii", "get_header_map_pairs": "iii",
	"set_header_map_pairs": "iii", "get_header_map_size": "ii", "send_local_response": "iiiiiiii",
	"http_call": "iiiiiiiiii", "grpc_call": "iiiiiiiiiiii", "grpc_stream": "iiiiiiiii", "grpc_close": "i",
	"grpc_cancel": "i", "grpc_send": "iiii", "get_shared_data": "iiiii", "set_shared_data": "iiiii",
	"register_shared_queue": "iii", "resolve_shared_queue": "iiiii", "dequeue_shared_queue": "iii",
	"enqueue_shared_queue": "iii", "define_metric": "iiii", "increment_metric": "iI", "record_metric": "iI",
	"get_metric": "ii", "get_configuration": "ii", "continue_request": "", "continue_response": "",
	"clear_route_cache": "", "continue_stream": "i", "close_stream": "i",
}

// scriptCallback is the type of a callback, and what it gives where no step says.
type scriptCallback struct {
	params  int
	result  bool
	without int
}

func callbackType(name, abi string) (scriptCallback, bool) {
	if abi == "0.1.0" && (name == "on_request_headers" || name == "on_response_headers") {
		return scriptCallback{2, true, 0}, true
	}
	c, found := map[string]scriptCallback{
		"on_vm_start": {2, true, 1}, "on_configure": {2, true, 1}, "validate_configuration": {2, true, 1},
		"on_tick": {1, false, 0}, "on_context_create": {2, false, 0},
		"on_new_connection": {1, true, 0}, "on_downstream_data": {3, true, 0}, "on_upstream_data": {3, true, 0},
		"on_downstream_connection_close": {2, false, 0}, "on_upstream_connection_close": {2, false, 0},
		"on_request_headers": {3, true, 0}, "on_request_body": {3, true, 0}, "on_request_trailers": {2, true, 0},
		"on_response_headers": {3, true, 0}, "on_response_body": {3, true, 0}, "on_response_trailers": {2, true, 0},
		"on_http_call_response": {5, false, 0}, "on_grpc_receive": {3, false, 0}, "on_grpc_close": {3, false, 0},
		"on_grpc_receive_initial_metadata": {3, false, 0}, "on_grpc_receive_trailing_metadata": {3, false, 0},
		"on_queue_ready": {2, false, 0}, "on_foreign_function": {3, false, 0},
		"on_done": {1, true, 1}, "on_log": {1, false, 0}, "on_delete": {1, false, 0},
	}[name]
	return c, found
}

// lineAt is where a line is made that is to be logged; [streamsAt] isn't used.
const lineAt = streamsAt

// Module gives the module's bytes. An error is a mistake in the script.
//
// A callback logs ">NAME" and its arguments but the first, which is a context; a
// host call "~NUMBER", its status and, where that is 0, what it gave. A number is
// eight hexadecimal digits, or twice that; bytes are their number and the first of
// them, two digits each.
func (s Script) Module() ([]byte, error) {
	abi := cmp.Or(s.ABI, "0.2.1")
	w := &scriptWriter{image: image{pages: pages, global: heapAt}, calls: map[string]int{}, variables: map[string]int{}}
	w.importCalls(s)
	callbacks, err := w.callbacks(s.Callbacks, abi)
	if err != nil {
		return nil, err
	}
	w.image.exports = append([]function{
		{name: "_initialize"},
		{name: "proxy_on_memory_allocate", params: 1, results: 1, body: ops(
			op(opGlobalGet, 0),
			op(opGlobalGet, 0), get(0), op(opAdd), push(7), op(opAdd), push(-8), op(opAnd), op(opGlobalSet, 0),
		)},
		{name: "proxy_abi_version_" + strings.ReplaceAll(abi, ".", "_")},
	}, callbacks...)
	w.image.hidden = w.lineFunctions()
	return w.image.encode(), nil
}

// scriptWriter makes the code of a script.
type scriptWriter struct {
	image     image
	calls     map[string]int // numbers of the imports
	variables map[string]int // their addresses
	first     int            // number of the first hidden function
	cursor    int            // address of the length of the line
	digits    int            // address of the sixteen
}

func (w *scriptWriter) word(s string) (at int) {
	at = dataAt + len(w.image.data)
	w.image.data = append(w.image.data, s...)
	return at
}

// cell is a word of memory that is zero in the beginning.
func (w *scriptWriter) cell() int { return w.word("\x00\x00\x00\x00\x00\x00\x00\x00") }

func (w *scriptWriter) variable(name string) int {
	at, found := w.variables[name]
	if !found {
		at = w.cell()
		w.variables[name] = at
	}
	return at
}

func (w *scriptWriter) importCalls(s Script) {
	names := map[string]bool{"log": true}
	for _, c := range s.Callbacks {
		for _, run := range c.Runs {
			for _, step := range run {
				if step.Call != "" {
					names[step.Call] = true
				}
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		params := hostCalls[name]
		w.calls[name] = len(w.image.imports)
		w.image.imports = append(w.image.imports, function{name: "proxy_" + name,
			params: strings.Count(params, "i"), long: strings.HasSuffix(params, "I"), results: 1})
	}
	w.first = len(w.image.imports) + 3 + len(s.Callbacks)
	w.cursor, w.digits = w.cell(), w.word("0123456789abcdef")
}

func (w *scriptWriter) callbacks(all []ScriptCallback, abi string) ([]function, error) {
	var out []function
	for _, c := range all {
		kind, found := callbackType(c.Name, abi)
		if !found {
			return nil, fmt.Errorf("no callback is called %s", c.Name)
		}
		f := function{name: "proxy_" + c.Name, params: kind.params, locals: 1}
		if kind.result {
			f.results = 1
		}
		f.body = w.say(">" + c.Name)
		for i := 1; i < kind.params; i++ {
			f.body = ops(f.body, get(i), w.call(lineNumber))
		}
		count := w.cell()
		f.body = ops(f.body, w.call(lineEnd), push(count), push(count), load(0), push(1), op(opAdd), store(0))
		for i, run := range c.Runs {
			steps, err := w.steps(run, kind)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", c.Name, err)
			}
			if i < len(c.Runs)-1 {
				steps = ops(push(count), load(0), push(i+1), op(opEq, opIf, noResult), steps, w.leave(kind, kind.without), op(opEnd))
			}
			f.body = append(f.body, steps...)
		}
		f.body = append(f.body, w.leave(kind, kind.without)...)
		out = append(out, f)
	}
	return out, nil
}

func (w *scriptWriter) leave(kind scriptCallback, value int) []byte {
	if !kind.result {
		return op(opReturn)
	}
	return ops(push(value), op(opReturn))
}

func (w *scriptWriter) steps(run []Step, kind scriptCallback) ([]byte, error) {
	var b []byte
	for _, s := range run {
		switch {
		case s.Trap:
			return append(b, opUnreachable), nil
		case s.Return:
			return append(b, w.leave(kind, s.Value)...), nil
		case s.Keep != "":
			b = ops(b, push(w.variable(s.Keep)), get(s.Param), store(0))
		default:
			code, err := w.hostCall(s, kind.params)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", s.Call, err)
			}
			b = append(b, code...)
		}
	}
	return b, nil
}

// hostCall makes the call and logs its status and what it gave, where it did.
func (w *scriptWriter) hostCall(s Step, status int) ([]byte, error) {
	params, found := hostCalls[s.Call]
	if !found {
		return nil, fmt.Errorf("no such host call")
	}
	var before, args, after []byte
	count := 0
	for _, a := range s.Args {
		count++
		switch a.Kind {
		case Number:
			if count <= len(params) && params[count-1] == 'I' {
				args = append(append(args, opLong), sleb(int(a.Int))...)
			} else {
				args = append(args, push(int(int32(a.Int)))...)
			}
		case Text:
			count++
			args = append(args, ops(push(w.word(a.Text)), push(len(a.Text)))...)
		case Param:
			args = append(args, get(int(a.Int))...)
		case Variable:
			args = ops(args, push(w.variable(a.Text)), load(0))
		case Out32:
			at := w.cell()
			if a.Text != "" {
				at = w.variable(a.Text)
			}
			args = append(args, push(at)...)
			after = ops(after, push(at), load(0), w.call(lineNumber))
		case Out64:
			at := w.cell()
			args = append(args, push(at)...)
			after = ops(after, push(at), load(4), w.call(lineNumber), push(at), load(0), w.call(lineNumber))
		case OutBytes:
			count++
			at, size := w.cell(), w.cell()
			before = ops(before, push(at), push(0), store(0), push(size), push(0), store(0))
			args = append(args, ops(push(at), push(size))...)
			after = ops(after, push(at), load(0), push(size), load(0), w.call(lineBytes))
		}
	}
	if count != len(params) {
		return nil, fmt.Errorf("%d arguments, takes %d", count, len(params))
	}
	return ops(before, args, append([]byte{opCall}, uleb(w.calls[s.Call])...), set(status),
		w.say(fmt.Sprintf("~%d", s.Number)), get(status), w.call(lineNumber),
		get(status), op(opEqz, opIf, noResult), after, op(opEnd), w.call(lineEnd)), nil
}
