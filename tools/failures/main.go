// Command failures reads what `go test -v` has printed and says again, in a few lines,
// which tests have failed and why: in a log of ten thousand lines nobody finds them, and
// often only the end of a log is kept.
//
//	go run ./tools/failures [-again N] < LOG
//
// It prints nothing when nothing has failed. A target of make that failed though no test
// of it has is told, too. With -again it then runs the tests that failed once more, if they
// are at most N and nothing else has failed, and fails if one of them fails again: on a
// machine that others use as well, a scene with real Envoys may miss a deadline. What
// passed only then is told last, for it is a fault all the same, of the test or of what it
// tests.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
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
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	most := flag.Int("again", 0, "run failed tests once more if they are at most `N`")
	flag.Parse()
	if err := run(ctx, *most); err != nil {
		fmt.Fprintln(os.Stderr, "failures:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, most int) error {
	failures, err := read(os.Stdin)
	if err != nil || len(failures) == 0 {
		if err == nil && most > 0 {
			err = errors.New("what failed is no test")
		}
		return err
	}
	if err := report(os.Stdout, failures); err != nil || most == 0 {
		return err
	}
	return again(ctx, os.Stdout, ".", failures, most)
}

// failure is a test that has failed, or a package, or a target of make.
type failure struct {
	title    string
	pkg      string // "" where it is a target
	test     string // "" where it is the package
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
