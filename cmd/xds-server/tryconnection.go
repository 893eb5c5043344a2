package main

import (
	"errors"
	"fmt"
	"slices"

	"wasmxds/definition"
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
	connections := slices.ContainsFunc(requests, func(c definition.TestCase) bool { return c.Connection != nil })
	switch {
	case requests == nil || connections == f.Place.Network:
		return nil
	case connections:
		return withHint(fmt.Errorf("%s is not a network filter, so it has requests, not connections", f.Name), "leave --downstream and --upstream out")
	}
	return withHint(fmt.Errorf("%s is a network filter, so it has connections, not requests", f.Name), "write what each side sends: --downstream TEXT, --upstream TEXT")
}

// errBoth says that requests and a connection are given.
var errBoth = errors.New("--downstream and --upstream describe a connection, which has no request: leave out -X, -H, -d, --path, --curl, --har and --answer…")
