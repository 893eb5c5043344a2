package module

import (
	"bytes"
	"encoding/binary"
	"errors"
	"strings"
	"testing"
)

// TestLimits checks each limit of V8: a module exactly at a limit is accepted.
func TestLimits(t *testing.T) {
	n := func(v uint64) string { return string(binary.AppendUvarint(nil, v)) }
	section := func(id byte, content string) string { return string(id) + n(uint64(len(content))) + content }
	function := func(body string) string { return n(uint64(len(body))) + body }
	code := func(locals string) string {
		// Three functions have a type: the two of the filter, and this one.
		return section(3, "\x03\x00\x00\x00") + section(10, "\x03"+function("\x00\x0b")+function("\x00\x0b")+function(locals+"\x0b"))
	}
	for name, test := range map[string]struct {
		content func(over uint64) string // with the limit, or one more
		err     string
	}{
		"types": {func(over uint64) string { return section(1, n(1_000_000+over)) }, "1000001 types"},
		"parameters": {func(over uint64) string {
			return section(1, "\x01\x60"+n(1000+over)+strings.Repeat("\x7f", 1001)+"\x00")
		}, "1001 parameters of a function"},
		"results":    {func(over uint64) string { return section(1, "\x01\x60\x00"+n(1000+over)+strings.Repeat("\x7f", 1001)) }, "1001 results of a function"},
		"references": {func(over uint64) string { return section(1, "\x02\x60\x01\x63\x00\x00\x60\x00"+n(1000+over)) }, "1001 results of a function"},
		"functions":  {func(over uint64) string { return section(3, n(999_999+2*over)) + section(10, n(999_999+2*over)) }, "1000001 functions"},
		"tables":     {func(over uint64) string { return section(4, n(100_000+over)) }, "100001 tables"},
		"a table":    {func(over uint64) string { return section(4, "\x01\x70\x00"+n(10_000_000+over)) }, "10000001 entries of a table"},
		"its maximum": {func(over uint64) string {
			return section(4, "\x01\x6f\x01"+n(10_000_000+over)+n(1<<31))
		}, "10000001 entries of a table"},
		"memory":        {func(over uint64) string { return section(5, "\x01\x00"+n(65_536+over)) }, "65537 pages of memory"},
		"most memory":   {func(over uint64) string { return section(5, "\x01\x01\x01"+n(65_536+over)) }, "65537 pages of memory"},
		"globals":       {func(over uint64) string { return section(6, n(1_000_000+over)) }, "1000001 globals"},
		"data segments": {func(over uint64) string { return section(11, n(100_000+over)) }, "100001 data segments"},
		"locals":        {func(over uint64) string { return code("\x01" + n(50_000+over) + "\x7f") }, "50001 locals of a function; Envoy takes at most 50000"},
		"all locals":    {func(over uint64) string { return code("\x02" + n(25_000) + "\x63\x00" + n(25_000+over) + "\x7e") }, "50001 locals of a function"},
		"most locals":   {func(over uint64) string { return code("\x01" + n(50_000+over*(1<<32-50_001)) + "\x7f") }, "4294967295 locals of a function"},
		"a function":    {func(over uint64) string { return code("\x00" + strings.Repeat("\x01", 7_654_319+int(over))) }, "7654322 bytes of a function"},
	} {
		t.Run(name, func(t *testing.T) {
			inspect := func(over uint64) error {
				b := append(filter("x"), test.content(over)...)
				_, err := Inspect(bytes.NewReader(b), int64(len(b)))
				return err
			}
			if err := inspect(0); err != nil && strings.Contains(err.Error(), "Envoy takes") {
				t.Errorf("at the limit: %v", err)
			}
			err := inspect(1)
			if _, verdict := errors.AsType[*ContentError](err); !verdict || !strings.Contains(err.Error(), "with "+test.err) || !strings.Contains(err.Error(), "; Envoy takes at most") {
				t.Errorf("above it: %v", err)
			}
		})
	}
}
