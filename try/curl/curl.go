// Package curl converts a curl command, as browsers and documentation show it, to the
// request that the command sends. It runs nothing and reads no files.
//
// There is one function, [Parse].
package curl

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"golang.org/x/net/http/httpguts"

	"wasmxds/definition"
)

// MaxSize is the maximum size of a command, in bytes.
const MaxSize = 1 << 20

// Parse parses a command. It fails if the request depends on something else, such as the
// content of a file. It ignores options that do not change the request, such as -s.
func Parse(command string) (definition.TestMessage, error) {
	if len(command) > MaxSize {
		return definition.TestMessage{}, fmt.Errorf("the curl command has %d bytes, %d at most", len(command), MaxSize)
	}
	m, err := parse(command)
	if err != nil {
		return definition.TestMessage{}, fmt.Errorf("read the curl command: %w", err)
	}
	return m, nil
}

func parse(command string) (definition.TestMessage, error) {
	command = strings.TrimSpace(strings.Trim(strings.TrimSpace(command), "`"))
	command = strings.TrimSpace(strings.TrimPrefix(command, "$ "))
	split := words
	if ofWindows.MatchString(command) {
		split = windowsWords
	}
	all, err := split(command)
	if err != nil {
		return definition.TestMessage{}, err
	}
	if len(all) == 0 || !isCurl(all[0]) {
		return definition.TestMessage{}, errors.New("it begins with curl")
	}
	r := &request{}
	if err := r.options(all[1:]); err != nil {
		return definition.TestMessage{}, err
	}
	return r.message()
}

