package signal

import (
	"cmp"
	"slices"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"
)

// Request is a request as its access log entry has it. Its texts are those of clients.
type Request struct {
	Method, Authority, Path string
	// Headers are those that entries always have, if the request has them, and those that
	// the listener's logger names; the names are in lower case, in their order.
	Headers [][2]string
	Status  int  // that the client got
	Own     bool // the upstream did not give it
}

// LoggedHeaders are headers that every entry has.
var LoggedHeaders = []string{"referer", "user-agent"}

// What is kept of a request.
const (
	maxHeaders     = 64
	maxRequestText = 8 << 10
)

// methods are those of envoy.config.core.v3.RequestMethod.
var methods = []string{"", "GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"}

// request reads what the entry says of its request; ok is false where that is too little,
// or too much, to send it again.
func (e *entry) request() (r Request, ok bool) {
	r.Status, r.Own = int(e.code), string(e.details) != viaUpstream
	ok = true
	text := func(b []byte) string {
		ok = ok && len(b) <= maxRequestText
		return strings.ToValidUTF8(string(b[:min(len(b), maxRequestText)]), "")
	}
	original := ""
	err := each(e.asked, func(f field) error {
		switch {
		case f.is(1, protowire.VarintType):
			if r.Method = ""; f.number < uint64(len(methods)) {
				r.Method = methods[f.number]
			}
		case f.typ != protowire.BytesType:
		case f.num == 3:
			r.Authority = text(f.bytes)
		case f.num == 5:
			r.Path = text(f.bytes)
		case f.num == 6:
			r.add("user-agent", text(f.bytes))
		case f.num == 7:
			r.add("referer", text(f.bytes))
		case f.num == 10:
			original = text(f.bytes)
		case f.num == 13: // an entry of a map
			var name, value string
			err := each(f.bytes, func(f field) error {
				switch {
				case f.is(1, protowire.BytesType):
					name = text(f.bytes)
				case f.is(2, protowire.BytesType):
					value = text(f.bytes)
				}
				return nil
			})
			r.add(strings.ToLower(name), value)
			return err
		}
		return nil
	})
	r.Path = cmp.Or(original, r.Path)
	slices.SortFunc(r.Headers, func(a, b [2]string) int { return strings.Compare(a[0], b[0]) })
	return r, ok && err == nil && r.Method != "" && strings.HasPrefix(r.Path, "/") && r.Authority != ""
}

func (r *Request) add(name, value string) {
	if name == "" || value == "" || len(r.Headers) >= maxHeaders {
		return
	}
	for i := range r.Headers {
		if r.Headers[i][0] == name {
			r.Headers[i][1] = value // the last one counts
			return
		}
	}
	r.Headers = append(r.Headers, [2]string{name, value})
}
