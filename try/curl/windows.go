package curl

import (
	"errors"
	"regexp"
	"strings"
)

// ofWindows matches a command for Windows' cmd.exe, as browsers copy it there. Its words are
// in ^", or its lines end with ^ to be continued.
var ofWindows = regexp.MustCompile(`(?i)^\s*curl(\.exe)?\s([^'\n]*\s)?(\^"|\^\r?\n)`)

// windowsWords splits a command as Windows does: first cmd.exe, then the runtime library of
// the program.
func windowsWords(command string) ([]string, error) {
	return arguments(uncareted(strings.ReplaceAll(command, "\r\n", "\n")))
}

// uncareted returns the command as cmd.exe passes it on. Outside of quotes, a caret removes
// the meaning of the next character, which may be the end of the line.
func uncareted(command string) string {
	var out strings.Builder
	quoted := false
	rest := []rune(strings.TrimSpace(command))
	for i := 0; i < len(rest); i++ {
		c := rest[i]
		switch {
		case c == '^' && !quoted:
			if i++; i < len(rest) && rest[i] == '\n' {
				i++ // the next character has no meaning either
			}
			if i < len(rest) {
				out.WriteRune(rest[i])
			}
			continue
		case c == '"':
			quoted = !quoted
		case c == '\n', !quoted && (c == '&' || c == '|'):
			return out.String() // the rest is another command
		}
		out.WriteRune(c)
	}
	return out.String()
}

// arguments splits a command line. A backslash has a meaning only before a quote, and two
// quotes within quotes stand for one.
func arguments(line string) (words []string, err error) {
	var word strings.Builder
	in, quoted := false, false
	for i := 0; i < len(line); {
		slashes := len(line[i:]) - len(strings.TrimLeft(line[i:], `\`))
		i += slashes
		if slashes > 0 {
			in = true
			if i == len(line) || line[i] != '"' {
				word.WriteString(strings.Repeat(`\`, slashes))
				continue
			}
			word.WriteString(strings.Repeat(`\`, slashes/2))
			if slashes%2 == 1 {
				word.WriteByte('"')
				i++
				continue
			}
		}
		c := line[i]
		i++
		switch {
		case c == '"' && quoted && i < len(line) && line[i] == '"':
			word.WriteByte('"')
			i++
		case c == '"':
			in, quoted = true, !quoted
		case !quoted && (c == ' ' || c == '\t'):
			if in {
				words = append(words, word.String())
			}
			word.Reset()
			in = false
		default:
			in = true
			word.WriteByte(c)
		}
	}
	if quoted {
		return nil, errors.New(`a " is not closed`)
	}
	if in {
		words = append(words, word.String())
	}
	return words, nil
}
