package conformance

import (
	"cmp"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"wasmxds/e2e/wasmtest"
)

// Cases reads all cases of a folder.
func Cases(dir string) ([]*Case, error) {
	files, err := fs.Glob(os.DirFS(dir), "*.txt")
	if err != nil {
		return nil, err
	}
	var all []*Case
	for _, file := range files {
		b, err := os.ReadFile(filepath.Join(dir, file))
		if err != nil {
			return nil, err
		}
		cases, err := parse(dir, file, string(b))
		if err != nil {
			return nil, err
		}
		all = append(all, cases...)
	}
	for i, c := range all {
		if slices.ContainsFunc(all[:i], func(other *Case) bool { return other.Name == c.Name }) {
			return nil, fmt.Errorf("%s:%d: there is another case %s", c.File, c.Line, c.Name)
		}
	}
	return all, nil
}

func parse(dir, file, text string) ([]*Case, error) {
	var all []*Case
	var c *Case
	section := "input"
	for i, line := range strings.Split(strings.TrimSuffix(text, "\n"), "\n") {
		name, begins := strings.CutPrefix(line, "== ")
		version, ends := strings.CutPrefix(line, "----")
		switch {
		case begins:
			c = &Case{File: file, Name: name, Line: i + 1, RootID: "root", want: map[string]string{}, steps: map[int]step{}}
			all = append(all, c)
			section = "input"
		case c == nil:
			if line != "" && line[0] != '#' {
				return nil, fmt.Errorf("%s:%d: the file is to begin with == NAME", file, i+1)
			}
		case ends:
			section = strings.TrimSpace(version)
			c.want[section] = ""
		case section == "input":
			c.input = append(c.input, line)
		default:
			c.want[section] += line + "\n"
		}
	}
	for _, c := range all {
		for version := range c.want {
			c.want[version] = strings.TrimRight(c.want[version], "\n") + "\n"
		}
		r := reader{c: c, dir: dir}
		for i, line := range c.input {
			if err := r.line(line); err != nil {
				return nil, fmt.Errorf("%s:%d: %w", file, c.Line+1+i, err)
			}
		}
		c.frame()
		if c.Foreign {
			continue
		}
		var err error
		if c.Module, err = r.script.Module(); err != nil {
			return nil, fmt.Errorf("%s:%d: %s: %w", file, c.Line, c.Name, err)
		}
	}
	return all, nil
}

// frame adds to the answers of calls what HTTP servers say of their length.
func (c *Case) frame() {
	for i := range c.Callouts {
		m := &c.Callouts[i].Message
		if !slices.Contains(m.Headers, [2]string{"content-type", "application/grpc"}) {
			m.Headers = append(m.Headers, [2]string{"content-length", strconv.Itoa(len(slices.Concat(m.Body...)))})
		}
	}
}

// reader reads the lines of a case.
type reader struct {
	c       *Case
	dir     string
	script  wasmtest.Script
	message *Message // the newest
	actions bool     // what is indented are those of a connection
	number  int      // of steps
}

func (r *reader) line(line string) error {
	line = strings.ReplaceAll(line, "$case", r.c.Name)
	switch trimmed := strings.TrimSpace(line); {
	case trimmed == "" || trimmed[0] == '#':
		return nil
	case line[0] != ' ':
		word, rest, _ := strings.Cut(trimmed, " ")
		return r.begin(word, rest)
	case r.actions:
		return r.action(trimmed)
	case r.message != nil:
		return r.part(trimmed)
	case len(r.script.Callbacks) > 0:
		return r.step(trimmed)
	}
	return fmt.Errorf("what does %q belong to?", line)
}

