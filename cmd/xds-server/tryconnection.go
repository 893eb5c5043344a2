package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"wasmxds/definition"
	"wasmxds/try"
)

// sentFlag adds what one side of a connection sends, in the order of all such flags.
type sentFlag struct {
	sent     *[]definition.TestData
	upstream bool
}

func (s sentFlag) Set(text string) error {
	*s.sent = append(*s.sent, definition.TestData{Upstream: s.upstream, Data: []byte(text)})
	return nil
}

func (s sentFlag) String() string { return "" }
func (s sentFlag) Type() string   { return "text" }

// connection gives the connection that the flags describe.
func (f *requestFlags) connection(around definition.TestStream) definition.TestCase {
	around.Connection = &definition.TestConnection{Data: f.sent, Closes: "downstream"}
	return definition.TestCase{Name: "connection", TestStream: around}
}

// fit checks that what is played can go through the filter.
func fit(f *definition.Filter, requests []definition.TestCase) error {
	connections := slices.ContainsFunc(requests, hasConnection)
	switch {
	case requests == nil || connections == f.Place.Network:
		return nil
	case connections:
		return withHint(fmt.Errorf("%s is not a network filter, so it has requests, not connections", f.Name), "leave --downstream and --upstream out")
	}
	return withHint(fmt.Errorf("%s is a network filter, so it has connections, not requests", f.Name), "write what each side sends: --downstream TEXT, --upstream TEXT")
}

func hasConnection(c definition.TestCase) bool { return c.Connection != nil }

// asNetwork is a filter whose FilterTests have connections.
func asNetwork(f *definition.Filter) *definition.Filter {
	network := *f
	network.Place.Network = true
	return &network
}

// onlyConnections says whether a module can be nothing but a network filter, and which module
// that is. If it can't be read, that is told when it is fetched.
func (w *workshop) onlyConnections(path string) (sha256 string, only bool) {
	info, err := w.put(path)
	if err != nil {
		return "", false
	}
	wants, err := w.store.Wants(info.SHA256)
	return info.SHA256, err == nil && wants.Connections() && !wants.Requests()
}

// hint says what may be wrong where the first callback of a request has crashed. Modules of some SDKs have callbacks for
// requests and for connections, so what they are is known only to those who wrote them.
func (s *subject) hint(o *try.Outcome) {
	if s.Filter.Place.Network || !s.connections || !strings.HasPrefix(o.Result.Crash, "proxy_on_request_headers ") {
		return
	}
	o.Hint = "if it is a network filter, its definition needs place: network"
	if s.bare {
		o.Hint = "if it is a network filter, write what each side of a connection sends: --downstream TEXT, --upstream TEXT"
	}
	for i := range o.Failures {
		o.Failures[i].Hint = o.Hint
	}
}

// errBoth says that requests and a connection are given.
var errBoth = errors.New("--downstream and --upstream describe a connection, which has no request: leave out -X, -H, -d, --path, --curl, --har and --answer…")
