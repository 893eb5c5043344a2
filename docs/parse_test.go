package docs

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
)

// command is one that a document tells its reader to type.
type command struct {
	line  int
	text  string
	shows bool           // the document says what it prints,
	want  string         // which is this
	match *regexp.Regexp // or rather whatever matches this
}

var (
	fence   = regexp.MustCompile("^```(\\w*)$")
	heredoc = regexp.MustCompile(`<<'(\w+)'`)
)

// parse finds the commands of a document.
func parse(text string) ([]command, error) {
	var commands []command
	lines := strings.Split(text, "\n")
	run := true
	for i := 0; i < len(lines); i++ {
		line := strings.TrimSpace(lines[i])
		m := fence.FindStringSubmatch(line)
		switch {
		case strings.HasPrefix(line, "<!-- not run: "):
			run = false
			continue
		case line == "":
			continue
		case m == nil:
			run = true
			continue
		}
		first := i + 1
		for i++; i < len(lines) && strings.TrimSpace(lines[i]) != "```"; i++ {
		}
		if i == len(lines) {
			return nil, fmt.Errorf("line %d: the block has no end", first)
		}
		if block := lines[first:i]; run && m[1] == "sh" {
			commands = append(commands, command{line: first + 1, text: strings.Join(block, "\n")})
		} else if run && m[1] == "console" {
			more, err := console(block, first+1)
			if err != nil {
				return nil, err
			}
			commands = append(commands, more...)
		}
		run = true
	}
	return commands, nil
}

// console reads commands and what they print.
func console(block []string, at int) ([]command, error) {
	var commands []command
	for i := 0; i < len(block); i++ {
		text, ok := strings.CutPrefix(block[i], "$ ")
		if !ok {
			return nil, fmt.Errorf("line %d: %q is neither a command nor what one prints", at+i, block[i])
		}
		c := command{line: at + i, text: text}
		for strings.HasSuffix(c.text, `\`) && i+1 < len(block) {
			i++
			c.text += "\n" + block[i]
		}
		if m := heredoc.FindStringSubmatch(c.text); m != nil {
			for i+1 < len(block) {
				i++
				c.text += "\n" + block[i]
				if block[i] == m[1] {
					break
				}
			}
		}
		for i+1 < len(block) && !strings.HasPrefix(block[i+1], "$ ") {
			i++
			c.shows = true
			c.want += block[i] + "\n"
		}
		c.match = pattern(c.want)
		commands = append(commands, c)
	}
	return commands, nil
}

// pattern matches output as a document shows it.
func pattern(want string) *regexp.Regexp {
	var re strings.Builder
	for line := range strings.Lines(want) {
		if line == "…\n" {
			re.WriteString(`(?:.*\n)*`)
			continue
		}
		quoted := regexp.QuoteMeta(strings.TrimRight(line, " \n"))
		re.WriteString(strings.ReplaceAll(quoted, "…", ".*") + " *\n")
	}
	return regexp.MustCompile(`^` + re.String() + `$`)
}

func TestParse(t *testing.T) {
	got, err := parse("Text.\n```yaml\nnot: run\n```\n```sh\none\ntwo\n```\n<!-- not run: why -->\n```sh\nthree\n```\n" +
		"```console\n$ cat > f <<'EOF'\n$ x\nEOF\n$ four \\\n  five\nshown\n\n$ six\n```\n")
	must(t, err)
	want := []command{
		{line: 6, text: "one\ntwo"},
		{line: 14, text: "cat > f <<'EOF'\n$ x\nEOF"},
		{line: 17, text: "four \\\n  five", shows: true, want: "shown\n\n"},
		{line: 21, text: "six"},
	}
	if len(got) != len(want) {
		t.Fatalf("%d commands, want %d: %+v", len(got), len(want), got)
	}
	for i, w := range want {
		g := got[i]
		if g.line != w.line || g.text != w.text || g.shows != w.shows || g.want != w.want {
			t.Errorf("got %+v\nwant %+v", g, w)
		}
	}
	for _, bad := range []string{"```sh\nno end", "```console\nno command\n```"} {
		if _, err := parse(bad); err == nil {
			t.Errorf("no error in %q", bad)
		}
	}
}

func TestPattern(t *testing.T) {
	for _, c := range []struct {
		want, output string
		matches      bool
	}{
		{"a\n", "a\n", true},
		{"a\n", "a\nb\n", false},
		{"a…c\n", "abc\n", true},
		{"a…c\n", "ab\nc\n", false},
		{"…\nc\n", "a\nb\nc\n", true},
		{"a\n…\n", "a\n", true},
		{"a.c\n", "abc\n", false},
	} {
		if got := pattern(c.want).MatchString(c.output); got != c.matches {
			t.Errorf("%q matches %q: %v", c.want, c.output, got)
		}
	}
}
