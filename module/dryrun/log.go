package dryrun

import (
	"fmt"
	"strings"
)

// logged keeps what a module logs, for the person who reads the verdict.
type logged struct {
	lines   []line
	partial [2]string // incomplete lines of stdout and stderr
	secret  bool      // nobody may read the log, which may contain the configuration
}

type line struct {
	level uint32 // as in proxy_log: 0 trace … 5 critical
	text  string
}

const (
	keptLines = 100
	maxLine   = 300 // bytes
	told      = 4   // lines

	information, warning, failure = 2, 3, 4 // levels
)

func (l *logged) add(level uint32, text string) {
	for s := range strings.Lines(text) {
		s = strings.TrimSpace(s)
		if s == "" {
			continue
		}
		if len(l.lines) == keptLines {
			l.lines = l.lines[1:]
		}
		l.lines = append(l.lines, line{level, strings.ToValidUTF8(s[:min(len(s), maxLine)], "…")})
	}
}

// write adds output, which arrives in pieces of lines.
func (l *logged) write(stderr bool, text string) {
	stream, level := 0, uint32(information)
	if stderr {
		stream, level = 1, failure
	}
	text = l.partial[stream] + text
	end := strings.LastIndexByte(text, '\n') + 1
	l.add(level, text[:end])
	l.partial[stream] = text[end:][:min(len(text)-end, maxLine)]
}

// tail returns the most informative lines: the first warnings and errors or, without any,
// the last lines.
func (l *logged) tail() string {
	l.write(false, "\n")
	l.write(true, "\n")
	var texts []string
	for _, line := range l.lines {
		if line.level >= warning && len(texts) < told {
			texts = append(texts, line.text)
		}
	}
	if len(texts) == 0 {
		for _, line := range l.lines[max(0, len(l.lines)-told):] {
			texts = append(texts, line.text)
		}
	}
	switch {
	case len(texts) == 0:
		return ""
	case l.secret:
		return "; what it logged is not shown, as its configuration comes from a Secret"
	}
	return fmt.Sprintf("; it logged: %q", strings.Join(texts, " | "))
}
