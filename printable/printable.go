// Package printable makes text from others safe to show: node IDs, labels,
// names in definitions and modules, messages of Envoys, registries and filters.
// In a terminal, control characters in such text would move the cursor or set
// the title. In any output, bidirectional and invisible characters would show
// other words than the text has.
//
// [Text] is for one field of a line or a table. [NewWriter] wraps the whole
// output, as a safeguard. Both escape characters that are not printable: \x1b,
// or \u202e, which is the same in JSON and in double-quoted YAML, so that
// documents keep their meaning.
package printable

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// Is reports whether s is shown unchanged: valid UTF-8 that consists of visible
// letters, marks, digits, punctuation, symbols and ASCII spaces.
func Is(s string) bool { return safe(s) == len(s) }

// safe returns the length of the part of s before the first escape.
func safe(s string) int {
	for i := 0; i < len(s); {
		if c := s[i]; c >= ' ' && c < 0x7f {
			i++
			continue
		}
		r, size := utf8.DecodeRuneInString(s[i:])
		if r < utf8.RuneSelf || r == utf8.RuneError && size == 1 || !visible(r) {
			return i
		}
		i += size
	}
	return len(s)
}

// visible reports whether a character is visible and does not change others.
func visible(r rune) bool {
	return strconv.IsPrint(r) && !unicode.In(r, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector, blank)
}

// blank are letters, marks and symbols that are invisible.
var blank = &unicode.RangeTable{R16: []unicode.Range16{
	{Lo: 0x17b4, Hi: 0x17b5, Stride: 1}, // Khmer inherent vowels
	{Lo: 0x2800, Hi: 0x2800, Stride: 1}, // Braille pattern blank
}}

// Text returns s on one line: it also escapes line breaks and tabs.
func Text(s string) string { return escaped(s, "") }

// Lines returns s with its line breaks and tabs unchanged.
func Lines(s string) string { return escaped(s, "\n\t") }

// Word returns s as a cell of a table. If s has spaces, which could be taken
// for the space between columns, it is quoted.
func Word(s string) string {
	if strings.ContainsAny(s, ` "`) {
		return `"` + strings.ReplaceAll(Text(s), `"`, `\"`) + `"`
	}
	return Text(s)
}

// escaped escapes s, except for control characters in keep.
func escaped(s, keep string) string {
	n := safe(s)
	if n == len(s) {
		return s
	}
	var b strings.Builder
	for {
		b.WriteString(s[:n])
		s = s[n:]
		if s == "" {
			return b.String()
		}
		r, size := utf8.DecodeRuneInString(s)
		switch {
		case strings.IndexByte(keep, s[0]) >= 0:
			b.WriteByte(s[0])
		default:
			escape(&b, r, s[:size])
		}
		s = s[size:]
		n = safe(s)
	}
}

func escape(b *strings.Builder, r rune, raw string) {
	switch {
	case r == '\n':
		b.WriteString(`\n`)
	case r == '\t':
		b.WriteString(`\t`)
	case r == '\r':
		b.WriteString(`\r`)
	case r < ' ', r == utf8.RuneError && len(raw) == 1:
		fmt.Fprintf(b, `\x%02x`, raw[0])
	case r > 0xffff:
		high, low := utf16.EncodeRune(r)
		fmt.Fprintf(b, `\u%04x\u%04x`, high, low)
	default:
		fmt.Fprintf(b, `\u%04x`, r)
	}
}
