package e2e

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"wasmxds/e2e/wasmtest"
)

// TestHostileModules: modules that take all the memory and time that they are
// given, among good filters under load. No request fails, changes go on while
// they are tried, and after a kill nothing of them is left running.
func TestHostileModules(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("needs /proc")
	}
	eachOnce(t, func(t *testing.T, c combination) {
		f := newFleet(t)
		f.write("listeners.yaml", f.listener("web")+"---\n"+f.listener("other"))
		good := func(value string) string {
			return filter("good", f.module(wasmtest.Filter{Header: "x-good", Value: value}), "attach: {listeners: [web]}")
		}
		f.write("good.yaml", good("1"))
		f.serve()
		e := f.envoy(c, "edge-1")
		l := e.load("web", "x-good")
		f.seen(l, e.Started, "x-good", "1")

		hostile := map[string]wasmtest.Filter{
			"locals": {Bomb: wasmtest.HugeLocals},
			"table":  {Bomb: wasmtest.HugeTable},
			"memory": {Bomb: wasmtest.LargeTables},
			"slow":   {Bomb: wasmtest.SlowCode, Fault: wasmtest.SpinInConfigure},
			"branch": {Bomb: wasmtest.WideBranch, Fault: wasmtest.SpinInConfigure},
			"spin":   {Fault: wasmtest.SpinInConfigure},
		}
		for name, m := range hostile {
			f.write(name+".yaml", filter(name, f.module(m), "attach: {listeners: [other]}"))
		}
		start := f.write("good.yaml", good("2"))
		f.seen(l, start, "x-good", "2")
		var trials []string
		f.eventually(func() error {
			if trials = trialsOf(f.server.PID()); len(trials) == 0 {
				return errors.New("nothing is being tried")
			}
			return nil
		})
		f.restartServer()
		f.eventually(func() error {
			for _, pid := range trials {
				if isTrial(pid) {
					return fmt.Errorf("the trial %s of the server that was killed still runs", pid)
				}
			}
			return nil
		})
		start = f.write("good.yaml", good("3"))
		f.seen(l, start, "x-good", "3")
		f.good(l)
	})
}

// trialsOf gives the processes that try modules for a server.
func trialsOf(server int) []string {
	var found []string
	children, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", server)) // its pattern is good
	for _, path := range children {
		pids, _ := os.ReadFile(path) // none of a thread that has ended
		for _, pid := range strings.Fields(string(pids)) {
			if isTrial(pid) {
				found = append(found, pid)
			}
		}
	}
	return found
}

// isTrial says whether a process tries modules; one that has ended does not.
func isTrial(pid string) bool {
	command, err := os.ReadFile("/proc/" + pid + "/cmdline")
	return err == nil && string(command) == "xds-server\x00trial\x00"
}

// TestCallbackTypes: Envoy refuses what the dry run refuses for the type of a
// callback, and takes what it takes.
func TestCallbackTypes(t *testing.T) {
	eachCombination(t, func(t *testing.T, c combination) {
		f := newFleet(t)
		f.write("web.yaml", f.listener("web"))
		f.serve()
		e := f.envoy(c, "edge-1")
		odd := []wasmtest.Function{
			{Name: "proxy_on_log", Params: 2}, {Name: "proxy_on_done", Params: 1}, {Name: "proxy_on_request_body", Params: 2, Results: 1},
			{Name: "main", Params: 1, Results: 1}, {Name: "malloc", Params: 2, Results: 1}, {Name: "proxy_on_foreign_function", Params: 1},
		}
		for i, function := range odd {
			name := fmt.Sprintf("odd-%d", i)
			m := f.module(wasmtest.Filter{Header: "x-odd", Value: "1", Exports: []wasmtest.Function{function}})
			f.write(name+".yaml", filter(name, m, "verify: abi"))
			f.eventually(func() error {
				log, err := os.ReadFile(e.Log())
				if err == nil && !strings.Contains(string(log), "Bad function signature for: "+function.Name) {
					err = fmt.Errorf("Envoy has not refused %s", function.Name)
				}
				return err
			})
			f.remove(name + ".yaml")
		}
		taken := wasmtest.Filter{Header: "x-good", Value: "1", Exports: []wasmtest.Function{{Name: "_start", Params: 5}, {Name: "proxy_on_nothing", Params: 5}}}
		start := f.write("good.yaml", filter("good", f.module(taken)))
		l := e.load("web", "x-good")
		f.seen(l, start, "x-good", "1")
	})
}
