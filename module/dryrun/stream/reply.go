package stream

import (
	"net/http"
	"strconv"
	"strings"
)

// localReply is a response of the filter, or of Envoy on its behalf.
type localReply struct {
	code    int
	body    string
	headers [][2]string
	grpc    *int
	details string
	flags   int64
}

// preparedReply is a reply that is ready to be sent.
type preparedReply struct {
	headers *Headers
	body    string
}

// Reply does what proxy_send_local_response does, when the host call has returned.
func (h *HTTP) Reply(code uint32, body string, headers [][2]string, grpc uint32, details string) {
	const lastGRPCStatus = 16
	r := localReply{code: int(code), body: body, headers: headers, details: unspaced(details)}
	if grpc <= lastGRPCStatus {
		status := int(grpc)
		r.grpc = &status
	}
	h.reply(r)
}

func (h *HTTP) reply(r localReply) {
	if h.finished {
		return
	}
	switch {
	case h.request.calling:
		h.request.aborted = true
	case h.response.calling:
		h.response.aborted = true
	}
	h.details, h.detailed, h.flags = r.details, true, r.flags
	p := h.prepare(r)
	switch {
	case !h.response.started:
		if h.prepared == nil {
			h.prepared = p
			h.local = r.told(p)
		}
		h.local.Details = r.details // the details of the last reply apply
		if !h.request.calling {
			h.executeReply()
		}
	case !h.response.out.started: // bypasses the filter, which has seen another response
		h.local = r.told(p)
		d := &h.response
		d.headers = p.headers
		d.out.started, d.out.headers, d.out.ended, d.complete = true, p.headers.copy(), true, true
		h.leftHeaders(d)
		if p.body != "" {
			d.out.body = [][]byte{[]byte(p.body)}
		}
		h.finish()
	default:
		h.cutOff(r.details)
	}
}

func (r localReply) told(p *preparedReply) *LocalReply {
	return &LocalReply{Status: r.code, Details: r.details, Headers: p.headers.copy(), Body: []byte(p.body), GRPCStatus: r.grpc}
}

// executeReply sends the reply that was prepared while the filter was called. It passes the
// filter, whose callbacks for responses see it.
func (h *HTTP) executeReply() {
	p := h.prepared
	if p == nil || h.finished {
		return
	}
	h.prepared = nil
	h.response.arrive(p.headers, p.body == "")
	if p.body != "" && !h.finished {
		h.response.arriveData(&Buffer{[]byte(p.body)}, true)
	}
}

// prepare creates the message of a reply. For a gRPC client, it has no body, and its
// headers contain the status.
func (h *HTTP) prepare(r localReply) *preparedReply {
	headers := newHeaders(responseMap, [][2]string{{":status", strconv.Itoa(r.code)}})
	for _, f := range r.headers {
		headers.Add(f[0], f[1])
	}
	headers.put(":status", strconv.Itoa(r.code))
	if h.grpc {
		headers.put(":status", "200")
		headers.put("content-type", "application/grpc")
		if status, _ := headers.Get("grpc-status"); status == "" {
			code := GRPCStatus(r.code)
			if r.grpc != nil {
				code = *r.grpc
			}
			headers.Set("grpc-status", strconv.Itoa(code))
		}
		if r.body != "" && !h.head {
			headers.Set("grpc-message", percentEncode(r.body))
		}
		return &preparedReply{headers: headers}
	}
	if r.body == "" {
		headers.Remove("content-length")
		headers.Remove("content-type")
		return &preparedReply{headers: headers}
	}
	headers.put("content-length", strconv.Itoa(len(r.body)))
	if _, found := headers.Get("content-type"); !found {
		headers.Set("content-type", "text/plain")
	}
	if h.head {
		return &preparedReply{headers: headers}
	}
	return &preparedReply{headers, r.body}
}

// GRPCStatus returns the gRPC status for an HTTP status.
func GRPCStatus(code int) int {
	switch code {
	case http.StatusBadRequest:
		return 13
	case http.StatusUnauthorized:
		return 16
	case http.StatusForbidden:
		return 7
	case http.StatusNotFound:
		return 12
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return 14
	}
	return 2
}

// percentEncode encodes a message as gRPC does in headers.
func percentEncode(s string) string {
	var b strings.Builder
	for _, c := range []byte(s) {
		if c < ' ' || c > '~' || c == '%' {
			b.WriteString("%" + strings.ToUpper(strconv.FormatUint(uint64(c)+0x100, 16)[1:]))
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}

func reason(code int) string {
	if code == http.StatusRequestEntityTooLarge {
		return "Payload Too Large"
	}
	return http.StatusText(code)
}

// checkHeaders sends a local reply if the filter has removed a required header or added a
// forbidden one.
func (h *HTTP) checkHeaders(d *direction) bool {
	r := localReply{code: 503, details: "filter_removed_required_request_headers"}
	if d == &h.response {
		r = localReply{code: 502, details: "filter_removed_required_response_headers"}
		if status, _ := d.headers.Get(":status"); !isStatus(status) {
			r.body = "missing required header: :status"
		} else if h.wrongOf(d.headers) != "" && h.protocol == HTTP2 {
			h.cutOff("a header's value can't be sent")
			return false
		}
	} else {
		if h.unroutable() {
			h.reply(localReply{code: 404, details: "route_not_found", flags: noRoute})
			return false
		}
		r.body, r.flags = h.wrongOf(d.headers), upstreamProtocolError
	}
	if r.body == "" {
		return true
	}
	r.details += "{" + unspaced(r.body) + "}"
	h.reply(r)
	return false
}

// Response flags, as in the property.
const (
	noRoute               = 1 << 8
	upstreamProtocolError = 1 << 18
)

// unroutable reports whether the filter has removed a header that routing needs.
func (h *HTTP) unroutable() bool {
	_, path := h.request.headers.Get(":path")
	_, proto := h.request.headers.Get("x-forwarded-proto")
	method, _ := h.request.headers.Get(":method")
	return !proto || !path && method != "CONNECT"
}

// wrongOf returns why a request can't be sent.
func (h *HTTP) wrongOf(headers *Headers) string {
	if _, found := headers.Get(":method"); !found && headers.kind == requestMap {
		return "missing required header: :method"
	}
	for _, f := range headers.fields {
		if strings.ContainsAny(f[1], "\x00\r\n") {
			return "invalid header value for: " + f[0]
		}
	}
	return ""
}

func isStatus(s string) bool {
	_, err := strconv.ParseUint(s, 10, 64)
	return err == nil
}

// unspaced returns text as Envoy writes it in response code details.
func unspaced(s string) string {
	return strings.NewReplacer(" ", "_", "\t", "_", "\n", "_", "\v", "_", "\f", "_", "\r", "_").Replace(s)
}
