package main

import (
	"fmt"

	"github.com/tetratelabs/proxy-wasm-go-sdk/proxywasm"
	"github.com/tetratelabs/proxy-wasm-go-sdk/proxywasm/types"
)

// stream is one HTTP request with its response. Its path says what is tried:
// /headers, /body (the request has the body "hello world"), /trailers (x-one
// both ways), /wait (for a tick), /respond (locally), /call (to the cluster
// upstream).
type stream struct {
	types.DefaultHttpContext
	plugin *plugin
	id     uint32
	path   string
}

func (s *stream) OnHttpRequestHeaders(count int, _ bool) types.Action {
	var err error
	s.path, err = proxywasm.GetHttpRequestHeader(":path")
	expect("proxy_get_header_map_value", err == nil, err)
	switch s.path {
	case "/headers":
		s.headers(count)
	case "/body": // it gets longer
		err := proxywasm.RemoveHttpRequestHeader("content-length")
		expect("proxy_remove_header_map_value", err == nil, err)
	case "/wait":
		s.plugin.waiting = s.id
		return types.ActionPause
	case "/respond":
		err := proxywasm.SendHttpResponse(418, [][2]string{{"x-answer", "local"}}, []byte("teapot"), -1)
		expect("proxy_send_local_response", err == nil, err)
		return types.ActionPause
	case "/call":
		call := [][2]string{{":method", "GET"}, {":path", "/answer"}, {":authority", "test"}}
		_, err := proxywasm.DispatchHttpCall("upstream", call, []byte("question"), nil, 5000, s.onAnswer)
		expect("proxy_http_call", err == nil, err)
		return types.ActionPause
	}
	return types.ActionContinue
}

func (s *stream) headers(count int) {
	pairs, err := proxywasm.GetHttpRequestHeaders()
	expect("proxy_on_request_headers", err == nil && len(pairs) == count, len(pairs), count)
	expect("proxy_get_header_map_pairs", err == nil && len(pairs) > 3, pairs, err)
	_, err = proxywasm.GetHttpRequestHeader("x-missing")
	expect("proxy_get_header_map_value", err == types.ErrorStatusNotFound, err)

	has := func(name, want string) bool {
		got, err := proxywasm.GetHttpRequestHeader(name)
		if want == "" {
			return err == types.ErrorStatusNotFound
		}
		return err == nil && got == want
	}
	err = proxywasm.ReplaceHttpRequestHeaders(append(pairs, [2]string{"x-pair", "1"}))
	expect("proxy_set_header_map_pairs", err == nil && has("x-pair", "1"), err)
	err = proxywasm.AddHttpRequestHeader("x-added", "1")
	expect("proxy_add_header_map_value", err == nil && has("x-added", "1"), err)
	err = proxywasm.ReplaceHttpRequestHeader("x-added", "2")
	expect("proxy_replace_header_map_value", err == nil && has("x-added", "2"), err)
	err = proxywasm.RemoveHttpRequestHeader("x-added")
	expect("proxy_remove_header_map_value", err == nil && has("x-added", ""), err)

	source, err := proxywasm.GetProperty([]string{"source", "address"})
	expect("proxy_get_property", err == nil && len(source) > 0, source, err)
	_, err = proxywasm.GetProperty([]string{"missing"})
	expect("proxy_get_property", err == types.ErrorStatusNotFound, err)
	err = proxywasm.SetProperty([]string{"mine"}, []byte("kept"))
	kept, err2 := proxywasm.GetProperty([]string{"mine"})
	expect("proxy_set_property", err == nil && err2 == nil && string(kept) == "kept", kept, err, err2)

	err = proxywasm.EnqueueSharedQueue(s.plugin.queue, []byte("item"))
	expect("proxy_enqueue_shared_queue", err == nil, err)
}

func (s *stream) onAnswer(headers, size, _ int) {
	pairs, err := proxywasm.GetHttpCallResponseHeaders()
	body, err2 := proxywasm.GetHttpCallResponseBody(0, size)
	expect("proxy_on_http_call_response", err == nil && len(pairs) == headers && err2 == nil && len(body) == size && size > 0, pairs, body, err, err2)
	err = proxywasm.ResumeHttpRequest()
	expect("proxy_continue_stream", err == nil, err)
}

func (s *stream) OnHttpRequestBody(size int, end bool) types.Action {
	if s.path != "/body" {
		return types.ActionContinue
	}
	if !end {
		return types.ActionPause // until all of it is there
	}
	body, err := proxywasm.GetHttpRequestBody(0, size)
	expect("proxy_on_request_body", err == nil && string(body) == "hello world", body, err)
	part, err := proxywasm.GetHttpRequestBody(6, 3)
	expect("proxy_get_buffer_bytes", err == nil && string(part) == "wor", part, err)
	err = proxywasm.AppendHttpRequestBody([]byte("]"))
	err2 := proxywasm.PrependHttpRequestBody([]byte("["))
	expect("proxy_set_buffer_bytes", err == nil && err2 == nil, err, err2)
	return types.ActionContinue
}

func (s *stream) OnHttpRequestTrailers(count int) types.Action {
	one, err := proxywasm.GetHttpRequestTrailer("x-one")
	err2 := proxywasm.AddHttpRequestTrailer("x-two", "2")
	expect("proxy_on_request_trailers", err == nil && err2 == nil && count == 1 && one == "1", count, one, err, err2)
	return types.ActionContinue
}

func (s *stream) OnHttpResponseHeaders(count int, _ bool) types.Action {
	pairs, err := proxywasm.GetHttpResponseHeaders()
	expect("proxy_on_response_headers", err == nil && len(pairs) == count, len(pairs), count, err)
	if err := proxywasm.RemoveHttpResponseHeader("content-length"); err != nil {
		expect("proxy_remove_header_map_value", false, err)
	}
	return types.ActionContinue
}

func (s *stream) OnHttpResponseBody(size int, end bool) types.Action {
	if s.path != "/body" {
		return types.ActionContinue
	}
	if !end {
		return types.ActionPause
	}
	body, err := proxywasm.GetHttpResponseBody(0, size)
	expect("proxy_on_response_body", err == nil && len(body) == size, len(body), size, err)
	err = proxywasm.ReplaceHttpResponseBody(fmt.Appendf(nil, "replaced: %s", body))
	expect("proxy_set_buffer_bytes", err == nil, err)
	return types.ActionContinue
}

func (s *stream) OnHttpResponseTrailers(count int) types.Action {
	err := proxywasm.ReplaceHttpResponseTrailer("x-one", "replaced")
	expect("proxy_on_response_trailers", err == nil && count == 1, count, err)
	return types.ActionContinue
}

func (s *stream) OnHttpStreamDone() {
	path, err := proxywasm.GetHttpRequestHeader(":path")
	expect("proxy_on_log", err == nil && path == s.path, path, err)
}
