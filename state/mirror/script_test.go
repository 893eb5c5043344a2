package mirror

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/datadriven"

	"wasmxds/state"
	"wasmxds/state/local"
)

// TestScripts plays faults of processes that write behind to a store that they share. WORDS
// are "key=value" or "-key". Time passes only where a script waits.
//
//	start NAME              starts a process, from its copy if it has one
//	put NAME WORDS          has it write, behind
//	flush NAME              has it write, and wait, for at most 20 s
//	lead NAME               has it lead, as soon as it can; what it puts below rollout/
//	                        from then on it writes in that term
//	kill NAME               kills it: from here on it writes nothing
//	lose NAME               lets others lead, which it doesn't notice
//	store NAME HOW          how it reaches the shared store from now on: hangs (writes are
//	                        neither done nor answered), late (the same, but the store does
//	                        them when it is there again), deaf (writes are done, but not
//	                        answered), away, there
//	disk NAME full|free     its disk
//	others WORDS            somebody else writes
//	wait DURATION
//	copy NAME               what it would find if it were started now; ? is pending
//	shared                  the content of the shared store
func TestScripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	for _, path := range files {
		t.Run(filepath.Base(path), func(t *testing.T) {
			dir := t.TempDir()
			synctest.Test(t, func(t *testing.T) { play(t, dir, path) })
		})
	}
}

func play(t *testing.T, dir, path string) {
	s := &scene{t: t, dir: dir, shared: opened(t, filepath.Join(dir, "shared.db")), actors: map[string]*actor{}}
	defer s.end()
	datadriven.RunTest(t, path, func(_ *testing.T, d *datadriven.TestData) string {
		var words []string
		for _, a := range d.CmdArgs {
			words = append(words, a.String())
		}
		if d.Cmd == "store" || d.Cmd == "disk" {
			s.actor(words[0])
		}
		out := s.do(d.Cmd, words)
		synctest.Wait()
		return out
	})
}

// scene is a shared store and its processes.
type scene struct {
	t      *testing.T
	dir    string
	shared *local.Store
	actors map[string]*actor
}

// actor is a process, which can be started repeatedly.
type actor struct {
	gate *gate
	disk *brittle // nil: it does not run
	*Store
	kept  *state.Writer
	term  gatedTerm
	led   *state.Writer // nil: it does not lead
	stop  func()
	ended sync.WaitGroup
}

func (s *scene) actor(name string) *actor {
	a := s.actors[name]
	if a == nil {
		a = &actor{gate: newGate(s.shared)}
		s.actors[name] = a
	}
	return a
}

func (s *scene) do(cmd string, args []string) string {
	s.t.Helper()
	switch cmd {
	case "others":
		_, err := s.shared.Apply(s.t.Context(), ops(args...))
		must(s.t, err)
	case "shared":
		return contents(s.t, s.shared)
	case "wait":
		d, err := time.ParseDuration(args[0])
		must(s.t, err)
		time.Sleep(d)
	default:
		return s.actor(args[0]).do(s, cmd, args[0], args[1:])
	}
	return ""
}

func (a *actor) do(s *scene, cmd, name string, args []string) string {
	switch cmd {
	case "start":
		a.start(s, name)
	case "put":
		for _, op := range ops(args...) {
			w := a.kept
			if a.led != nil && strings.HasPrefix(op.Key, "rollout/") {
				w = a.led
			}
			if op.Remove {
				w.View("").Remove(op.Key)
			} else {
				w.View("").PutBytes(op.Key, op.Value)
			}
		}
	case "flush":
		return a.flush(s.t)
	case "lead":
		a.lead(s.t)
	case "lose":
		a.term.Term.End()
	case "kill":
		a.kill()
	case "store":
		a.gate.set(strings.TrimPrefix(args[0], "there"))
	case "disk":
		a.disk.set(map[string]error{"full": errors.New("no space left on device")}[args[0]])
	case "copy":
		return a.copy(s, name)
	default:
		s.t.Fatalf("no command %q", cmd)
	}
	return ""
}

func (a *actor) start(s *scene, name string) {
	a.disk = &brittle{Store: opened(s.t, filepath.Join(s.dir, name+".db"))}
	if how, _ := a.gate.is(); how == "gone" {
		a.gate.set("")
	}
	o := Options{Name: "elsewhere", Remote: a.gate, Local: a.disk, Shared: []string{"a/", "b/", "rollout/"},
		Whole: []string{"b/", "rollout/"}, Led: []string{"rollout/"}, Wait: time.Second, Log: slog.New(slog.DiscardHandler)}
	var err error
	a.Store, err = Open(s.t.Context(), o)
	must(s.t, err)
	ctx, cancel := context.WithCancel(s.t.Context())
	a.kept, a.stop = state.NewWriter(a.Store, o.Log), cancel
	a.ended.Go(func() { a.Store.Run(ctx) })
	a.ended.Go(func() { a.kept.Run(ctx) })
}

func (a *actor) flush(t *testing.T) string {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	w := a.kept
	if a.led != nil {
		w = a.led
	}
	if err := w.Flush(ctx); err != nil {
		return err.Error()
	}
	return "written"
}

// lead waits for a term, and ends it with the process.
func (a *actor) lead(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	t1, err := a.Lead(ctx, "waves")
	must(t, err)
	a.term = t1.(term).Term.(gatedTerm)
	a.led = state.NewWriter(t1.Store(), slog.New(slog.DiscardHandler))
	stop, led := a.stop, a.led
	a.stop = func() { cancel(); stop() }
	a.ended.Go(func() { led.Run(ctx) })
}

func (a *actor) kill() {
	a.disk.set(errors.New("killed"))
	a.gate.set("gone")
	a.stop()
	a.ended.Wait()
	_ = a.disk.Close()
	a.disk, a.led = nil, nil
}

// copy returns the content of the disk alone.
func (a *actor) copy(s *scene, name string) string {
	var disk state.Store
	if a.disk != nil {
		disk = a.disk
	} else {
		f, err := local.Open(filepath.Join(s.dir, name+".db"), slog.New(slog.DiscardHandler))
		must(s.t, err)
		defer f.Close()
		disk = f
	}
	entries, _, err := disk.List(s.t.Context(), "")
	must(s.t, err)
	values, owed := map[string]string{}, map[string]bool{}
	for _, e := range entries {
		if key, is := strings.CutPrefix(e.Key, markKeys); is {
			m, err := parseMark(e.Value)
			must(s.t, err)
			owed[key] = m.pending
		} else if !strings.HasPrefix(e.Key, ".") {
			values[e.Key] = string(e.Value)
		}
	}
	var words []string
	for key, value := range values {
		word := fmt.Sprintf("%s=%s", key, value)
		if owed[key] {
			word += "?"
		}
		words = append(words, word)
	}
	for key, is := range owed {
		if _, there := values[key]; is && !there {
			words = append(words, "-"+key+"?")
		}
	}
	slices.Sort(words)
	return strings.Join(words, " ")
}

func (s *scene) end() {
	for _, a := range s.actors {
		if a.disk != nil {
			a.kill()
		}
	}
}
