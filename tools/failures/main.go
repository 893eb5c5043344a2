// Command failures reads what `go test -v` has printed and says again, in a few lines,
// which tests have failed and why: in a log of ten thousand lines nobody finds them, and
// often only the end of a log is kept.
//
//	go run ./tools/failures < LOG
//
// It prints nothing when no test has failed.
package main

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
)

const (
	maxLines    = 40  // of all
	maxMessages = 6   // of a test: the last
	firstLines  = 2   // of a message
	lastLines   = 5   // and these: a script's log has its error at the end
	maxWidth    = 300 // bytes of a line
)

func main() {
	failures, err := read(os.Stdin)
	if err == nil && len(failures) > 0 {
		err = report(os.Stdout, failures)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "failures:", err)
		os.Exit(1)
	}
}

// failure is a test that has failed, or a package.
type failure struct {
	title    string
	messages []*message
}

// message is one call of t.Error, t.Log and so on; its lines are without their indentation.
type message []string

// report prints as much of each failure as there are lines for, what it said last first.
func report(w io.Writer, failures []failure) error {
	var lines []string
	for messages := maxMessages; messages >= 0; messages-- {
		lines = []string{"== what failed"}
		for _, f := range failures {
			lines = append(lines, f.lines(messages)...)
		}
		if len(lines) <= maxLines {
			break
		}
	}
	if n := len(lines) - maxLines; n > 0 {
		lines = append(lines[:maxLines-1], fmt.Sprintf("… and %d lines more", n+1))
	}
	_, err := fmt.Fprintln(w, strings.Join(lines, "\n"))
	return err
}

// lines are the title and the last messages.
func (f failure) lines(messages int) []string {
	lines := []string{f.title}
	for _, m := range f.messages[max(0, len(f.messages)-messages):] {
		said := *m
		if len(said) > firstLines+lastLines+1 {
			said = slices.Concat(said[:firstLines], []string{"…"}, said[len(said)-lastLines:])
		}
		indent := "    "
		for _, line := range said {
			if len(line) > maxWidth {
				line = strings.ToValidUTF8(line[:maxWidth], "") + "…"
			}
			lines = append(lines, indent+line)
			indent = "        "
		}
	}
	return lines
}