// begin reads a line that is not indented.
func (r *reader) begin(word, rest string) (err error) {
	r.message, r.actions = nil, false
	c := r.c
	switch word {
	case "module":
		c.Foreign = true
		c.Module, err = os.ReadFile(filepath.Join(r.dir, rest))
	case "root":
		c.RootID = rest
	case "differs":
		c.Differs = rest
	case "abi":
		r.script.ABI = rest
	case "policy":
		c.Policy = rest
	case "config":
		c.Config, err = strconv.Unquote(rest)
	case "vm-config":
		c.VMConfig, err = strconv.Unquote(rest)
	case "allow":
		c.Allow = strings.Fields(rest)
	case "buffer":
		c.Buffer, err = strconv.Atoi(rest)
	case "apart":
		c.Apart = true
	case "network":
		c.Network = true
	case "on":
		r.on(rest)
	case "request":
		method, path, _ := strings.Cut(rest, " ")
		c.Streams = append(c.Streams, Stream{
			Request:  Message{Headers: [][2]string{{":authority", "example.com"}, {":path", path}, {":method", method}, {":scheme", "http"}}},
			Response: Message{Headers: [][2]string{{":status", "200"}}}})
		r.message = &c.Streams[len(c.Streams)-1].Request
	case "response":
		if len(c.Streams) == 0 {
			return fmt.Errorf("a response without its request")
		}
		r.message = &c.Streams[len(c.Streams)-1].Response
		r.message.Headers = [][2]string{{":status", rest}}
	case "connection":
		c.Streams = append(c.Streams, Stream{})
		r.actions = true
	case "callout":
		return r.callout(strings.Fields(rest))
	default:
		return fmt.Errorf("what is %q?", word)
	}
	return err
}

// on begins a callback, or what it does when it is called once more.
func (r *reader) on(name string) {
	if name != "validate_configuration" {
		name = "on_" + name
	}
	i := slices.IndexFunc(r.script.Callbacks, func(c wasmtest.ScriptCallback) bool { return c.Name == name })
	if i < 0 {
		r.script.Callbacks = append(r.script.Callbacks, wasmtest.ScriptCallback{Name: name, Runs: [][]wasmtest.Step{nil}})
		return
	}
	// It becomes the last.
	c := r.script.Callbacks[i]
	c.Runs = append(c.Runs, nil)
	r.script.Callbacks = append(slices.Delete(r.script.Callbacks, i, i+1), c)
}

func (r *reader) callout(words []string) (err error) {
	if len(words) < 2 {
		return fmt.Errorf("callout CLUSTER STATUS|reset|hang [after DURATION]")
	}
	cluster := r.c.Name + "." + words[0]
	if r.c.Foreign { // its clusters have the names that it has for them
		cluster = words[0]
	}
	k := Callout{Cluster: cluster, Reset: words[1] == "reset", Hang: words[1] == "hang"}
	k.Headers = [][2]string{{":status", words[1]}}
	if len(words) == 4 && words[2] == "after" {
		k.After, err = time.ParseDuration(words[3])
	}
	r.c.Callouts = append(r.c.Callouts, k)
	r.message = &r.c.Callouts[len(r.c.Callouts)-1].Message
	return err
}

// part reads a header, a trailer or a piece of a body.
func (r *reader) part(line string) error {
	if chunk, found := strings.CutPrefix(line, "| "); found {
		text, times, _ := strings.Cut(chunk, " * ")
		s, err := strconv.Unquote(text)
		if err != nil {
			return fmt.Errorf("%s: %w", chunk, err)
		}
		n, err := strconv.Atoi(cmp.Or(times, "1"))
		r.message.Body = append(r.message.Body, []byte(strings.Repeat(s, n)))
		return err
	}
	to := &r.message.Headers
	if trailer, found := strings.CutPrefix(line, "trailer "); found {
		line, to = trailer, &r.message.Trailers
	}
	i := strings.Index(line[1:], ":") + 1
	if i == 0 {
		return fmt.Errorf("%q is neither a header nor | \"a piece of a body\"", line)
	}
	name, value := line[:i], strings.TrimSpace(line[i+1:])
	for j := range *to {
		if (*to)[j][0] == name && name[0] == ':' {
			(*to)[j][1] = value
			return nil
		}
	}
	*to = append(*to, [2]string{name, value})
	return nil
}

func (r *reader) action(line string) error {
	word, rest, _ := strings.Cut(line, " ")
	side, closes := strings.CutSuffix(word, "-close")
	a := Action{Upstream: side == "up", Close: closes}
	if side != "up" && side != "down" {
		return fmt.Errorf("%q is none of down, up, down-close and up-close", word)
	}
	if !closes {
		s, err := strconv.Unquote(rest)
		if err != nil {
			return err
		}
		a.Data = []byte(s)
	}
	last := &r.c.Streams[len(r.c.Streams)-1]
	last.Connection = append(last.Connection, a)
	return nil
}
