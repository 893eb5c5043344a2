package stream

import (
	"fmt"
	"slices"
	"testing"

	"wasmxds/module/dryrun/abi"
)

func TestTCP(t *testing.T) {
	var p *played
	var c *TCP
	says := Connection{Downstream: [][]byte{[]byte("ab"), []byte("cd")}, Upstream: [][]byte{[]byte("ef")}}
	with := func(by Closer) Connection { c := says; c.Closes = by; return c }
	for _, test := range []struct {
		name    string
		given   Connection
		answers map[string]func(*HTTP) uint32
		then    func()
		called  []string
		want    string
	}{
		{name: "nothing is called", given: says, want: "[ab cd] [ef] downstream"},
		{
			name: "all of it", given: says, answers: map[string]func(*HTTP) uint32{
				"new_connection": is(0), "downstream_data": is(0), "upstream_data": is(0),
				"downstream_connection_close": is(0), "upstream_connection_close": is(0), "log": is(0), "done": is(1), "delete": is(0),
			},
			called: []string{"new_connection continue", "downstream_data 2 0 continue", "downstream_data 2 0 continue", "upstream_data 2 0 continue",
				"downstream_data 0 1 continue", "upstream_data 0 1 continue", "upstream_connection_close 0", "downstream_connection_close 1", "done", "log", "delete"},
			want: "[ab cd] [ef] downstream",
		},
		{
			name: "held up until there is enough", given: with(ClosedUpstream), answers: map[string]func(*HTTP) uint32{
				"downstream_data": func(*HTTP) uint32 {
					if n := len(c.Data(abi.DownstreamData).Bytes()); n > 0 && n < 4 {
						return 1
					}
					return 0
				},
			},
			called: []string{"downstream_data 2 0 pause", "downstream_data 4 0 continue", "downstream_data 0 1 continue"},
			want:   "[abcd] [ef] upstream",
		},
		{
			name: "changed", given: with(ClosedReset), answers: map[string]func(*HTTP) uint32{
				"downstream_data": func(*HTTP) uint32 { c.Data(abi.DownstreamData).Set(0, 0, []byte("<")); return 0 },
				"upstream_data":   func(*HTTP) uint32 { c.Data(abi.UpstreamData).Set(9, 0, []byte(">")); return 0 },
			},
			called: []string{"downstream_data 2 0 continue", "downstream_data 2 0 continue", "upstream_data 2 0 continue"},
			want:   "[<ab <cd] [ef>] reset",
		},
		{
			name: "in turns", given: Connection{Pieces: []Piece{{true, []byte("a")}, {false, []byte("b")}, {true, []byte("c")}}},
			answers: map[string]func(*HTTP) uint32{"downstream_data": is(0), "upstream_data": is(0)},
			called: []string{"upstream_data 1 0 continue", "downstream_data 1 0 continue", "upstream_data 1 0 continue",
				"downstream_data 0 1 continue", "upstream_data 0 1 continue"},
			want: "[b] [a c] downstream",
		},
		{
			name: "never let in", given: says, answers: map[string]func(*HTTP) uint32{"new_connection": is(1), "downstream_data": is(1)},
			called: []string{"new_connection pause"},
			want:   "[] [] reset connection",
		},
		{
			name: "let in later", given: says, answers: map[string]func(*HTTP) uint32{"new_connection": is(1), "downstream_data": is(1)},
			then:   func() { c.Continue() },
			called: []string{"new_connection pause"},
			want:   "[abcd] [] downstream",
		},
		{
			name: "closed", given: says, answers: map[string]func(*HTTP) uint32{
				"new_connection":              func(*HTTP) uint32 { p.after = append(p.after, c.Close); return 1 },
				"downstream_connection_close": is(0), "downstream_data": is(0),
			},
			called: []string{"new_connection pause", "downstream_connection_close 1"},
			want:   "[] [] filter",
		},
		{
			name: "a trap", given: says, answers: map[string]func(*HTTP) uint32{"downstream_data": func(*HTTP) uint32 { p.failed = true; return 0 }},
			called: []string{"downstream_data 2 0"},
			want:   "[] [] filter",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			p = &played{answers: test.answers}
			c = NewTCP(p, test.given, Options{})
			for c.Step() {
			}
			if test.then != nil && !c.Finished() {
				test.then()
				for c.Step() {
				}
			}
			paused := ""
			if !c.Finished() {
				paused = " " + c.Paused()
				c.GiveUp()
			}
			if !slices.Equal(p.called, test.called) {
				t.Errorf("called %q,\nwant %q", p.called, test.called)
			}
			if got := fmt.Sprintf("%s %s %s%s", c.out.Downstream, c.out.Upstream, c.out.Closes, paused); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}
