package main

import (
	"errors"
	"strings"
)

// settings is the filter's configuration. The defaults are
//
//	{"require": [], "prepend": ""}
//
// With {"require": ["SSH-"]} only connections pass that begin so; without
// require, all do.
type settings struct {
	Require []string `json:"require"`
	Prepend string   `json:"prepend"` // goes to the upstream before the client's first bytes
}

func (s *settings) check() error {
	for _, r := range s.Require {
		if r == "" {
			return errors.New("require: every connection begins with nothing")
		}
	}
	return nil
}

// state is how far a connection is.
type state int

const (
	undecided state = iota // more of it has to be seen
	open
	closed
)

// judge decides by the first bytes of a connection, which may go on or end here.
func (s *settings) judge(first []byte, end bool) state {
	verdict := closed
	for _, r := range s.Require {
		switch {
		case strings.HasPrefix(string(first), r):
			return open
		case !end && strings.HasPrefix(r, string(first)):
			verdict = undecided
		}
	}
	if len(s.Require) == 0 {
		return open
	}
	return verdict
}
