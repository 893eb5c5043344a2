package signal

import (
	"cmp"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"google.golang.org/protobuf/proto"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	logv3 "github.com/envoyproxy/go-control-plane/envoy/data/accesslog/v3"
)

// requestOracle reads the same request by protobuf. compares is false where header names
// differ only in case, or there are more than are kept: which of them stays is not defined.
func requestOracle(m *logv3.HTTPRequestProperties) (r Request, ok, compares bool) {
	ok = true
	text := func(s string) string {
		ok = ok && len(s) <= maxRequestText
		return s
	}
	r.Own = true // the entry has no details
	if n := m.GetRequestMethod(); n > 0 && int(n) < len(corev3.RequestMethod_name) {
		r.Method = n.String()
	}
	r.Authority = text(m.GetAuthority())
	r.Path = cmp.Or(text(m.GetOriginalPath()), text(m.GetPath()))
	text(m.GetPath())
	headers, compares := map[string]string{}, true
	add := func(name, value string) {
		if text(name) == "" || text(value) == "" {
			return
		}
		if _, twice := headers[strings.ToLower(name)]; twice {
			compares = false
		}
		headers[strings.ToLower(name)] = value
	}
	add("user-agent", m.GetUserAgent())
	add("referer", m.GetReferer())
	for name, value := range m.GetRequestHeaders() {
		text(value)
		add(name, value)
	}
	for _, name := range slices.Sorted(maps.Keys(headers)) {
		r.Headers = append(r.Headers, [2]string{name, headers[name]})
	}
	ok = ok && r.Method != "" && strings.HasPrefix(r.Path, "/") && r.Authority != ""
	return r, ok, compares && len(r.Headers) <= maxHeaders
}

// FuzzRequest checks what is read of any bytes, and compares it with what protobuf reads.
func FuzzRequest(f *testing.F) {
	whole := &logv3.HTTPRequestProperties{
		RequestMethod: corev3.RequestMethod_POST, Authority: "example.com", Path: "/b", OriginalPath: "/a", UserAgent: "curl", Referer: "https://example.com/",
		RequestHeaders: map[string]string{"X-Tenant": "1", "accept": "*/*", "empty": ""},
	}
	f.Add(encode(f, whole))
	f.Add(slicesJoin(encode(f, whole), encode(f, &logv3.HTTPRequestProperties{Path: "//", RequestHeaders: map[string]string{"referer": "é"}})))
	f.Add(encode(f, &logv3.HTTPRequestProperties{RequestMethod: 99, Authority: strings.Repeat("a", maxRequestText+1), Path: "*"}))
	f.Add([]byte{0x6a, 0x02, 0x0a, 0xff, 0x22, 0x01, 0xff})
	f.Fuzz(func(t *testing.T, b []byte) {
		r, ok := (&entry{asked: b}).request()
		checkRequest(t, r, ok)
		m := &logv3.HTTPRequestProperties{}
		if proto.Unmarshal(b, m) != nil {
			return
		}
		got, ok := (&entry{asked: encode(t, m)}).request() // each field and each header is there once
		want, wantOK, compares := requestOracle(m)
		if ok != wantOK {
			t.Fatalf("read %v; protobuf reads %v: %+v", ok, wantOK, want)
		}
		if ok && compares && !reflect.DeepEqual(got, want) {
			t.Errorf("read\n%+v; protobuf reads\n%+v", got, want)
		}
	})
}

// checkRequest checks what must hold for every request that is passed on.
func checkRequest(t *testing.T, r Request, ok bool) {
	t.Helper()
	if ok && (r.Method == "" || r.Authority == "" || !strings.HasPrefix(r.Path, "/")) {
		t.Errorf("too little to send it again: %+v", r)
	}
	if len(r.Headers) > maxHeaders {
		t.Errorf("%d headers", len(r.Headers))
	}
	texts := []string{r.Method, r.Authority, r.Path}
	for i, h := range r.Headers {
		texts = append(texts, h[0], h[1])
		if h[0] == "" || h[1] == "" || i > 0 && r.Headers[i-1][0] >= h[0] {
			t.Errorf("header %d of %q", i, r.Headers)
		}
	}
	for _, s := range texts {
		if ok && (len(s) > maxRequestText || !utf8.ValidString(s)) {
			t.Errorf("%d bytes %.40q", len(s), s)
		}
	}
}
