package definition

import (
	"slices"

	"github.com/invopop/jsonschema"

	"wasmxds/definition/internal/document"
)

// allowComputed is the value of allow that stands for what the module itself
// imports.
const allowComputed = "computed"

// HostCalls, WASICalls and Callbacks are the names that Envoy's
// allowed_capabilities accepts: the Proxy-Wasm and WASI functions that Envoy
// provides to modules, and the functions of a module that Envoy calls.
var (
	HostCalls = []string{
		"proxy_log", "proxy_get_log_level", "proxy_get_status", "proxy_set_property", "proxy_get_property",
		"proxy_send_local_response", "proxy_continue_stream", "proxy_close_stream", "proxy_get_configuration",
		"proxy_continue_request", "proxy_continue_response", "proxy_clear_route_cache",
		"proxy_get_shared_data", "proxy_set_shared_data", "proxy_register_shared_queue", "proxy_resolve_shared_queue",
		"proxy_dequeue_shared_queue", "proxy_enqueue_shared_queue",
		"proxy_get_header_map_value", "proxy_add_header_map_value", "proxy_replace_header_map_value",
		"proxy_remove_header_map_value", "proxy_get_header_map_pairs", "proxy_set_header_map_pairs", "proxy_get_header_map_size",
		"proxy_get_buffer_status", "proxy_get_buffer_bytes", "proxy_set_buffer_bytes",
		"proxy_http_call", "proxy_grpc_call", "proxy_grpc_stream", "proxy_grpc_close", "proxy_grpc_cancel", "proxy_grpc_send",
		"proxy_set_tick_period_milliseconds", "proxy_get_current_time_nanoseconds",
		"proxy_define_metric", "proxy_increment_metric", "proxy_record_metric", "proxy_get_metric",
		"proxy_set_effective_context", "proxy_done", "proxy_call_foreign_function",
	}
	WASICalls = []string{
		"fd_write", "fd_read", "fd_seek", "fd_close", "fd_fdstat_get", "fd_fdstat_set_flags", "fd_fdstat_set_rights",
		"environ_get", "environ_sizes_get", "args_get", "args_sizes_get", "clock_time_get", "clock_res_get",
		"fd_advise", "fd_allocate", "fd_datasync", "fd_filestat_set_size", "fd_filestat_set_times", "fd_pread", "fd_pwrite",
		"fd_readdir", "fd_renumber", "fd_sync", "fd_tell", "path_create_directory", "path_filestat_set_times", "path_link",
		"path_readlink", "path_remove_directory", "path_rename", "path_symlink", "path_unlink_file",
		"sock_accept", "sock_recv", "sock_send", "sock_shutdown", "random_get", "sched_yield", "poll_oneoff", "proc_exit",
		"path_open", "fd_prestat_get", "fd_prestat_dir_name", "path_filestat_get", "fd_filestat_get",
	}
	Callbacks = []string{
		"proxy_on_vm_start", "proxy_validate_configuration", "proxy_on_configure", "proxy_on_tick",
		"proxy_on_context_create", "proxy_on_new_connection", "proxy_on_downstream_data",
		"proxy_on_upstream_data", "proxy_on_downstream_connection_close", "proxy_on_upstream_connection_close",
		"proxy_on_request_headers", "proxy_on_request_body", "proxy_on_request_trailers", "proxy_on_request_metadata",
		"proxy_on_response_headers", "proxy_on_response_body", "proxy_on_response_trailers", "proxy_on_response_metadata",
		"proxy_on_grpc_close", "proxy_on_grpc_receive_initial_metadata", "proxy_on_grpc_receive_trailing_metadata",
		"proxy_on_grpc_receive", "proxy_on_http_call_response", "proxy_on_queue_ready", "proxy_on_foreign_function",
		"proxy_on_done", "proxy_on_log", "proxy_on_delete",
	}
)

// capability reports whether Envoy can restrict a function of this name.
func capability(name string) bool {
	return slices.Contains(HostCalls, name) || slices.Contains(WASICalls, name) || slices.Contains(Callbacks, name)
}

// allow reads what a module may use: a list of names, the word computed, or a
// list of computed and names that a newer module may need as well.
func (d *Doc) allow(n *document.Node, fetch Fetch) (names []string, computed bool) {
	const at = "allow"
	var written []string
	switch {
	case n == nil:
		return nil, false
	case n.Kind == document.Text && n.Text == allowComputed:
		return nil, d.computable(fetch)
	case n.Kind == document.Text:
		d.Problem(at, "allow: computed, or a list of host calls: [proxy_log]", "%q is not computed", n.Text)
		return nil, false
	case n.Kind != document.List:
		d.Problem(at, "allow: computed, or a list of host calls: [proxy_log]", "%s, needs computed or a list", n.Kind)
		return nil, false
	case len(n.Items) == 0:
		d.Problem(at, "leave it out to allow all", "is empty, which Envoy takes as all")
		return nil, false
	}
	for i, item := range n.Items {
		if item.Kind != document.Text {
			d.Problem(document.Index(at, i), "", "%s, needs text", item.Kind)
			return nil, false
		}
		written = append(written, item.Text)
	}
	if !slices.Contains(written, allowComputed) {
		return written, false
	}
	for i, name := range written {
		switch {
		case name == allowComputed:
		case !capability(name):
			known := slices.Concat(HostCalls, WASICalls, Callbacks)
			d.Problem(document.Index(at, i), document.Suggest(name, known), "%q is not a capability of Envoy", name)
		default:
			names = append(names, name)
		}
	}
	return names, d.computable(fetch)
}

// computable reports a problem if xds-server does not read the module, and
// returns whether it does.
func (d *Doc) computable(fetch Fetch) bool {
	if fetch == Direct {
		d.Problem("allow", "use fetch: mirror, or list the host calls", "computed is of modules that xds-server reads, not of those that Envoys fetch themselves")
	}
	return fetch != Direct
}

// convertAllow is the inverse of allow.
func convertAllow(f *Filter) *document.Node {
	var names []string
	switch {
	case f.AllowComputed && len(f.Allow) == 0:
		return textNode(allowComputed)
	case f.AllowComputed:
		names = append([]string{allowComputed}, f.Allow...)
	case f.Allow == nil:
		return nil
	default:
		names = f.Allow
	}
	list := &document.Node{Kind: document.List}
	for _, name := range names {
		list.Items = append(list.Items, textNode(name))
	}
	return list
}

// JSONSchemaExtend adds the schema of allow, which is a node.
func (wasmFilter) JSONSchemaExtend(s *jsonschema.Schema) {
	one := uint64(1)
	setSchema(s, "allow", &jsonschema.Schema{OneOf: []*jsonschema.Schema{
		{Type: "string", Enum: []any{allowComputed}, Description: "What the module imports and exports."},
		{Type: "array", Items: &jsonschema.Schema{Type: "string"}, MinItems: &one},
	}})
}
