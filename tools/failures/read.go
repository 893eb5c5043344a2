package main

import (
	"bufio"
	"errors"
	"io"
	"regexp"
	"strings"
)

// What go test prints.
var (
	speaks  = regexp.MustCompile(`^=== (?:RUN|CONT|NAME|PAUSE)\s+(\S*)`)
	ends    = regexp.MustCompile(`^\s*--- (PASS|SKIP|FAIL): (\S+) \(.*\)`)
	says    = regexp.MustCompile(`^\s+(\S+\.go:\d+: .*)`)
	panics  = regexp.MustCompile(`^(?:panic|fatal error|SIGQUIT): `)
	builds  = regexp.MustCompile(`^# (\w\S*)`)
	over    = regexp.MustCompile(`^(?:ok  |FAIL|\?   )\t(\S+)`)
	unmade  = regexp.MustCompile(`^make: \*\*\* `) // by make itself; what it makes begins with make[1]
	nothing = regexp.MustCompile(`^(?:PASS|FAIL|exit status \d+|# \[.*|)$`)

	// How lines look that go on with what a test said, a panic, and a compiler.
	saysMore   = regexp.MustCompile(`^ {8}\s*(.*)`)
	panicsMore = regexp.MustCompile(`^\t+(.*)`)
	buildsMore = regexp.MustCompile(`^\s*(\S+\.go:\d+:.*|vet: .*|package .*)`)
	// library is in the lines of a stack that nobody needs.
	library = regexp.MustCompile(`/(?:runtime|testing|reflect|sync|time)/\w+\.(?:go|s):\d|_testmain\.go:`)
)

const (
	// programLog is in the messages by which a scene shows a program's log. They are long,
	// and come after those that say what was wrong.
	programLog = ": the end of "
	maxPanic   = 8 // lines of a panic
	maxLast    = 8 // lines of a package that fails though none of its tests has
)

// reader goes through a log.
type reader struct {
	failures []failure
	made     int                 // failures before the target that is made
	builds   map[string]*message // by package

	// Of the package that is read:
	failed []string              // tests
	said   map[string][]*message // by test
	panic  *message
	others message // what is nobody's
	test   string  // which speaks

	open *message       // what the next lines may go on with
	more *regexp.Regexp // and how they look then
}

// read finds the failures in a log.
func read(log io.Reader) ([]failure, error) {
	r := &reader{builds: map[string]*message{}}
	r.begin()
	lines := bufio.NewReader(log)
	for {
		line, err := lines.ReadString('\n')
		if line != "" {
			r.line(strings.TrimRight(line, "\r\n"))
		}
		if errors.Is(err, io.EOF) {
			if len(r.failed) > 0 || r.panic != nil { // go test was ended itself
				r.fail("?")
			}
			return r.failures, nil
		}
		if err != nil {
			return nil, err
		}
	}
}

// begin forgets the package before.
func (r *reader) begin() {
	r.failed, r.said, r.panic, r.others, r.test, r.open = nil, map[string][]*message{}, nil, nil, "", nil
}

// listen opens a message.
func (r *reader) listen(first string, more *regexp.Regexp) *message {
	r.open, r.more = &message{first}, more
	return r.open
}

func (r *reader) line(s string) {
	if m := speaks.FindStringSubmatch(s); m != nil {
		r.test, r.open = m[1], nil
	} else if m := ends.FindStringSubmatch(s); m != nil {
		r.test, r.open = m[2], nil
		if m[1] == "FAIL" {
			r.failed = append(r.failed, m[2])
		} else {
			delete(r.said, m[2])
		}
	} else if m := says.FindStringSubmatch(s); m != nil {
		said := r.listen(m[1], saysMore)
		if !strings.Contains(m[1], programLog) {
			r.said[r.test] = append(r.said[r.test], said)
		}
	} else if m := over.FindStringSubmatch(s); m != nil {
		if strings.HasPrefix(s, "FAIL") {
			r.fail(m[1])
		}
		r.begin()
	} else if unmade.MatchString(s) {
		if len(r.failures) == r.made { // it is no test
			r.failures = append(r.failures, failure{title: s})
		}
		r.made = len(r.failures)
	} else if m := builds.FindStringSubmatch(s); m != nil {
		r.builds[m[1]] = r.listen(s, buildsMore)
	} else if panics.MatchString(s) {
		r.panic = r.listen(s, panicsMore)
	} else if nothing.MatchString(s) {
		return
	} else if r.open == nil {
		r.others = append(r.others, s)
	} else if m := r.more.FindStringSubmatch(s); m != nil {
		if r.open != r.panic || !library.MatchString(s) && len(*r.panic) < maxPanic {
			*r.open = append(*r.open, m[1])
		}
	} else if r.open != r.panic {
		r.others = append(r.others, s)
		r.open = nil
	}
}

// fail adds what has failed in a package that has ended.
func (r *reader) fail(name string) {
	before := len(r.failures)
	for _, test := range r.failed {
		if len(r.said[test]) > 0 || !r.within(test) {
			r.failures = append(r.failures, failure{"--- FAIL: " + name + " " + test, name, test, r.said[test]})
		}
	}
	whole := failure{title: "FAIL " + name, pkg: name}
	if r.panic != nil {
		whole.messages = []*message{r.panic}
	} else if b := r.builds[name]; b != nil {
		whole.messages = []*message{b}
	} else if len(r.failures) > before {
		return
	} else if n := len(r.others); n > 0 {
		last := r.others[max(0, n-maxLast):]
		whole.messages = []*message{&last}
	}
	r.failures = append(r.failures, whole)
}

// within says whether a test failed because one within it has.
func (r *reader) within(test string) bool {
	for _, other := range r.failed {
		if strings.HasPrefix(other, test+"/") {
			return true
		}
	}
	return false
}
