package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"wasmxds/e2e/wasmtest"
)

// fault is something that happens: a change, a bad one, or that something
// breaks. What it breaks for a while, it has mended when strike returns.
type fault struct {
	name   string
	strike func(ctx context.Context, s *stage) error
}

// any is one of the filters that are there.
func (s *stage) any() string {
	names := s.all()
	return names[s.random.IntN(len(names))]
}

func (s *stage) extras() []string { return slices.Sorted(maps.Keys(s.extra)) }

// all are the filters that are there.
func (s *stage) all() []string { return append(s.extras(), append([]string{tap}, lasting...)...) }

func (s *stage) anyEnvoy() *envoy { return s.envoys[s.random.IntN(len(s.envoys))] }

// change gives any filter another module.
func (s *stage) change() error {
	return s.put(s.any(), wasmtest.Filter{Value: strconv.Itoa(s.revision)}, "")
}

// changes are those of definitions.
func changes() []fault {
	bad := func(name string, m wasmtest.Filter, lines string) fault {
		return fault{name, func(_ context.Context, s *stage) error {
			m.Value = "bad " + strconv.Itoa(s.revision)
			return s.put(s.any(), m, lines)
		}}
	}
	return []fault{
		{"module", func(_ context.Context, s *stage) error { return s.change() }},
		{"configuration", func(_ context.Context, s *stage) error {
			return s.put(s.any(), wasmtest.Filter{Value: "the same"}, "")
		}},
		{"burst", func(_ context.Context, s *stage) error {
			for range 10 {
				if err := s.change(); err != nil {
					return err
				}
			}
			return nil
		}},
		{"filter comes or goes", func(_ context.Context, s *stage) error {
			name := fmt.Sprintf("extra-%d", s.random.IntN(4))
			if s.extra[name] {
				delete(s.extra, name)
				return os.Remove(filepath.Join(s.definitions(), name+".yaml"))
			}
			s.extra[name] = true
			where := []string{"", "attach: {listeners: [web], routes: [changing]}\n"}[s.random.IntN(2)]
			return s.put(name, wasmtest.Filter{Value: strconv.Itoa(s.revision)}, fmt.Sprintf("%sorder: %d\n", where, s.random.IntN(20)-10))
		}},
		{"routes", func(_ context.Context, s *stage) error { return s.reroute() }},
		{"routes in a burst", func(_ context.Context, s *stage) error {
			for range 5 {
				if err := errors.Join(s.reroute(), s.put(lasting[s.random.IntN(2)], wasmtest.Filter{Value: strconv.Itoa(s.revision)}, "")); err != nil {
					return err
				}
			}
			return nil
		}},
		{"routes refused", func(ctx context.Context, s *stage) error { return s.misroute(ctx, "") }},
		{"routes refused by Envoy", func(ctx context.Context, s *stage) error { return s.misroute(ctx, unverified) }},
		{"routes are no YAML", func(_ context.Context, s *stage) error { return s.write("web", "kind: [Listener\n") }},
		{"listener comes or goes", func(_ context.Context, s *stage) error {
			err := os.Remove(filepath.Join(s.definitions(), "other.yaml"))
			if os.IsNotExist(err) {
				return s.write("other", s.other())
			}
			return err
		}},
		{"no YAML", func(_ context.Context, s *stage) error { return s.write(s.any(), "kind: [WasmFilter\n") }},
		{"unknown field", func(_ context.Context, s *stage) error {
			name := s.any()
			return s.write(name, "kind: WasmFilter\nname: "+name+"\nmodul: {}\n")
		}},
		{"no module", func(_ context.Context, s *stage) error {
			name := s.any()
			return s.write(name, "kind: WasmFilter\nname: "+name+"\nmodule: {url: ../gone.wasm}\n")
		}},
		bad("trap at start", wasmtest.Filter{Fault: wasmtest.TrapInVMStart}, ""),
		bad("refused by Envoy", wasmtest.Filter{Fault: wasmtest.RejectConfigure}, unverified),
		bad("trap in Envoy", wasmtest.Filter{Fault: wasmtest.TrapInConfigure}, unverified),
		bad("missing import", wasmtest.Filter{Import: "no_such_call"}, unverified),
		{"hostile module", func(_ context.Context, s *stage) error {
			bombs := []wasmtest.Bomb{wasmtest.HugeLocals, wasmtest.ManyLocals, wasmtest.HugeTable, wasmtest.LargeTables, wasmtest.DeepBlocks, wasmtest.SlowCode, wasmtest.WideBranch}
			return s.put(s.any(), wasmtest.Filter{Value: strconv.Itoa(s.revision), Bomb: bombs[s.random.IntN(len(bombs))]}, "")
		}},
		{"hole", func(ctx context.Context, s *stage) error { return s.hole(ctx) }},
		{"directory emptied", func(ctx context.Context, s *stage) error { return s.emptied(ctx) }},
	}
}

