package module

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"time"

	"github.com/google/renameio/v2"
)

// saver writes the file of what is good, off the loop: what comes in a burst is
// written once, what can't be written is tried again.
//
// The file is always whole, and a moment behind: a process that is killed loses
// what became good in its last half second. The modules are kept as they come,
// so the next process finds all of it again from the definitions, tries it
// anew, and publishes the same. Only where a module is not pinned and its
// origin is away at that moment are Envoys swapped back to the version before,
// until the origin is there again.
type saver struct {
	file    string // "": nothing is written
	log     *slog.Logger
	changed chan struct{}
	lines   map[line][]byte // as they were written last
}

const (
	saveAfter = 500 * time.Millisecond // a change
	saveAgain = 10 * time.Second       // after what could not be written
)

func newSaver(file string, log *slog.Logger) *saver {
	return &saver{file: file, log: log, changed: make(chan struct{}, 1)}
}

// worth is what is worth to be saved.
type worth struct{ filters, origins []line }

// line is a line of the file. Equal ones, by ==, encode to the same.
type line interface{ encode() ([]byte, error) }

// worth gives what is good now. It is for the goroutine of run, or once that
// has ended.
func (l *loop) worth() worth {
	var w worth
	for _, f := range l.wanted.Filters {
		if g := l.filters[f.Name].good; g.definition != nil {
			w.filters = append(w.filters, g)
		}
	}
	for key, k := range l.memory.origins {
		w.origins = append(w.origins, savedOrigin{key.url, string(key.pull), key.secret, k.Validators, k.info})
	}
	return w
}

// ask gives worth to another goroutine; false: ctx ended before.
func (l *loop) ask(ctx context.Context) (worth, bool) {
	answer := make(chan worth, 1)
	l.post(ctx, func() { answer <- l.worth() })
	select {
	case <-ctx.Done():
		return worth{}, false
	case w := <-answer:
		return w, true
	}
}

// tell says that something changed. It doesn't block.
func (s *saver) tell() {
	if s.file == "" {
		return
	}
	select {
	case s.changed <- struct{}{}:
	default: // it was told already
	}
}

// run saves what ask gives, some time after each change, until ctx ends.
func (s *saver) run(ctx context.Context, ask func(context.Context) (worth, bool)) {
	for wait := saveAfter; ; {
		select {
		case <-ctx.Done():
			return
		case <-s.changed:
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
		w, ok := ask(ctx)
		if !ok {
			return
		}
		wait = saveAfter
		if err := s.write(w); err != nil {
			s.log.Error("what is good now would not survive a restart", "error", err)
			wait = saveAgain
			s.tell()
		}
	}
}

// write replaces the file.
func (s *saver) write(w worth) error {
	if s.file == "" {
		return nil
	}
	err := s.replace(w)
	if err != nil {
		return fmt.Errorf("save the state of modules: %w", err)
	}
	return nil
}

func (s *saver) replace(w worth) error {
	f, err := renameio.NewPendingFile(s.file, renameio.WithPermissions(0o600))
	if err != nil {
		return err
	}
	defer f.Cleanup()
	out := bufio.NewWriterSize(f, 64<<10)
	if err := s.encode(out, w); err != nil {
		return err
	}
	if err := out.Flush(); err != nil {
		return err
	}
	return f.CloseAtomicallyReplace()
}

// encode writes a savedState, one line after the other. Only what is new is
// marshalled; errors of out are for whoever flushes it.
func (s *saver) encode(out *bufio.Writer, w worth) error {
	before := s.lines
	s.lines = make(map[line][]byte, len(w.filters)+len(w.origins))
	fmt.Fprintf(out, `{"version":%d`, savedVersion)
	for _, part := range []struct {
		name  string
		lines []line
	}{{"filters", w.filters}, {"origins", w.origins}} {
		fmt.Fprintf(out, `,%q:[`, part.name)
		for i, r := range part.lines {
			b, there := before[r]
			if !there {
				var err error
				if b, err = r.encode(); err != nil {
					return err
				}
			}
			s.lines[r] = b
			out.WriteString([...]string{"\n", ",\n"}[min(i, 1)])
			out.Write(b)
		}
		out.WriteString("]")
	}
	out.WriteString("}\n")
	return nil
}

func (o savedOrigin) encode() ([]byte, error) { return json.Marshal(o) }

func (g good) encode() ([]byte, error) {
	d := savedDefinition{Filter: *g.definition}
	if err := d.pack(); err != nil {
		return nil, err
	}
	return json.Marshal(savedFilter{d, g.module, g.key})
}
