package stream

import (
	"cmp"
	"strconv"
	"strings"
)

// source is the part of a message that has not arrived yet.
type source struct {
	d       *direction
	headers *Headers // nil: they have arrived
	body    []piece
	given   Message
	added   *Headers // trailers; nil: there are none, or they have arrived
}

type piece struct {
	data []byte
	end  bool
}

// maxFrame is the maximum size of a piece of a body in HTTP/2.
const maxFrame = 16 << 10

// newSource splits a message as Envoy's codecs do. In HTTP/1.1, the end of a body arrives
// separately, as an empty piece, and trailers do not arrive at all.
func newSource(d *direction, headers *Headers, m Message, protocol string) source {
	s := source{d: d, headers: headers, given: m}
	for _, b := range m.Body {
		for protocol == HTTP2 && len(b) > maxFrame {
			s.body = append(s.body, piece{data: b[:maxFrame:maxFrame]})
			b = b[maxFrame:]
		}
		if protocol == HTTP2 || len(b) > 0 {
			s.body = append(s.body, piece{data: b})
		}
	}
	if protocol == HTTP2 && len(m.Trailers) > 0 {
		k := requestTrailerMap
		if d.what == "response" {
			k = responseTrailerMap
		}
		s.added = newHeaders(k, m.Trailers)
		return s
	}
	switch {
	case len(s.body) == 0:
	case protocol == HTTP2:
		s.body[len(s.body)-1].end = true
	default:
		s.body = append(s.body, piece{end: true})
	}
	return s
}

func (s *source) message() *Message {
	return &Message{s.headers.copy(), s.given.Body, s.given.Trailers}
}

// next delivers the next piece, unless the filter already holds up too much.
func (s *source) next() bool {
	switch {
	case s.headers != nil:
		headers := s.headers
		s.headers = nil
		s.d.arrive(headers, len(s.body) == 0 && s.added == nil)
	case s.d.full() && s.d.streaming:
		return false
	case len(s.body) > 0:
		p := s.body[0]
		s.body = s.body[1:]
		s.d.arriveData(&Buffer{p.data}, p.end)
	case s.added != nil:
		trailers := s.added
		s.added = nil
		s.d.arriveTrailers(trailers)
	default:
		return false
	}
	return true
}

// Speaks returns the protocol of a stream.
func (s Stream) Speaks() string {
	if s.Protocol == "" && (len(s.Request.Trailers) > 0 || len(s.Response.Trailers) > 0) {
		return HTTP2
	}
	return cmp.Or(s.Protocol, HTTP1)
}

// Client is the address of the client, unless the stream sets another.
const Client = "192.0.2.1"

// Messages returns the request and the response as the filter gets them. They have the
// headers that every message needs, and those that the connection manager of a listener
// that faces clients adds before its filters, unless they are given. They lack the headers
// that concern a connection, which it removes.
func (s Stream) Messages() (request, response Message) {
	request, response = s.Request, s.Response
	h := newHeaders(requestMap, nil)
	given := newHeaders(requestMap, request.Headers)
	for _, name := range []string{"connection", "keep-alive", "proxy-connection", "transfer-encoding"} {
		given.Remove(name)
	}
	if expect, _ := given.Get("expect"); strings.EqualFold(expect, "100-continue") {
		given.Remove("expect") // Envoy answers 100 by itself
	}
	method := "GET"
	if len(request.Body) > 0 {
		method = "POST"
	}
	for _, f := range [][2]string{{":authority", "localhost"}, {":path", "/"}, {":method", method}, {":scheme", "http"}} {
		if value, found := given.Get(f[0]); found {
			f[1] = value
			given.Remove(f[0])
		}
		h.Add(f[0], f[1])
	}
	var cookies []string
	for _, f := range given.Fields() {
		if f[0] == "cookie" && s.Speaks() == HTTP2 {
			cookies = append(cookies, f[1]) // they may arrive separately
			continue
		}
		h.Add(f[0], f[1])
	}
	if len(cookies) > 0 {
		h.Add("cookie", strings.Join(cookies, "; ")) // Envoy joins them at the end
	}
	s.frame(h, request)
	for _, f := range [][2]string{
		{"x-forwarded-for", Client}, {"x-forwarded-proto", "http"}, {"x-envoy-external-address", Client},
		{"x-request-id", "00000000-0000-4000-8000-000000000000"},
	} {
		if _, found := h.Get(f[0]); !found {
			h.Add(f[0], f[1])
		}
	}
	request.Headers = h.copy()

	h = newHeaders(responseMap, nil)
	given = newHeaders(responseMap, response.Headers)
	if _, found := given.Get(":status"); !found {
		h.Add(":status", "200")
	}
	for _, f := range given.Fields() {
		h.Add(f[0], f[1])
	}
	switch status, _ := h.Get(":status"); {
	case !Bodiless(status):
		s.frame(h, response)
	case status == "204":
		h.Remove("content-length")
		fallthrough
	default:
		response.Body, response.Trailers = nil, nil
	}
	if _, found := h.Get("x-envoy-upstream-service-time"); !found {
		h.Add("x-envoy-upstream-service-time", "0")
	}
	response.Headers = h.copy()
	return request, response
}

// Bodiless reports whether a response of this status has no body, whatever its headers say.
func Bodiless(status string) bool { return status == "204" || status == "304" }

// frame adds the header that tells, in HTTP/1.1, where a body ends.
func (s Stream) frame(h *Headers, m Message) {
	if s.Speaks() != HTTP1 {
		return
	}
	_, sized := h.Get("content-length")
	_, chunked := h.Get("transfer-encoding")
	switch {
	case sized || chunked:
	case len(m.Body) == 1:
		h.Add("content-length", strconv.Itoa(len(m.Body[0])))
	case h.kind == requestMap: // it is removed
	case len(m.Body) > 1:
		h.Add("transfer-encoding", "chunked")
	default:
		h.Add("content-length", "0")
	}
}

func isGRPC(contentType string) bool {
	rest, found := strings.CutPrefix(contentType, "application/grpc")
	return found && (rest == "" || rest[0] == '+' || rest[0] == ';')
}
