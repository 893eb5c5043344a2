package dryrun

import (
	"maps"
	"slices"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
)

// callback is the type of a function that Envoy calls: how many i32 parameters it has, and
// whether it returns one.
type callback struct {
	params int
	result bool
}

// callbacks are the functions that Envoy looks up when it loads a module, by name and ABI
// version. An exported function of such a name must have this type, even if it is never
// called.
func callbacks(abi string) map[string]callback {
	all := map[string]callback{
		"proxy_validate_configuration":            {2, true},
		"proxy_on_vm_start":                       {2, true},
		"proxy_on_configure":                      {2, true},
		"proxy_on_tick":                           {1, false},
		"proxy_on_context_create":                 {2, false},
		"proxy_on_new_connection":                 {1, true},
		"proxy_on_downstream_data":                {3, true},
		"proxy_on_upstream_data":                  {3, true},
		"proxy_on_downstream_connection_close":    {2, false},
		"proxy_on_upstream_connection_close":      {2, false},
		"proxy_on_request_headers":                {3, true},
		"proxy_on_request_body":                   {3, true},
		"proxy_on_request_trailers":               {2, true},
		"proxy_on_request_metadata":               {2, true},
		"proxy_on_response_headers":               {3, true},
		"proxy_on_response_body":                  {3, true},
		"proxy_on_response_trailers":              {2, true},
		"proxy_on_response_metadata":              {2, true},
		"proxy_on_http_call_response":             {5, false},
		"proxy_on_grpc_receive":                   {3, false},
		"proxy_on_grpc_close":                     {3, false},
		"proxy_on_grpc_receive_initial_metadata":  {3, false},
		"proxy_on_grpc_receive_trailing_metadata": {3, false},
		"proxy_on_queue_ready":                    {2, false},
		"proxy_on_foreign_function":               {3, false},
		"proxy_on_done":                           {1, true},
		"proxy_on_log":                            {1, false},
		"proxy_on_delete":                         {1, false},
	}
	if abi == "0.1.0" {
		all["proxy_on_request_headers"] = callback{2, true}
		all["proxy_on_response_headers"] = callback{2, true}
		delete(all, "proxy_on_foreign_function")
	}
	return all
}

// checkExports checks the types of the functions that Envoy looks up. It does not look up
// callbacks that the filter's capabilities leave out.
func checkExports(code wazero.CompiledModule, t *trial) error {
	exported := code.ExportedFunctions()
	wanted := callbacks(t.abi)
	maps.DeleteFunc(wanted, func(name string, _ callback) bool { return !t.calls(name) })
	// A reactor has _initialize and may have main, a command has _start.
	if exported["_initialize"] != nil {
		wanted["_initialize"] = callback{0, false}
		wanted["main"] = callback{2, true}
		wanted["__main_void"] = callback{0, true}
	} else {
		wanted["_start"] = callback{0, false}
	}
	if exported["malloc"] != nil {
		wanted["malloc"] = callback{1, true}
	} else {
		wanted["proxy_on_memory_allocate"] = callback{1, true}
	}
	for _, name := range slices.Sorted(maps.Keys(wanted)) {
		f := exported[name]
		if f == nil {
			continue
		}
		params, results := wanted[name].types()
		if !slices.Equal(f.ParamTypes(), params) || !slices.Equal(f.ResultTypes(), results) {
			return refused("the SDK may be for another ABI version than the one that the module exports",
				"%s has the type %s, Envoy wants %s (ABI %s)", name,
				signature(f.ParamTypes(), f.ResultTypes()), signature(params, results), t.abi)
		}
	}
	return nil
}

// calls reports whether Envoy looks up a callback. It looks up all of them, unless the
// filter's Envoy message restricts it to some. The allow lists of other filters apply only
// to host calls.
func (t *trial) calls(name string) bool {
	return !t.Restricted || !t.AsWritten || slices.Contains(t.Allow, name)
}

func (c callback) types() (params, results []api.ValueType) {
	params = slices.Repeat([]api.ValueType{api.ValueTypeI32}, c.params)
	if c.result {
		results = []api.ValueType{api.ValueTypeI32}
	}
	return params, results
}
