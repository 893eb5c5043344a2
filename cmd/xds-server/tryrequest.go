package main

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/net/http/httpguts"

	"wasmxds/definition"
	"wasmxds/files"
	"wasmxds/try/curl"
	"wasmxds/try/har"
)

// requestFlags say what is played through a filter.
type requestFlags struct {
	method, path, data string
	headers            []string
	curl, har          string
	answer             struct {
		status  int
		headers []string
		data    string
	}
	callouts   []string
	properties []string
	sent       []definition.TestData // on a connection
}

func (f *requestFlags) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVarP(&f.method, "request", "X", "", "request `method` (default GET, or POST with -d)")
	flags.StringVar(&f.path, "path", "", "request `path` with its query (default /)")
	flags.StringArrayVarP(&f.headers, "header", "H", nil, "request `header`, as name: value; repeatable")
	flags.StringVarP(&f.data, "data", "d", "", "request `body`")
	flags.StringVar(&f.curl, "curl", "", "curl `command` to take the request from")
	flags.StringVar(&f.har, "har", "", "HAR `file` to take the requests from")
	flags.IntVar(&f.answer.status, "answer", 200, "response `status` of the upstream")
	flags.StringArrayVar(&f.answer.headers, "answer-header", nil, "response `header` of the upstream, as name: value; repeatable")
	flags.StringVar(&f.answer.data, "answer-data", "", "response `body` of the upstream")
	flags.Var(sentFlag{&f.sent, false}, "downstream", "`text` that the client sends on a connection, for a network filter; repeatable")
	flags.Var(sentFlag{&f.sent, true}, "upstream", "`text` that the upstream sends on a connection; repeatable")
	flags.StringArrayVar(&f.callouts, "callout", nil, "`answer` of a cluster that the filter calls: CLUSTER=STATUS, or CLUSTER=fails; repeatable")
	flags.StringArrayVar(&f.properties, "property", nil, "`property` that the filter sees, such as source.address=10.0.0.1:80; repeatable")
}

// read gives the requests that the flags say; nil: none is said. Its errors have their exit code.
func (f *requestFlags) read() ([]definition.TestCase, error) {
	around, err := f.around()
	if err != nil {
		return nil, misused(err)
	}
	given := f.method != "" || f.path != "" || f.data != "" || len(f.headers) > 0
	switch {
	case f.sent != nil && (given || f.answered() || f.curl != "" || f.har != ""):
		return nil, misused(errBoth)
	case f.sent != nil:
		return []definition.TestCase{f.connection(around)}, nil
	case f.curl != "" && f.har != "" || given && (f.curl != "" || f.har != ""):
		return nil, misused(fmt.Errorf("requests come from one of: -X, -H, -d and --path; --curl; --har"))
	case f.curl != "":
		m, err := curl.Parse(f.curl)
		if err != nil {
			return nil, wrong(fmt.Errorf("--curl: %w", err))
		}
		return []definition.TestCase{named(around, m)}, nil
	case f.har != "":
		return f.archive(around)
	case given || f.aroundGiven():
		m, err := f.message()
		if err != nil {
			return nil, misused(err)
		}
		return []definition.TestCase{named(around, m)}, nil
	}
	return nil, nil
}

func (f *requestFlags) aroundGiven() bool {
	return len(f.callouts)+len(f.properties) > 0 || f.answered()
}

// answered says whether flags say what the upstream answers.
func (f *requestFlags) answered() bool {
	return len(f.answer.headers) > 0 || f.answer.data != "" || f.answer.status != 200
}

func named(around definition.TestStream, m definition.TestMessage) definition.TestCase {
	around.Request = m
	return definition.TestCase{Name: m.Headers[0][1] + " " + m.Headers[1][1], TestStream: around}
}

