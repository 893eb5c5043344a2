package curl

import (
	"errors"
	"regexp"
	"strings"
)

// ofWindows matches a command for Windows' cmd.exe, as browsers copy it there: its words
// are in ^" or its lines go on with ^.
var ofWindows = regexp.MustCompile(`(?i)^\s*curl(\.exe)?\s([^'\n]*\s)?(\^"|\^\r?\n)`)

// windowsWords splits a command as cmd.exe and the runtime library of a program on
// Windows do, one after the other.
func windowsWords(command string) ([]string, error) {
	return arguments(uncareted(strings.ReplaceAll(command, "\r\n", "\n")))
}

// uncareted is the command as cmd.exe hands it on: outside of quotes, a caret makes
// the next character plain, or the line go on.
func uncareted(command string) string {
	var out strings.Builder
	quoted := false
	rest := []rune(strings.TrimSpace(command))
	for i := 0; i < len(rest); i++ {
		c := rest[i]
		switch {
		case c == '^' && !quoted:
			if i++; i < len(rest) && rest[i] == '\n' {
				i++ // what follows is plain as well
			}
			if i < len(rest) {
				out.WriteRune(rest[i])
			}
			continue
		case c == '"':
			quoted = !quoted
		case c == '\n', !quoted && (c == '&' || c == '|'):
			return out.String() // another command
		}
		out.WriteRune(c)
	}
	return out.String()
}

// arguments splits a command line: backslashes are plain but before a quote, and two
// quotes within quotes are one.
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