// hole drops in a filter that can't be read and never could, for a while. The
// listeners in force go on meanwhile, also on an Envoy that starts.
func (s *stage) hole(ctx context.Context) error {
	broken := []string{"kind: [WasmFilter\n", "kind: WasmFilter\nname: hole\nmodul: {}\n", "kind: WasmFilter\nname: hole\nmodule: {url: ../gone.wasm, fetch: direct}\n", "a"}
	if err := s.write("hole", broken[s.random.IntN(len(broken))]); err != nil {
		return err
	}
	err := wait(ctx, time.Duration(s.random.IntN(300))*time.Millisecond)
	if err == nil && s.random.IntN(2) == 0 {
		err = s.restartEnvoy(ctx)
	} else if err == nil {
		err = errors.Join(s.change(), wait(ctx, time.Duration(s.random.IntN(1000))*time.Millisecond))
	}
	return errors.Join(err, os.Remove(filepath.Join(s.definitions(), "hole.yaml")))
}

// restartEnvoy kills an Envoy and starts it again; something changes meanwhile.
func (s *stage) restartEnvoy(ctx context.Context) error {
	e := s.anyEnvoy()
	if err := e.Running(); err != nil { // it has died by itself
		return err
	}
	for _, l := range e.loads {
		l.Hold()
	}
	e.disconnect()
	e.Kill()
	if err := errors.Join(s.mendVariants(), s.change()); err != nil {
		return err
	}
	if err := e.Start(ctx); err != nil {
		return err
	}
	address, err := e.address(ctx, "web")
	for _, l := range e.loads {
		l.Target(address)
	}
	return errors.Join(err, e.connect(ctx))
}

// emptied takes all definitions away for a while, as a volume does that is not
// mounted. What they say is to go on.
func (s *stage) emptied(ctx context.Context) error {
	away := filepath.Join(s.dir, "away")
	if err := os.Rename(s.definitions(), away); err != nil {
		return err
	}
	if err := os.Mkdir(s.definitions(), 0o755); err != nil {
		return err
	}
	if err := wait(ctx, time.Duration(s.random.IntN(1500))*time.Millisecond); err != nil {
		return err
	}
	files, err := filepath.Glob(filepath.Join(away, "*"))
	for _, file := range files {
		if err == nil {
			err = os.Rename(file, filepath.Join(s.definitions(), filepath.Base(file)))
		}
	}
	return errors.Join(err, os.Remove(away))
}

// cuts are of the network. While something is cut or slow, something changes.
func cuts() []fault {
	briefly := func(ctx context.Context, s *stage) error {
		if err := s.change(); err != nil {
			return err
		}
		return wait(ctx, time.Duration(s.random.IntN(1500))*time.Millisecond)
	}
	return []fault{
		{"stream cut", func(_ context.Context, s *stage) error {
			s.anyEnvoy().xds.Cut()
			return nil
		}},
		{"streams down", func(ctx context.Context, s *stage) error {
			e := s.anyEnvoy()
			e.xds.Down()
			defer e.xds.Up()
			return briefly(ctx, s)
		}},
		{"downloads cut", func(_ context.Context, s *stage) error {
			err := s.change()
			s.modules.Cut()
			return err
		}},
		{"downloads down", func(ctx context.Context, s *stage) error {
			s.modules.Down()
			defer s.modules.Up()
			return briefly(ctx, s)
		}},
		{"downloads slow", func(ctx context.Context, s *stage) error {
			s.modules.Delay(time.Duration(s.random.IntN(200))*time.Millisecond, time.Duration(s.random.IntN(200))*time.Millisecond)
			defer s.modules.Delay(0, 0)
			return briefly(ctx, s)
		}},
		{"all played Envoys cut", func(_ context.Context, s *stage) error {
			for _, f := range s.played {
				f.Cut()
			}
			return s.change()
		}},
		{"Envoy killed", func(ctx context.Context, s *stage) error { return s.restartEnvoy(ctx) }},
	}
}

// kills are of xds-server.
func kills() []fault {
	return []fault{
		{"xds-server killed", func(ctx context.Context, s *stage) error {
			if err := s.server.Running(); err != nil {
				return err
			}
			if err := s.change(); err != nil {
				return err
			}
			if err := wait(ctx, time.Duration(s.random.IntN(200))*time.Millisecond); err != nil {
				return err
			}
			s.server.Kill()
			if err := wait(ctx, time.Duration(s.random.IntN(500))*time.Millisecond); err != nil {
				return err
			}
			return s.server.Start(ctx)
		}},
		{"xds-server restarted", func(ctx context.Context, s *stage) error {
			if err := s.server.Stop(); err != nil {
				return err
			}
			if err := s.change(); err != nil {
				return err
			}
			return s.server.Start(ctx)
		}},
	}
}
