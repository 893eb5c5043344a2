// Package har reads HTTP archives (HAR 1.2), in which browsers and proxies
// keep requests with their responses.
//
// Start with [Read]. It also accepts what common tools write in disagreement with the
// specification.
package har

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"

	"golang.org/x/net/http/httpguts"

	"wasmxds/definition"
)

// Limits for an archive.
const (
	MaxSize    = 64 << 20 // bytes
	MaxEntries = 10_000
)

// Exchange is a request and its response.
type Exchange struct {
	Name     string // method and URL, for people
	Request  definition.TestMessage
	Response definition.TestMessage // without headers if there was no response
}

type archive struct {
	Log *struct {
		Entries []entry `json:"entries"`
	} `json:"log"`
}

type entry struct {
	Request  *request  `json:"request"`
	Response *response `json:"response"`
}

type request struct {
	Method   string    `json:"method"`
	URL      string    `json:"url"`
	Headers  []pair    `json:"headers"`
	Cookies  []pair    `json:"cookies"`
	PostData *postData `json:"postData"`
}

type pair struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

type postData struct {
	MimeType string `json:"mimeType"`
	Text     string `json:"text"`
	Encoding string `json:"encoding"` // of HAR 1.3, and Firefox
	Params   []pair `json:"params"`
}

type response struct {
	Status  json.Number `json:"status"`
	Headers []pair      `json:"headers"`
	Content struct {
		Text     string `json:"text"`
		Encoding string `json:"encoding"`
	} `json:"content"`
}

// Read returns the HTTP exchanges of an archive, and how many others the archive contains:
// WebSockets, data: URLs, and internal requests of browsers.
func Read(data []byte) (exchanges []Exchange, others int, err error) {
	if len(data) > MaxSize {
		return nil, 0, fmt.Errorf("read HAR: %d bytes, %d at most", len(data), MaxSize)
	}
	var a archive
	if err := json.Unmarshal(bytes.TrimPrefix(data, []byte("\xef\xbb\xbf")), &a); err != nil {
		if syntax, ok := errors.AsType[*json.SyntaxError](err); ok {
			line := 1 + bytes.Count(data[:min(int(syntax.Offset), len(data))], []byte("\n"))
			return nil, 0, fmt.Errorf("read HAR: line %d: %w", line, err)
		}
		return nil, 0, fmt.Errorf("read HAR: %w", err)
	}
	switch {
	case a.Log == nil:
		return nil, 0, errors.New("read HAR: it has no log, as an HTTP archive has")
	case len(a.Log.Entries) > MaxEntries:
		return nil, 0, fmt.Errorf("read HAR: %d entries, %d at most", len(a.Log.Entries), MaxEntries)
	}
	for i, e := range a.Log.Entries {
		if e.Request == nil {
			return nil, 0, fmt.Errorf("read HAR: log.entries[%d]: it has no request", i)
		}
		u, err := url.Parse(e.Request.URL)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
			others++
			continue
		}
		x := Exchange{Name: fmt.Sprintf("%s %s", e.Request.method(), u.Redacted())}
		if x.Request, err = e.Request.message(u); err != nil {
			return nil, 0, fmt.Errorf("read HAR: log.entries[%d].request: %w", i, err)
		}
		if x.Response, err = e.Response.message(); err != nil {
			return nil, 0, fmt.Errorf("read HAR: log.entries[%d].response: %w", i, err)
		}
		exchanges = append(exchanges, x)
	}
	return exchanges, others, nil
}

func (r *request) method() string {
	if r.Method == "" {
		return "GET"
	}
	return strings.ToUpper(r.Method)
}

func (r *request) message(u *url.URL) (m definition.TestMessage, err error) {
	if !httpguts.ValidHeaderFieldName(r.method()) {
		return m, fmt.Errorf("%.60q is not a method", r.Method)
	}
	path := u.RequestURI()
	if strings.ContainsAny(path, " \x00\r\n") || !httpguts.ValidHostHeader(u.Host) || !strings.HasPrefix(path, "/") {
		return m, fmt.Errorf("%.100q is not a URL", r.URL)
	}
	body, err := r.PostData.body()
	if err != nil {
		return m, fmt.Errorf("postData: %w", err)
	}
	m.Headers = [][2]string{{":method", r.method()}, {":path", path}, {":scheme", u.Scheme}, {":authority", u.Host}}
	headers, has := fields(r.Headers, len(body))
	m.Headers = append(m.Headers, headers...)
	if !has["cookie"] && len(r.Cookies) > 0 {
		var cookies []string
		for _, c := range r.Cookies {
			cookies = append(cookies, c.Name+"="+c.Value)
		}
		if value := strings.Join(cookies, "; "); httpguts.ValidHeaderFieldValue(value) {
			m.Headers = append(m.Headers, [2]string{"cookie", value})
		}
	}
	if r.PostData != nil && !has["content-type"] && r.PostData.MimeType != "" && httpguts.ValidHeaderFieldValue(r.PostData.MimeType) {
		m.Headers = append(m.Headers, [2]string{"content-type", r.PostData.MimeType})
	}
	if len(body) > 0 {
		m.Body = [][]byte{body}
	}
	return m, nil
}

func (p *postData) body() ([]byte, error) {
	switch {
	case p == nil:
		return nil, nil
	case p.Text == "" && len(p.Params) > 0:
		var params []string
		for _, param := range p.Params {
			params = append(params, url.QueryEscape(param.Name)+"="+url.QueryEscape(param.Value))
		}
		return []byte(strings.Join(params, "&")), nil
	}
	return decoded(p.Text, p.Encoding)
}

func decoded(text, encoding string) ([]byte, error) {
	if encoding != "base64" {
		return []byte(text), nil
	}
	raw, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return nil, fmt.Errorf("its base64: %w", err)
	}
	return raw, nil
}

// message returns a response. One that was blocked or aborted has no status, and one with
// an informational status never became final.
func (r *response) message() (m definition.TestMessage, err error) {
	if r == nil {
		return m, nil
	}
	status, err := strconv.Atoi(r.Status.String())
	if err != nil || status < 200 || status > 599 {
		return m, nil
	}
	body, err := decoded(r.Content.Text, r.Content.Encoding)
	if err != nil {
		return m, fmt.Errorf("content: %w", err)
	}
	m.Headers = [][2]string{{":status", strconv.Itoa(status)}}
	// An archive has the body without compression.
	headers, _ := fields(r.Headers, len(body), "content-encoding")
	m.Headers = append(m.Headers, headers...)
	if len(body) > 0 {
		m.Body = [][]byte{body}
	}
	return m, nil
}

// hopByHop are headers that Envoy removes, or that concern only its connection.
var hopByHop = map[string]bool{"connection": true, "keep-alive": true, "proxy-connection": true, "transfer-encoding": true, "host": true}

// fields returns headers as filters get them. Archives of HTTP/2 also contain pseudo headers.
func fields(written []pair, size int, but ...string) (headers [][2]string, has map[string]bool) {
	has = map[string]bool{}
	for _, h := range written {
		name, value := strings.ToLower(h.Name), strings.TrimSpace(h.Value)
		if hopByHop[name] || len(but) > 0 && name == but[0] || !httpguts.ValidHeaderFieldName(name) {
			continue
		}
		if name == "content-length" {
			if size == 0 || has[name] {
				continue
			}
			value = strconv.Itoa(size)
		}
		// Chrome joins the values of one name with line breaks.
		for line := range strings.SplitSeq(value, "\n") {
			if httpguts.ValidHeaderFieldValue(line) {
				headers = append(headers, [2]string{name, line})
				has[name] = true
			}
		}
	}
	return headers, has
}
