package conformance

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"wasmxds/e2e/wasmtest"
)

// numbers have names in scripts: types of maps and of buffers.
var numbers = map[string]int64{
	"continue": 0, "pause": 1, "false": 0, "true": 1,
	"request_headers": 0, "request_trailers": 1, "response_headers": 2, "response_trailers": 3,
	"grpc_initial_metadata": 4, "grpc_trailing_metadata": 5, "http_call_headers": 6, "http_call_trailers": 7,
	"request_body": 0, "response_body": 1, "downstream_data": 2, "upstream_data": 3, "http_call_body": 4,
	"grpc_message": 5, "vm_configuration": 6, "plugin_configuration": 7, "call_data": 8,
	"trace": 0, "debug": 1, "info": 2, "warn": 3, "error": 4, "critical": 5,
	"counter": 0, "gauge": 1, "histogram": 2,
}

// step reads a step of the newest callback.
func (r *reader) step(line string) error {
	words, err := split(line)
	if err != nil {
		return err
	}
	callback := &r.script.Callbacks[len(r.script.Callbacks)-1]
	run := &callback.Runs[len(callback.Runs)-1]
	switch words[0] {
	case "trap":
		*run = append(*run, wasmtest.Step{Trap: true})
		return nil
	case "return":
		a, _, err := argument(words[1])
		*run = append(*run, wasmtest.Step{Return: true, Value: int(a.Int)})
		return err
	case "keep": // keep NAME PARAMETER
		n, err := strconv.Atoi(words[2])
		*run = append(*run, wasmtest.Step{Keep: words[1], Param: n})
		return err
	}
	r.number++
	s := wasmtest.Step{Number: r.number, Call: words[0]}
	shown := step{text: words[0]}
	for _, word := range words[1:] {
		a, as, err := argument(word)
		if err != nil {
			return fmt.Errorf("%s: %w", word, err)
		}
		s.Args = append(s.Args, a)
		if as == "" {
			shown.text += " " + strings.ReplaceAll(word, r.c.Name+".", "")
		} else {
			shown.outs = append(shown.outs, out{a.Kind, as})
		}
	}
	r.c.steps[s.Number] = shown
	*run = append(*run, s)
	return nil
}

// argument reads one argument of a host call: a number or its name, "text",
// path(a b), pairs("a" "b"), metadata of one, $variable, $1 for an argument of the
// callback, or @how for what the host fills in, @u32:name to keep it, and @id for a number of which
// only counts whether it is the same as others.
func argument(word string) (a wasmtest.Arg, as string, err error) {
	if n, found := numbers[word]; found {
		return wasmtest.Arg{Int: n}, "", nil
	}
	inner := func(prefix string) ([]string, error) {
		return split(strings.TrimSuffix(strings.TrimPrefix(word, prefix), ")"))
	}
	switch {
	case word[0] == '"':
		text, times, _ := strings.Cut(word, "*")
		a.Kind = wasmtest.Text
		if a.Text, err = strconv.Unquote(text); err == nil && times != "" {
			var n int
			n, err = strconv.Atoi(times)
			a.Text = strings.Repeat(a.Text, n)
		}
	case strings.HasPrefix(word, "path("):
		var names []string
		names, err = inner("path(")
		a = wasmtest.Arg{Kind: wasmtest.Text, Text: strings.Join(names, "\x00")}
	case strings.HasPrefix(word, "pairs("):
		var texts []string
		texts, err = inner("pairs(")
		if err == nil && len(texts)%2 != 0 {
			err = errors.New("a name without a value")
		}
		for i, t := range texts {
			if err == nil {
				texts[i], err = strconv.Unquote(t)
			}
		}
		a = wasmtest.Arg{Kind: wasmtest.Text, Text: string(pairs(texts))}
	case word[0] == '$':
		if n, notNumber := strconv.Atoi(word[1:]); notNumber == nil {
			a = wasmtest.Arg{Kind: wasmtest.Param, Int: int64(n)}
		} else {
			a = wasmtest.Arg{Kind: wasmtest.Variable, Text: word[1:]}
		}
	case word[0] == '@':
		var name string
		as, name, _ = strings.Cut(word[1:], ":")
		a.Kind = wasmtest.OutBytes
		switch as {
		case "u32", "id":
			a = wasmtest.Arg{Kind: wasmtest.Out32, Text: name}
		case "u64", "time":
			a.Kind = wasmtest.Out64
		}
	default:
		a.Int, err = strconv.ParseInt(word, 0, 64)
	}
	return a, as, err
}

// pairs encodes names and values as modules hand over maps.
func pairs(texts []string) []byte {
	b := binary.LittleEndian.AppendUint32(nil, uint32(len(texts)/2))
	for _, t := range texts {
		b = binary.LittleEndian.AppendUint32(b, uint32(len(t)))
	}
	for _, t := range texts {
		b = append(append(b, t...), 0)
	}
	return b
}

// split gives the words of a line; blanks in quotes and parentheses are none
// between words.
func split(line string) ([]string, error) {
	var words []string
	for line = strings.TrimSpace(line); line != ""; line = strings.TrimLeft(line, " ") {
		i, depth := 0, 0
		for i < len(line) && (line[i] != ' ' || depth > 0) {
			switch line[i] {
			case '(':
				depth++
			case ')':
				depth--
			case '"':
				quoted, err := strconv.QuotedPrefix(line[i:])
				if err != nil {
					return nil, fmt.Errorf("%s: %w", line[i:], err)
				}
				i += len(quoted) - 1
			}
			i++
		}
		words = append(words, line[:i])
		line = line[i:]
	}
	return words, nil
}
