package stream

import (
	"strconv"
	"strings"
	"time"

	"wasmxds/module/dryrun/abi"
)

// Property returns a property of the stream, as Envoy has it.
func (h *HTTP) Property(name string) (v Value, found bool) {
	switch name {
	case "request":
		return Lookup(h.ofRequest), true
	case "response":
		return Lookup(h.ofResponse), true
	case "upstream":
		return Lookup(h.ofUpstream), true
	case "metadata":
		return noMetadata, true
	}
	return nil, false
}

// Property returns a property of the connection, as Envoy has it: it has a request and a
// response without headers.
func (t *TCP) Property(name string) (v Value, found bool) {
	switch name {
	case "request":
		return Lookup(func(name string) (Value, bool) {
			if name == "time" {
				return t.options.Began, true
			}
			return ofBytes(name, t.received)
		}), true
	case "response":
		return Lookup(func(name string) (Value, bool) {
			switch name {
			case "flags":
				return int64(0), true
			case "trailers":
				return Map(nil), true
			}
			return ofBytes(name, t.sent)
		}), true
	case "metadata":
		return noMetadata, true
	}
	return nil, false
}

func ofBytes(name string, n int64) (Value, bool) {
	switch name {
	case "size", "total_size":
		return n, true
	case "headers":
		return Map(nil), true
	case "headers_bytes":
		return int64(0), true
	}
	return nil, false
}

// noMetadata is the metadata of a stream, which is empty.
var noMetadata = Proto{Fields: func(name string) (Value, bool) {
	return Map(nil), name == "filter_metadata" || name == "typed_filter_metadata"
}}

func (h *HTTP) ofRequest(name string) (Value, bool) {
	headers := h.ReadMap(abi.RequestHeaders)
	switch name {
	case "headers":
		return headersValue(headers), true
	case "protocol":
		return h.protocol, true
	case "time":
		return h.options.Began, true
	case "size":
		return sizeOf(headers, h.request.came)
	case "total_size":
		return h.request.came + headers.bytes(), true
	case "headers_bytes":
		return headers.bytes(), true
	case "duration":
		return h.options.Now().Sub(h.options.Began), h.logging
	}
	path, found := headers.find(":path")
	before, query, _ := strings.Cut(path, "?")
	switch name {
	case "path":
		return path, found
	case "url_path":
		return before, headers != nil
	case "query":
		query, _, _ = strings.Cut(query, "#")
		return query, headers != nil
	}
	header := map[string]string{
		"host": ":authority", "scheme": ":scheme", "method": ":method", "referer": "referer", "id": "x-request-id", "useragent": "user-agent",
	}[name]
	if header == "" {
		return nil, false
	}
	return headers.find(header)
}

func (h *HTTP) ofResponse(name string) (Value, bool) {
	headers, trailers := h.ReadMap(abi.ResponseHeaders), h.ReadMap(abi.ResponseTrailers)
	switch name {
	case "headers":
		return headersValue(headers), true
	case "trailers":
		return headersValue(trailers), true
	case "size":
		return h.response.went(), true
	case "total_size":
		return h.response.went() + headers.bytes() + trailers.bytes(), true
	case "headers_bytes":
		return headers.bytes(), true
	case "backend_latency":
		return time.Duration(0), h.logging && h.answered != nil
	case "flags":
		return h.flags, true
	case "code":
		return h.code()
	case "code_details":
		return h.details, h.detailed
	case "grpc_status":
		for _, m := range []*Headers{trailers, headers} {
			if status, found := m.find("grpc-status"); found {
				code, err := strconv.ParseInt(status, 10, 64)
				return code, err == nil
			}
		}
		code, found := h.code()
		if !found {
			return nil, false
		}
		return int64(GRPCStatus(int(code.(int64)))), true
	}
	return nil, false
}

// code is the status of the response, once there is one.
func (h *HTTP) code() (Value, bool) {
	status, found := h.response.headers.find(":status")
	code, err := strconv.ParseInt(status, 10, 64)
	return code, found && err == nil
}

func (h *HTTP) ofUpstream(name string) (Value, bool) {
	asked := h.answered != nil
	switch name {
	case "request_attempt_count":
		return uint64(bit(asked)), true
	case "num_endpoints":
		return uint64(1), true
	case "transport_failure_reason":
		return "", asked
	case "address":
		return "192.0.2.20:8080", asked
	case "port":
		return int64(8080), asked
	case "locality":
		return "", asked
	case "local_address":
		return "192.0.2.10:40000", asked
	case "cx_pool_ready_duration":
		return time.Duration(0), asked // waiting takes no time here
	}
	return nil, false
}

// sizeOf is the content length, or the size of what has arrived.
func sizeOf(headers *Headers, came int64) (Value, bool) {
	if length, found := headers.find("content-length"); found {
		n, err := strconv.ParseInt(length, 10, 64)
		return n, err == nil
	}
	return came, true
}

// went is how many bytes of the body have left the filter.
func (d *direction) went() (n int64) {
	for _, b := range d.out.body {
		n += int64(len(b))
	}
	return n
}

func (h *Headers) find(name string) (string, bool) {
	if h == nil {
		return "", false
	}
	return h.Get(name)
}

func (h *Headers) bytes() int64 {
	if h == nil {
		return 0
	}
	return int64(h.size)
}

// headersValue are headers as properties: several with the same name are one.
func headersValue(h *Headers) Value {
	if h == nil {
		return Map(nil)
	}
	return h
}

// Joined contains each name once.
func (h *Headers) Joined() Map {
	m := Map{}
	for i, f := range h.fields {
		if h.index(f[0]) == i {
			value, _ := h.All(f[0])
			m = append(m, Field{f[0], value})
		}
	}
	return m
}
