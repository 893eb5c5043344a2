package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
)

// config is the filter's configuration, in JSON:
//
//	{"header": "X-my-custom-header", "value": "hello world", "response": false}
//
// What is left out has the value shown. {"direction": "in"} is short for
// {"header": "X-direction", "value": "in"}.
type config struct {
	Header    string `json:"header"`
	Value     string `json:"value"`
	Response  bool   `json:"response"` // set it on responses as well
	Direction string `json:"direction"`
}

// parse reads a configuration; none at all is one with nothing in it.
func parse(data []byte) (config, error) {
	var c config
	if len(bytes.TrimSpace(data)) > 0 {
		d := json.NewDecoder(bytes.NewReader(data))
		d.DisallowUnknownFields()
		if err := d.Decode(&c); err != nil {
			return config{}, err
		}
		if _, err := d.Token(); err != io.EOF {
			return config{}, errors.New("more than one JSON value")
		}
	}
	if c.Direction != "" && (c.Header != "" || c.Value != "") {
		return config{}, errors.New("direction stands for header and value: give it or them")
	}
	if c.Direction != "" {
		c.Header, c.Value = "X-direction", c.Direction
	}
	if c.Header == "" {
		c.Header = "X-my-custom-header"
	}
	if c.Value == "" {
		c.Value = "hello world"
	}
	return c, c.check()
}

// check refuses what would not be a header field (RFC 9110, section 5).
func (c config) check() error {
	const token = "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
	if at := strings.IndexFunc(c.Header, func(r rune) bool { return !strings.ContainsRune(token, r) }); at >= 0 {
		return fmt.Errorf("header: %q can't be in a header's name", c.Header[at:at+1])
	}
	if at := strings.IndexFunc(c.Value, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }); at >= 0 {
		return fmt.Errorf("value: %q can't be in a header's value", c.Value[at:at+1])
	}
	return nil
}