func (f *requestFlags) archive(around definition.TestStream) ([]definition.TestCase, error) {
	data, err := files.Read(f.har, har.MaxSize)
	if err != nil {
		return nil, wrong(fmt.Errorf("--har: %w", err))
	}
	exchanges, others, err := har.Read(data)
	switch {
	case err != nil:
		return nil, wrong(fmt.Errorf("--har %s: %w", f.har, err))
	case len(exchanges) == 0:
		return nil, wrong(fmt.Errorf("--har %s: none of its %d entries is an HTTP request", f.har, others))
	}
	var all []definition.TestCase
	for _, x := range exchanges {
		c := definition.TestCase{Name: x.Name, TestStream: around}
		c.Request = x.Request
		if len(x.Response.Headers) > 0 {
			c.Response = x.Response
		}
		all = append(all, c)
	}
	return all, nil
}

func (f *requestFlags) message() (definition.TestMessage, error) {
	method, path, host := f.method, f.path, "localhost"
	if method == "" {
		method = "GET"
		if f.data != "" {
			method = "POST"
		}
	}
	if path == "" {
		path = "/"
	}
	if !httpguts.ValidHeaderFieldName(method) {
		return definition.TestMessage{}, fmt.Errorf("-X %q is not a valid method", method)
	}
	if path[0] != '/' && path != "*" || strings.ContainsAny(path, " \x00\r\n") {
		return definition.TestMessage{}, fmt.Errorf("--path %q: must begin with / and contain no spaces", path)
	}
	headers, err := fields("-H", f.headers)
	if err != nil {
		return definition.TestMessage{}, err
	}
	m := definition.TestMessage{}
	var rest [][2]string
	for _, h := range headers {
		if h[0] == "host" {
			host = h[1]
			continue
		}
		rest = append(rest, h)
	}
	m.Headers = append([][2]string{{":method", method}, {":path", path}, {":scheme", "http"}, {":authority", host}}, rest...)
	if f.data != "" {
		m.Body = [][]byte{[]byte(f.data)}
	}
	return m, nil
}

func fields(flag string, written []string) ([][2]string, error) {
	var all [][2]string
	for _, h := range written {
		name, value, ok := strings.Cut(h, ":")
		name, value = strings.ToLower(strings.TrimSpace(name)), strings.TrimSpace(value)
		if !ok || !httpguts.ValidHeaderFieldName(name) || !httpguts.ValidHeaderFieldValue(value) {
			return nil, fmt.Errorf("%s %q: must have the form name: value", flag, h)
		}
		all = append(all, [2]string{name, value})
	}
	return all, nil
}

// around is what a request meets.
func (f *requestFlags) around() (definition.TestStream, error) {
	var s definition.TestStream
	if f.answer.status < 200 || f.answer.status > 599 {
		return s, fmt.Errorf("--answer %d: must be the status of a final response, 200 to 599", f.answer.status)
	}
	headers, err := fields("--answer-header", f.answer.headers)
	if err != nil {
		return s, err
	}
	s.Response.Headers = append([][2]string{{":status", strconv.Itoa(f.answer.status)}}, headers...)
	if f.answer.data != "" {
		s.Response.Body = [][]byte{[]byte(f.answer.data)}
	}
	for _, c := range f.callouts {
		cluster, answer, ok := strings.Cut(c, "=")
		status, err := strconv.Atoi(answer)
		if !ok || cluster == "" || answer != "fails" && (err != nil || status < 200 || status > 599) {
			return s, fmt.Errorf("--callout %q: must have the form CLUSTER=STATUS, with a status from 200 to 599, or CLUSTER=fails", c)
		}
		if s.Callouts == nil {
			s.Callouts = map[string]definition.TestCallout{}
		}
		s.Callouts[cluster] = definition.TestCallout{Status: status, Fails: answer == "fails"}
	}
	for _, p := range f.properties {
		path, value, ok := strings.Cut(p, "=")
		if !ok || path == "" {
			return s, fmt.Errorf("--property %q: must have the form PATH=VALUE", p)
		}
		if s.Properties == nil {
			s.Properties = map[string]any{}
		}
		s.Properties[path] = value
	}
	return s, nil
}
