package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"wasmxds/e2e/wasmtest"
)

// disk is the data directory, on which there can be no room.
type disk struct {
	t       *testing.T
	dir     string
	mounted bool
}

// newDisk makes the data directory of a fleet a small file system of its own.
// Where that can't be, what fills it up is a file in place of the folder of
// modules: nothing can be written there either.
func (f *fleet) newDisk() *disk {
	f.t.Helper()
	d := &disk{t: f.t, dir: filepath.Join(f.dir, "data")}
	must(f.t, os.Mkdir(d.dir, 0o755))
	d.mounted = mountDisk(f.t, d.dir, 4<<20)
	return d
}

// fill takes all room, and gives what errors of writing say then.
func (d *disk) fill() string {
	d.t.Helper()
	if !d.mounted {
		must(d.t, os.Rename(d.path("modules"), d.path("modules.away")))
		must(d.t, os.WriteFile(d.path("modules"), nil, 0o644))
		return "not a directory"
	}
	file, err := os.Create(d.path("filler"))
	must(d.t, err)
	defer file.Close()
	for size := 64 << 10; size > 0; { // less and less, to the last byte
		if _, err := file.Write(make([]byte, size)); err != nil {
			size /= 2
		}
	}
	return "no space left on device"
}

func (d *disk) free() {
	d.t.Helper()
	if d.mounted {
		must(d.t, os.Remove(d.path("filler")))
		return
	}
	must(d.t, os.Remove(d.path("modules")))
	must(d.t, os.Rename(d.path("modules.away"), d.path("modules")))
}

func (d *disk) path(name string) string { return filepath.Join(d.dir, name) }

// TestFullDisk: a module that finds no room stays where it is, and says so;
// what runs goes on, across a restart too, and when there is room it comes.
func TestFullDisk(t *testing.T) {
	f := newFleet(t)
	disk := f.newDisk()
	f.write("web.yaml", f.listener("web"))
	hello := func(value string) time.Time {
		return f.write("hello.yaml", filter("hello", f.module(wasmtest.Filter{Header: "x-hello", Value: value, Size: 1 << 20})))
	}
	hello("1")
	f.serve()
	e := f.envoy(newest(), "edge-1")
	l := e.load("web", "x-hello")
	f.seen(l, e.Started, "x-hello", "1")

	why := disk.fill()
	start := hello("2")
	f.eventually(func() error {
		status, err := f.server.Status(t.Context())
		if err == nil && (len(status.Filters) != 1 || !strings.Contains(status.Filters[0].Reason, why)) {
			err = fmt.Errorf("the status says %+v, want the reason %s", status.Filters, why)
		}
		return err
	})
	if disk.mounted { // else the modules are out of sight, and a start would be refused
		f.restartServer()
		f.eventually(func() error {
			status, err := f.server.Status(t.Context())
			if err == nil && len(status.Nodes) != 1 {
				err = fmt.Errorf("no Envoy is connected")
			}
			return err
		})
	}
	disk.free()
	f.seen(l, start, "x-hello", "2")
	e.runs("hello")
	f.good(l)
}

// TestNoDirectory: a directory of definitions that is gone takes nothing away,
// nor does a restart meanwhile; when it is back, what is in it counts.
func TestNoDirectory(t *testing.T) {
	f := newFleet(t)
	f.write("web.yaml", f.listener("web"))
	f.hello("1")
	f.serve()
	e := f.envoy(newest(), "edge-1")
	l := e.load("web", "x-hello")
	f.seen(l, e.Started, "x-hello", "1")
	e.runs("hello")

	away := f.definitions + ".away"
	told := func() {
		t.Helper()
		f.eventually(func() error {
			status, err := f.server.Status(t.Context())
			if err == nil && (len(status.Definitions.Errors) == 0 || status.Definitions.Loaded != 2) {
				err = fmt.Errorf("the status has %d definitions and the errors %+v", status.Definitions.Loaded, status.Definitions.Errors)
			}
			return err
		})
	}
	must(t, os.Rename(f.definitions, away))
	told()
	f.restartServer()
	told()
	fresh := f.envoy(newest(), "edge-2") // gets what was there
	f.seen(fresh.load("web", "x-hello"), fresh.Started, "x-hello", "1")

	must(t, os.Rename(away, f.definitions))
	start := f.hello("2")
	f.seen(l, start, "x-hello", "2")
	e.runs("hello")
	f.good(l)
}

// TestClock: what is written while the clock is wrong is noticed all the same,
// be it older or newer than anything before.
func TestClock(t *testing.T) {
	f := newFleet(t)
	f.write("web.yaml", f.listener("web"))
	// put writes a file in one step, as if at a time.
	put := func(path string, content []byte, at time.Time) time.Time {
		t.Helper()
		temporary := filepath.Join(f.dir, "temporary")
		must(t, os.WriteFile(temporary, content, 0o644))
		must(t, os.Chtimes(temporary, at, at))
		must(t, os.Rename(temporary, path))
		return time.Now()
	}
	module := func(value string, at time.Time) time.Time {
		t.Helper()
		return put(filepath.Join(f.dir, "hello.wasm"), wasmtest.Filter{Header: "x-hello", Value: value}.Module(), at)
	}
	echo := f.module(wasmtest.Filter{Header: "x-echo", FromConfig: true})
	config := func(value string, at time.Time) time.Time {
		t.Helper()
		return put(filepath.Join(f.definitions, "echo.yaml"), []byte(filter("echo", echo, fmt.Sprintf("config: %q", value))), at)
	}
	module("0", time.Now())
	config("0", time.Now())
	f.write("hello.yaml", filter("hello", "../hello.wasm"))
	f.serve()
	e := f.envoy(newest(), "edge-1")
	l := e.load("web", "x-hello", "x-echo")
	f.seen(l, e.Started, "x-hello", "0")
	for i, at := range []time.Time{
		time.Now().Add(-time.Hour),
		time.Date(1971, 1, 1, 0, 0, 0, 0, time.UTC),
		time.Date(2099, 1, 1, 0, 0, 0, 0, time.UTC),
		time.Now(),
	} {
		value := fmt.Sprint(i + 1)
		f.seen(l, module(value, at), "x-hello", value)
		f.seen(l, config(value, at), "x-echo", value)
	}
	e.runs("hello")
	f.good(l)
}
