package envoy

import (
	"encoding/json"
	"regexp"
	"strings"
)

// LogArgs have an Envoy of --log-level warning log what a [Log] reads: of modules what is
// of a level, or above.
func LogArgs(level string) []string {
	return []string{"--component-log-level", "main:info,wasm:" + level, "--log-format", "%t %l %j",
		"--file-flush-interval-msec", "20"}
}

// Log reads what an Envoy logs that was started with [LogArgs]. The zero value reads from
// its first line on.
type Log struct {
	main string // the thread that starts Envoy
}

// Line is a line of it.
type Line struct {
	Level, Text string
	Main        bool // of the main thread, which serves no requests
}

var logLine = regexp.MustCompile(`^(\d+) (trace|debug|info|warning|error|critical) (.*)$`)

// Read reads a line; ok is false where it is something else.
func (l *Log) Read(line string) (read Line, ok bool) {
	m := logLine.FindStringSubmatch(strings.TrimSuffix(line, "\n"))
	if m == nil {
		return Line{}, false
	}
	if l.main == "" {
		l.main = m[1]
	}
	return Line{Level: m[2], Text: unescaped(m[3]), Main: m[1] == l.main}, true
}

// unescaped is text that was escaped as in JSON.
func unescaped(text string) string {
	var s string
	if json.Unmarshal([]byte(`"`+text+`"`), &s) != nil {
		return text
	}
	return s
}
