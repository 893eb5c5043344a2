package curl

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// words splits a command as a POSIX shell and bash do. It knows quotes, escapes, $'…',
// comments and continued lines. Variables and other commands are errors, because their values
// are not known here. It stops at the end of the command.
func words(command string) ([]string, error) {
	s := &splitter{rest: command}
	for s.err == nil && s.rest != "" && !s.ended {
		s.next()
	}
	s.end()
	return s.words, s.err
}

type splitter struct {
	rest  string
	word  strings.Builder
	in    bool // within a word, which may be empty so far
	ended bool // the command has ended
	words []string
	err   error
}

func (s *splitter) fail(format string, args ...any) { s.err = fmt.Errorf(format, args...) }

func (s *splitter) end() {
	if s.in {
		s.words = append(s.words, s.word.String())
	}
	s.word.Reset()
	s.in = false
}

func (s *splitter) add(text string) {
	s.in = true
	s.word.WriteString(text)
}

func (s *splitter) next() {
	c := s.rest[0]
	after := s.rest[1:]
	switch {
	case strings.HasPrefix(s.rest, "\\\r\n"):
		s.rest = s.rest[3:]
	case strings.HasPrefix(s.rest, "\\\n"):
		s.rest = s.rest[2:]
	case c == '\\':
		if after == "" {
			s.rest = ""
			return
		}
		_, size := utf8.DecodeRuneInString(after)
		s.add(after[:size])
		s.rest = after[size:]
	case c == '\'':
		text, rest, ok := strings.Cut(after, "'")
		if !ok {
			s.fail("a ' is not closed")
			return
		}
		s.add(text)
		s.rest = rest
	case c == '"':
		s.rest = after
		s.double()
	case strings.HasPrefix(s.rest, "$'"):
		s.rest = s.rest[2:]
		s.ansi()
	case c == '$' && named(after):
		s.fail("%.40q has a variable, whose value only a shell knows: write the value", s.rest)
	case c == '`':
		s.fail("it has another command in it, in backquotes: write what that prints")
	case c == '#' && !s.in:
		s.rest = s.rest[min(uint(strings.IndexByte(s.rest, '\n')), uint(len(s.rest))):]
	case c == ' ' || c == '\t' || c == '\r':
		s.end()
		s.rest = after
	case c == '\n':
		// Commands that are copied from documentation have empty lines between continued ones.
		s.end()
		s.rest = after
		s.ended = len(s.words) > 0 && !strings.HasPrefix(strings.TrimLeft(after, " \t\r\n"), "-")
	case c == ';' || c == '|' || c == '&' || c == '<' || c == '>':
		s.end()
		s.ended = true
	default:
		s.add(s.rest[:1])
		s.rest = after
	}
}

// named reports whether a text is what follows $ in a variable or in another command.
func named(text string) bool {
	if text == "" {
		return false
	}
	c := text[0]
	return c == '{' || c == '(' || c == '_' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
}

// double reads the rest of a text in double quotes.
func (s *splitter) double() {
	s.in = true
	for {
		i := strings.IndexAny(s.rest, "\"\\$`")
		if i < 0 {
			s.fail("a \" is not closed")
			return
		}
		s.add(s.rest[:i])
		c, after := s.rest[i], s.rest[i+1:]
		switch {
		case c == '"':
			s.rest = after
			return
		case c == '$' && named(after):
			s.fail("%.40q has a variable, whose value only a shell knows: write the value", s.rest[i:])
			return
		case c == '`':
			s.fail("it has another command in it, in backquotes: write what that prints")
			return
		case c == '$':
			s.add("$")
			s.rest = after
		case strings.HasPrefix(after, "\n"):
			s.rest = after[1:]
		case after != "" && strings.ContainsRune("\"\\$`", rune(after[0])):
			s.add(after[:1])
			s.rest = after[1:]
		default:
			s.add("\\")
			s.rest = after
		}
	}
}

var simple = map[byte]string{
	'n': "\n", 't': "\t", 'r': "\r", 'a': "\a", 'b': "\b", 'e': "\x1b", 'E': "\x1b", 'f': "\f", 'v': "\v",
	'\\': "\\", '\'': "'", '"': "\"", '?': "?",
}

// ansi reads the rest of $'…'.
func (s *splitter) ansi() {
	s.in = true
	for {
		i := strings.IndexAny(s.rest, "'\\")
		if i < 0 || s.rest[i] == '\\' && i+1 == len(s.rest) {
			s.fail("a $' is not closed")
			return
		}
		s.add(s.rest[:i])
		if s.rest[i] == '\'' {
			s.rest = s.rest[i+1:]
			return
		}
		s.rest = s.rest[i+1:]
		text, size, err := escaped(s.rest)
		if err != nil {
			s.err = err
			return
		}
		s.add(text)
		s.rest = s.rest[size:]
	}
}

// escaped returns the meaning of what follows a backslash in $'…', and the length of what it
// read.
func escaped(text string) (string, int, error) {
	c := text[0]
	if known, ok := simple[c]; ok {
		return known, 1, nil
	}
	base, most, from := 16, 0, 1
	switch {
	case c == 'x':
		most = 2
	case c == 'u':
		most = 4
	case c == 'U':
		most = 8
	case c >= '0' && c <= '7':
		base, most, from = 8, 3, 0
	default:
		return "\\" + text[:1], 1, nil
	}
	to := from
	for to < len(text) && to < from+most && digit(text[to], base) {
		to++
	}
	if to == from {
		return "\\" + text[:1], 1, nil
	}
	value, err := strconv.ParseUint(text[from:to], base, 32)
	switch {
	case err != nil:
		return "", 0, errors.New("an escape in $'…' is out of range")
	case c == 'u' || c == 'U':
		return string(rune(value)), to, nil
	}
	return string([]byte{byte(value)}), to, nil
}

func digit(c byte, base int) bool {
	if base == 8 {
		return c >= '0' && c <= '7'
	}
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F'
}
