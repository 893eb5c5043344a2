package dryrun

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
)

func TestFrame(t *testing.T) {
	var b bytes.Buffer
	want := reply{Outcome: refusal, Message: "no", Missing: []string{"a"}}
	if err := writeFrame(&b, want); err != nil {
		t.Fatal(err)
	}
	whole := b.String()
	var got reply
	if err := readFrame(strings.NewReader(whole), maxReply, &got); err != nil || got.Message != "no" || len(got.Missing) != 1 {
		t.Errorf("%+v, %v", got, err)
	}
	for name, test := range map[string]struct {
		in  string
		err string
	}{
		"nothing":   {"", "EOF"},
		"a half":    {whole[:9], "unexpected EOF"},
		"too large": {"\xff\xff\xff\xff", "at most 65536 are read"},
		"no JSON":   {"\x01\x00\x00\x00x", "decode message"},
	} {
		if err := readFrame(strings.NewReader(test.in), maxReply, &got); err == nil || !strings.Contains(err.Error(), test.err) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestReceive(t *testing.T) {
	for in, want := range map[string]string{
		"":                                  "EOF",
		"x":                                 "unknown kind",
		"m\xff":                             "unexpected EOF",
		"m\xff\xff\xff\xff\xff\xff\xff\xff": "at most 1073741824 are read",
		"t\xff\xff\xff\xff":                 "at most 16777216 are read",
	} {
		err := receive(strings.NewReader(in), nil, nil)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %s", in, err, want)
		}
		if in == "" && !errors.Is(err, io.EOF) {
			t.Error(err)
		}
	}
}

// A reply is never too long to be read.
func TestLongReply(t *testing.T) {
	answer := replyOf(refused("", "%s", strings.Repeat("\x00ü", 1<<20)))
	var b bytes.Buffer
	if err := writeFrame(&b, answer); err != nil {
		t.Fatal(err)
	}
	var got reply
	if err := readFrame(&b, maxReply, &got); err != nil {
		t.Error(err)
	}
}
