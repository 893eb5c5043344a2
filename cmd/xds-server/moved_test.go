package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"wasmxds/admin"
	"wasmxds/definition"
	"wasmxds/module"
	"wasmxds/resource"
	"wasmxds/rollout"
	"wasmxds/xds"
)

// fileMover is an admin.Mover whose changes are in a script's rollouts.json. What
// it is told goes into told.txt, and VERB.json, if there is one, is how things
// are then.
type fileMover struct {
	dir string
	mu  sync.Mutex
}

func (m *fileMover) Status(context.Context) (rollout.Status, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var st rollout.Status
	b, err := os.ReadFile(filepath.Join(m.dir, "rollouts.json"))
	if err == nil {
		err = json.Unmarshal(b, &st)
	}
	return st, err
}

func (m *fileMover) Do(_ context.Context, c rollout.Command) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if c.Verb == rollout.Resume {
		return fmt.Errorf("%s can't be resumed: %w", c.ID, rollout.ErrNot)
	}
	next, err := os.ReadFile(filepath.Join(m.dir, string(c.Verb)+".json"))
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return err
	default:
		if err := os.WriteFile(filepath.Join(m.dir, "next"), next, 0o644); err != nil {
			return err
		}
		if err := os.Rename(filepath.Join(m.dir, "next"), filepath.Join(m.dir, "rollouts.json")); err != nil {
			return err
		}
	}
	line, err := json.Marshal(c)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(m.dir, "told.txt"), append(line, '\n'), 0o644)
}

// oneEnvoy is a fleet of one that runs all that is wanted.
type oneEnvoy struct{}

func (oneEnvoy) Nodes(string, int) ([]xds.NodeStatus, string) {
	return []xds.NodeStatus{{ID: "edge-1"}}, ""
}
func (oneEnvoy) Node(string) (xds.NodeStatus, bool) { return xds.NodeStatus{}, false }
func (oneEnvoy) Generation() uint64                 { return 0 }
func (oneEnvoy) Summary() (xds.NodeCount, map[string]xds.FilterCount) {
	return xds.NodeCount{Connected: 1}, map[string]xds.FilterCount{}
}

// noCatalog has nothing for anybody.
type noCatalog struct{}

func (noCatalog) Snapshot(definition.Node) *resource.Snapshot { return nil }
func (noCatalog) Filter(string) *resource.Filter              { return nil }

// moving serves the changes in rollouts.json at $XDS_SERVER_ADMIN, to be changed
// with the token in operate.token.
func moving(ts *testscript.TestScript, _ bool, _ []string) {
	token, err := admin.NewToken(ts.MkAbs("operate.token"), slog.New(slog.DiscardHandler))
	ts.Check(err)
	s := admin.New(admin.Options{
		Fleet: oneEnvoy{}, Rollouts: &fileMover{dir: ts.MkAbs(".")}, Operators: admin.Operators{Token: token},
		Release: func(context.Context, string) error { return nil },
	})
	loaded := admin.Loaded{Set: &module.Set{}, Catalog: noCatalog{}, Changed: time.Now(), Problems: []definition.Problem{}}
	if _, err := os.Stat(ts.MkAbs("held")); err == nil {
		loaded.Held = admin.Held{ID: "removal-0123456789ab", Definitions: 5, Of: 6}
	}
	if _, err := os.Stat(ts.MkAbs("mistake")); err == nil {
		loaded.Problems = []definition.Problem{{File: "hello.yaml", Line: 1, Message: "not YAML"}}
	}
	s.Loaded(loaded)
	srv := httptest.NewServer(s.Handler())
	ts.Defer(srv.Close)
	ts.Setenv("XDS_SERVER_ADMIN", srv.URL)
}
