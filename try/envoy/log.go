package envoy

import (
	"encoding/json"
	"regexp"
	"strings"
)

// LogArgs are arguments that make an Envoy with --log-level warning log what a [Log] reads:
// from modules, everything at a level or above.
func LogArgs(level string) []string {
	return []string{"--component-log-level", "main:info,wasm:" + level, "--log-format", "%t %l %j",
		"--file-flush-interval-msec", "20"}
}

// Log parses the log of an Envoy that was started with [LogArgs]. The zero value is ready
// to read from the first line on.
type Log struct {
	main string // the thread that starts Envoy
}

// Line is a log line.
type Line struct {
	Level, Text string
	Main        bool // logged by the main thread, which serves no requests
}

var logLine = regexp.MustCompile(`^(\d+) (trace|debug|info|warning|error|critical) (.*)$`)

// Read parses a line. ok is false if the line does not have the form of the log.
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

// unescaped reverses the escaping of a text, which is as in JSON.
func unescaped(text string) string {
	var s string
	if json.Unmarshal([]byte(`"`+text+`"`), &s) != nil {
		return text
	}
	return s
}
