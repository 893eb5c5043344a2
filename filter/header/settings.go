package main

import (
	"errors"
	"fmt"
	"strings"
)

// settings is the filter's configuration. The defaults are
//
//	{"header": "X-my-custom-header", "value": "hello world", "response": false}
//
// and {"direction": "in"} is short for {"header": "X-direction", "value": "in"}.
type settings struct {
	Header    string `json:"header"`
	Value     string `json:"value"`
	Response  bool   `json:"response"` // set it on responses as well
	Direction string `json:"direction"`
}

// complete fills in what was left out and refuses what would not be a header
// field (RFC 9110, section 5).
func (s *settings) complete() error {
	if s.Direction != "" {
		if s.Header != "" || s.Value != "" {
			return errors.New("direction stands for header and value: give it or them")
		}
		s.Header, s.Value = "X-direction", s.Direction
	}
	if s.Header == "" {
		s.Header = "X-my-custom-header"
	}
	if s.Value == "" {
		s.Value = "hello world"
	}
	for _, r := range s.Header {
		if !strings.ContainsRune("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ", r) {
			return fmt.Errorf("header: %q can't be in a header's name", r)
		}
	}
	for _, r := range s.Value {
		if r < ' ' && r != '\t' || r == 0x7f {
			return fmt.Errorf("value: %q can't be in a header's value", r)
		}
	}
	return nil
}