func isCurl(program string) bool {
	program = program[strings.LastIndexAny(program, `/\`)+1:]
	return program == "curl" || program == "curl.exe"
}

// request is the request that the options so far describe.
type request struct {
	method  string
	url     string
	headers [][2]string
	// dropped are headers that curl must not send.
	dropped []string
	data    []string
	hasData bool
	get     bool // data goes into the URL
	head    bool
	json    bool
	cookies []string
	agent   *string
	referer string
	user    string
	gzip    bool
}

func (r *request) options(all []string) error {
	literal := false
	for len(all) > 0 {
		word := all[0]
		all = all[1:]
		var err error
		switch {
		case literal || word == "-" || !strings.HasPrefix(word, "-"):
			err = r.to(word)
		case word == "--":
			literal = true
		case strings.HasPrefix(word, "--"):
			all, err = r.long(word[2:], all)
		default:
			all, err = r.short(word[1:], all)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (r *request) to(address string) error {
	if r.url != "" {
		return fmt.Errorf("it has two URLs, %.100q and %.100q", r.url, address)
	}
	r.url = address
	return nil
}

func (r *request) long(name string, rest []string) ([]string, error) {
	if name == "next" {
		return nil, errors.New("--next: it has several requests; give them one by one")
	}
	if !takesValue(name) {
		return rest, r.set(name, "")
	}
	if len(rest) == 0 {
		return nil, fmt.Errorf("--%s: needs a value", name)
	}
	return rest[1:], r.set(name, rest[0])
}

// short reads options of one letter. The last one may have a value, with or without a space
// before it.
func (r *request) short(letters string, rest []string) ([]string, error) {
	for i, letter := range letters {
		name, ok := long[letter]
		if !ok {
			return nil, fmt.Errorf("-%c is not known", letter)
		}
		if !takesValue(name) {
			if err := r.set(name, ""); err != nil {
				return nil, err
			}
			continue
		}
		if value := letters[i+len(string(letter)):]; value != "" {
			return rest, r.set(name, value)
		}
		return r.long(name, rest)
	}
	return rest, nil
}

// set applies an option, which has its long name.
func (r *request) set(name, value string) error {
	switch name {
	case "request":
		r.method = value
	case "url":
		return r.to(value)
	case "header", "proxy-header":
		if name == "header" {
			return r.header(value)
		}
	case "data", "data-ascii", "data-binary", "data-raw", "data-urlencode", "json":
		return r.body(name, value)
	case "get":
		r.get = true
	case "head":
		r.head = true
	case "cookie":
		if !strings.Contains(value, "=") {
			return fmt.Errorf("--cookie %.100q: is a file, which is not read: write the cookies", value)
		}
		r.cookies = append(r.cookies, value)
	case "user-agent":
		r.agent = &value
	case "referer":
		r.referer = strings.TrimSuffix(value, ";auto")
	case "user":
		r.user = value
	case "oauth2-bearer":
		r.headers = append(r.headers, [2]string{"authorization", "Bearer " + value})
	case "compressed":
		r.gzip = true
	case "range":
		r.headers = append(r.headers, [2]string{"range", "bytes=" + value})
	case "form", "form-string", "upload-file", "config", "variable", "aws-sigv4", "netrc", "digest", "negotiate", "ntlm",
		"request-target", "time-cond", "continue-at":
		return fmt.Errorf("--%s is not read: write the headers and the body that it makes, with -H and --data-binary", name)
	default:
		if !ignored[name] && !ignoredWithValue[name] && !ignored[strings.TrimPrefix(name, "no-")] {
			return fmt.Errorf("--%s is not known", name)
		}
	}
	return nil
}

func (r *request) header(written string) error {
	if strings.HasPrefix(written, "@") {
		return fmt.Errorf("--header %.100q: is a file, which is not read: write the headers", written)
	}
	name, value, ok := strings.Cut(written, ":")
	if !ok {
		name, ok = strings.CutSuffix(strings.TrimSpace(written), ";") // a header without a value
		value = ""
		if !ok {
			return fmt.Errorf("--header %.100q: needs name: value", written)
		}
	} else if strings.TrimSpace(value) == "" {
		r.dropped = append(r.dropped, strings.ToLower(strings.TrimSpace(name)))
		return nil
	}
	r.headers = append(r.headers, [2]string{strings.ToLower(strings.TrimSpace(name)), strings.TrimSpace(value)})
	return nil
}

func (r *request) body(option, value string) error {
	file := strings.HasPrefix(value, "@") && option != "data-raw"
	if option == "data-urlencode" {
		name, text, named := strings.Cut(value, "=")
		file = strings.Contains(name, "@")
		if !named {
			name, text = "", value
		}
		value = url.QueryEscape(text)
		if name != "" {
			value = name + "=" + value
		}
	}
	if file {
		return fmt.Errorf("--%s %.100q: is a file, which is not read: write what it has", option, value)
	}
	r.json = r.json || option == "json"
	r.hasData = true
	r.data = append(r.data, value)
	return nil
}

func (r *request) joined() string {
	if r.json {
		return strings.Join(r.data, "")
	}
	return strings.Join(r.data, "&")
}

// message returns the request as Envoy passes it to filters.
func (r *request) message() (definition.TestMessage, error) {
	u, err := parseURL(r.url)
	if err != nil {
		return definition.TestMessage{}, err
	}
	var m definition.TestMessage
	method := "GET"
	switch {
	case r.head:
		method = "HEAD"
	case r.hasData && r.get:
		u.RawQuery = strings.Join(append(nonEmpty(u.RawQuery), r.joined()), "&")
	case r.hasData:
		method = "POST"
		if body := r.joined(); body != "" {
			m.Body = [][]byte{[]byte(body)}
		}
	}
	if r.method != "" {
		method = r.method
	}
	if !httpguts.ValidHeaderFieldName(method) {
		return m, fmt.Errorf("%.60q is not a method", method)
	}
	host := u.Host
	for _, h := range r.headers {
		if h[0] == "host" && h[1] != "" {
			host = h[1]
		}
	}
	m.Headers = [][2]string{{":method", method}, {":path", u.RequestURI()}, {":scheme", u.Scheme}, {":authority", host}}
	r.usual(len(m.Body) > 0 || r.hasData && !r.get, u)
	for _, h := range r.headers {
		if h[0] == "host" || hopByHop[h[0]] {
			continue
		}
		if h[0] == "content-length" && len(m.Body) > 0 {
			h[1] = fmt.Sprint(len(m.Body[0]))
		}
		if !httpguts.ValidHeaderFieldName(h[0]) || !httpguts.ValidHeaderFieldValue(h[1]) {
			return m, fmt.Errorf("%.60q: %.100q can't be a header", h[0], h[1])
		}
		m.Headers = append(m.Headers, h)
	}
	if strings.ContainsAny(u.RequestURI(), " \x00\r\n") || !httpguts.ValidHostHeader(host) {
		return m, fmt.Errorf("%.100q is not a URL", r.url)
	}
	return m, nil
}

func nonEmpty(s string) []string {
	if s == "" {
		return nil
	}
	return []string{s}
}

// hopByHop are headers that Envoy removes, or that concern only its connection.
var hopByHop = map[string]bool{"connection": true, "keep-alive": true, "proxy-connection": true, "transfer-encoding": true, "expect": true}

// usual adds the headers that curl sends by default, or because of other options.
func (r *request) usual(hasBody bool, u *url.URL) {
	add := func(name, value string) {
		for _, h := range r.headers {
			if h[0] == name {
				return
			}
		}
		for _, dropped := range r.dropped {
			if dropped == name {
				return
			}
		}
		r.headers = append(r.headers, [2]string{name, value})
	}
	if user := r.user; user != "" || u.User != nil {
		if user == "" {
			password, _ := u.User.Password()
			user = u.User.Username() + ":" + password
		} else if !strings.Contains(user, ":") {
			user += ":"
		}
		add("authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(user)))
	}
	if r.agent == nil {
		add("user-agent", "curl/8.0")
	} else if *r.agent != "" {
		add("user-agent", *r.agent)
	}
	if r.referer != "" {
		add("referer", r.referer)
	}
	if len(r.cookies) > 0 {
		add("cookie", strings.Join(r.cookies, "; "))
	}
	if r.json {
		add("content-type", "application/json")
		add("accept", "application/json")
	}
	add("accept", "*/*")
	if r.gzip {
		add("accept-encoding", "deflate, gzip, br, zstd")
	}
	if hasBody {
		add("content-type", "application/x-www-form-urlencoded")
	}
	if hasBody && len(r.joined()) > 0 {
		add("content-length", fmt.Sprint(len(r.joined())))
	}
}

func parseURL(written string) (*url.URL, error) {
	if written == "" {
		return nil, errors.New("it has no URL")
	}
	if !strings.Contains(written, "://") {
		written = "http://" + written
	}
	u, err := url.Parse(written)
	switch {
	case err != nil:
		return nil, fmt.Errorf("%.100q is not a URL", written)
	case u.Scheme != "http" && u.Scheme != "https":
		return nil, fmt.Errorf("%.100q: needs http:// or https://", written)
	case u.Host == "":
		return nil, fmt.Errorf("%.100q has no host", written)
	}
	return u, nil
}
