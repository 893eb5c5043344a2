package stream

import (
	"slices"
	"strings"
)

// kind is whose headers a map contains. Envoy treats some names differently in each kind.
type kind int

const (
	requestMap kind = iota
	responseMap
	requestTrailerMap
	responseTrailerMap
)

// Headers is a map of headers as Envoy keeps it: names in lower case, in the order of
// arrival, pseudo headers first. A header for which Envoy has a dedicated entry exists only
// once: values that are added to it are appended after a comma.
type Headers struct {
	kind   kind
	fields [][2]string
	pseudo int // number of pseudo headers, which come first
	size   int // size of names and values, in bytes
}

func newHeaders(k kind, fields [][2]string) *Headers {
	h := &Headers{kind: k}
	for _, f := range fields {
		h.Add(f[0], f[1])
	}
	return h
}

// NewRequest, NewResponse and NewTrailers return maps for calls of a module.
func NewRequest(fields [][2]string) *Headers  { return newHeaders(requestMap, fields) }
func NewResponse(fields [][2]string) *Headers { return newHeaders(responseMap, fields) }
func NewTrailers(fields [][2]string) *Headers { return newHeaders(responseTrailerMap, fields) }

// name returns the name under which Envoy looks up a header.
func (h *Headers) name(name string) string {
	name = lower(name)
	if name == "host" && h.kind == requestMap {
		return ":authority"
	}
	return name
}

// lower converts ASCII letters to lower case, and nothing else.
func lower(s string) string {
	return strings.Map(func(r rune) rune {
		if 'A' <= r && r <= 'Z' {
			return r + 'a' - 'A'
		}
		return r
	}, s)
}

// Add adds a header after the existing ones.
func (h *Headers) Add(name, value string) {
	name = h.name(name)
	if h.single(name) {
		if i := h.index(name); i >= 0 {
			if h.fields[i][1] != "" && value != "" {
				value = "," + value
			}
			h.fields[i][1] += value
			h.size += len(value)
			return
		}
	}
	h.size += len(name) + len(value)
	if strings.HasPrefix(name, ":") {
		h.fields = slices.Insert(h.fields, h.pseudo, [2]string{name, value})
		h.pseudo++
		return
	}
	h.fields = append(h.fields, [2]string{name, value})
}

// Set replaces all headers of a name by one, which comes last.
func (h *Headers) Set(name, value string) {
	h.Remove(name)
	h.Add(name, value)
}

// put replaces a header where it is, or adds it at the end.
func (h *Headers) put(name, value string) {
	if i := h.index(name); i >= 0 {
		h.size += len(value) - len(h.fields[i][1])
		h.fields[i][1] = value
		return
	}
	h.Add(name, value)
}

// Remove removes all headers with a name.
func (h *Headers) Remove(name string) {
	name = h.name(name)
	h.fields = slices.DeleteFunc(h.fields, func(f [2]string) bool {
		if f[0] != name {
			return false
		}
		h.size -= len(f[0]) + len(f[1])
		if strings.HasPrefix(name, ":") {
			h.pseudo--
		}
		return true
	})
}

// Get returns the first value of a header.
func (h *Headers) Get(name string) (value string, found bool) {
	if i := h.index(h.name(name)); i >= 0 {
		return h.fields[i][1], true
	}
	return "", false
}

// All returns all values of a header, separated by commas, as in Envoy's properties.
func (h *Headers) All(name string) (value string, found bool) {
	name = h.name(name)
	var values []string
	for _, f := range h.fields {
		if f[0] == name {
			values = append(values, f[1])
		}
	}
	return strings.Join(values, ","), len(values) > 0
}

// Replace replaces all headers.
func (h *Headers) Replace(fields [][2]string) {
	*h = Headers{kind: h.kind}
	for _, f := range fields {
		h.Add(f[0], f[1])
	}
}

// Fields returns all headers, which must not be changed.
func (h *Headers) Fields() [][2]string { return h.fields }

// Len is the number of headers, and Size the size of names and values in bytes.
func (h *Headers) Len() int  { return len(h.fields) }
func (h *Headers) Size() int { return h.size }

func (h *Headers) index(name string) int {
	return slices.IndexFunc(h.fields, func(f [2]string) bool { return f[0] == name })
}

func (h *Headers) copy() [][2]string { return slices.Clone(h.fields) }

// single reports whether Envoy keeps only one header of a name in such a map.
func (h *Headers) single(name string) bool {
	names := singles[h.kind]
	_, found := slices.BinarySearch(names, name)
	return found
}

// singles are the names for which Envoy has dedicated entries, by kind of map.
var singles = [...][]string{
	requestMap: sorted(`:authority :method :path :protocol :scheme
		connection content-length content-type expect grpc-timeout keep-alive proxy-connection te transfer-encoding upgrade user-agent via
		x-client-trace-id x-forwarded-client-cert x-forwarded-for x-forwarded-host x-forwarded-port x-forwarded-proto x-request-id
		x-envoy-attempt-count x-envoy-decorator-operation x-envoy-downstream-service-cluster x-envoy-downstream-service-node
		x-envoy-expected-rq-timeout-ms x-envoy-external-address x-envoy-force-trace x-envoy-hedge-on-per-try-timeout x-envoy-internal
		x-envoy-ip-tags x-envoy-is-timeout-retry x-envoy-max-retries x-envoy-original-host x-envoy-original-path
		x-envoy-retriable-header-names x-envoy-retriable-status-codes x-envoy-retry-grpc-on x-envoy-retry-on x-envoy-upstream-alt-stat-name
		x-envoy-upstream-rq-per-try-timeout-ms x-envoy-upstream-rq-timeout-alt-response x-envoy-upstream-rq-timeout-ms
		x-envoy-upstream-stream-duration-ms
		accept accept-encoding access-control-request-headers access-control-request-method authorization cache-control content-encoding
		if-match if-modified-since if-none-match if-range if-unmodified-since origin pragma referer`),
	responseMap: sorted(`:status
		connection content-length content-type date grpc-message grpc-status keep-alive location proxy-connection proxy-status server
		transfer-encoding upgrade via x-request-id
		x-envoy-attempt-count x-envoy-decorator-operation x-envoy-degraded x-envoy-immediate-health-check-fail x-envoy-ratelimited
		x-envoy-upstream-canary x-envoy-upstream-healthchecked-cluster x-envoy-upstream-service-time
		access-control-allow-credentials access-control-allow-headers access-control-allow-methods access-control-allow-origin
		access-control-expose-headers access-control-max-age age cache-control content-encoding etag expires last-modified vary`),
	requestTrailerMap:  nil,
	responseTrailerMap: sorted(`grpc-message grpc-status`),
}

func sorted(names string) []string {
	s := strings.Fields(names)
	slices.Sort(s)
	return s
}
