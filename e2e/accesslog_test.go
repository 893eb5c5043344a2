package e2e

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"wasmxds/e2e/harness"
	"wasmxds/e2e/wasmtest"
)

// TestAccessLogger: a Wasm access logger comes, changes, is refused, and goes, with
// requests under way all the time: none fails, none passes without the listener's
// filter, and every one is logged, by either version.
func TestAccessLogger(t *testing.T) {
	eachCombination(t, func(t *testing.T, c combination) {
		f := newFleet(t)
		f.write("web.yaml", f.listener("web"))
		f.hello("1")
		logger := func(m wasmtest.Filter, lines ...string) time.Time {
			return f.write("logger.yaml", filter("logger", f.module(m), append(lines, "place: accessLog")...))
		}
		counting := func(name string) wasmtest.Filter { return wasmtest.Filter{Header: "x", Value: name, Counts: name} }
		logger(counting("first"))
		f.serve()
		e := f.envoy(c, "edge-1")
		l := e.load("web", "x-hello")
		f.seen(l, e.Started, "x-hello", "1")
		first := e.runs("logger")

		took := e.logs(logger(counting("second")), "second")
		second := e.runs("logger")
		if first.Running == second.Running {
			t.Errorf("both versions are %s", first.Running)
		}
		if ofLogger, web := e.draining("logger", "web"); ofLogger == nil || web == nil {
			t.Errorf("the status says nothing of older connections: %v, %v", ofLogger, web)
		}
		if hello, _ := e.draining("hello", "web"); hello != nil {
			t.Errorf("all connections have the filter, and yet: %+v", hello)
		}
		t.Logf("the next version logs after %v", took.Round(time.Millisecond))

		// What Envoy refuses, what there is not, and what logs nothing change nothing.
		refusing := counting("third")
		refusing.Fault = wasmtest.RejectConfigure
		for _, bad := range []struct {
			reason string
			write  func() time.Time
		}{
			{"no such file", func() time.Time { return f.write("logger.yaml", filter("logger", "../none.wasm", "place: accessLog")) }},
			{"exports no proxy_on_log", func() time.Time { return logger(wasmtest.Filter{Header: "x", Value: "y"}) }},
			{"rejects the module", func() time.Time { return logger(refusing, "verify: abi") }},
		} {
			bad.write()
			f.eventually(func() error {
				out, err := f.server.Run(t.Context(), f.statusArgs()...)
				if err == nil && !strings.Contains(string(out), bad.reason) {
					err = fmt.Errorf("nobody is told %q:\n%s", bad.reason, out)
				}
				return err
			})
			status, err := f.server.Status(t.Context())
			must(t, err)
			if at, err := status.Filter(e.id, "logger"); err != nil || at.Running != second.Running {
				t.Errorf("%s: %+v, %v", bad.reason, at, err)
			}
		}
		f.restartServer()
		now := e.count("second")
		f.eventually(func() error {
			if e.count("second") < now+100 {
				return errors.New("it logs no more")
			}
			return nil
		})

		e.logs(logger(counting("fourth")), "fourth")
		e.runs("logger")
		f.good(l)
		f.loggedAll(e, l)

		fresh := f.envoy(c, "edge-2")
		l = fresh.load("web", "x-hello")
		f.eventually(func() error { return atLeast(l, 100) })
		f.good(l)
		f.loggedAll(fresh, l)

		l = fresh.load("web", "x-hello")
		f.remove("logger.yaml")
		f.eventually(func() error {
			status, err := f.server.Status(t.Context())
			if err == nil {
				if _, err := status.Filter(fresh.id, "logger"); err == nil {
					return errors.New("the logger is still there")
				}
			}
			return err
		})
		fresh.logs(logger(counting("fifth")), "fifth")
		fresh.runs("logger")
		f.good(l)
	})
}

// loggedAll waits until each request of a load that has ended is logged: one more for
// each sender may have been under way then.
func (f *fleet) loggedAll(e *edge, l *harness.Load) {
	f.t.Helper()
	f.eventually(func() error {
		if got, want := e.logged(), int64(l.Counts().Requests); got < want || got > want+3 {
			return fmt.Errorf("%d requests were logged, of %d", got, want)
		}
		return nil
	})
}

// atLeast waits for so many requests.
func atLeast(l *harness.Load, n int) error {
	if got := l.Counts().Requests; got < n {
		return fmt.Errorf("%d requests of %d", got, n)
	}
	return nil
}

// TestAccessLoggerTraps: an access logger that traps has a new VM soon, and harms no
// request.
func TestAccessLoggerTraps(t *testing.T) {
	eachOnce(t, func(t *testing.T, c combination) {
		f := newFleet(t)
		f.write("web.yaml", f.listener("web"))
		f.hello("1")
		f.write("logger.yaml", filter("logger", f.module(wasmtest.Filter{Header: "x", Value: "y", Counts: "logged", Fault: wasmtest.TrapAtLog, At: 40}), "place: accessLog"))
		f.serve()
		e := f.envoy(c, "edge-1")
		l := e.load("web", "x-hello")
		f.eventually(func() error {
			if n := e.count("logged"); n < 100 {
				return fmt.Errorf("%d requests were logged", n)
			}
			return nil
		})
		f.good(l)
	})
}

// TestInlineAccessLogger: an access logger that a raw listener brings is primed and put
// in place like any other.
func TestInlineAccessLogger(t *testing.T) {
	eachOnce(t, func(t *testing.T, c combination) {
		f := newFleet(t)
		f.hello("1")
		web := func(m wasmtest.Filter) time.Time {
			return f.write("web.yaml", f.logging("web", f.module(m))+"---\n"+f.upstreamCluster())
		}
		web(wasmtest.Filter{Header: "x", Value: "1", Counts: "first"})
		f.serve()
		e := f.envoy(c, "edge-1")
		l := e.load("web", "x-hello")
		e.logs(e.Started, "first")
		e.logs(web(wasmtest.Filter{Header: "x", Value: "2", Counts: "second"}), "second")
		e.runs("web/access_log/envoy.access_loggers.wasm")
		f.good(l)
		f.loggedAll(e, l)
	})
}

// logging is a listener of Envoy's own with an access logger.
func (f *fleet) logging(name, module string) string {
	f.t.Helper()
	return strings.Replace(f.staticListener(name), "      http_filters:\n", fmt.Sprintf(`      access_log:
      - name: envoy.access_loggers.wasm
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.access_loggers.wasm.v3.WasmAccessLog
          config: {name: logger, vm_config: {code: {local: {filename: %q}}}}
      http_filters:
`, module), 1)
}

// logs waits until an access logger counts, and gives how long after start that was.
func (e *edge) logs(start time.Time, counter string) time.Duration {
	e.f.t.Helper()
	e.f.eventually(func() error {
		if e.count(counter) == 0 {
			return fmt.Errorf("nothing is counted in %s", counter)
		}
		return nil
	})
	return time.Since(start)
}

// count is what a filter has counted on this Envoy.
func (e *edge) count(counter string) int64 {
	stats, err := e.Stats(e.f.t.Context(), `^wasmcustom\.`)
	if err != nil {
		return 0
	}
	return stats["wasmcustom."+counter]
}

// logged is what all have counted.
func (e *edge) logged() int64 {
	stats, err := e.Stats(e.f.t.Context(), `^wasmcustom\.`)
	must(e.f.t, err)
	var n int64
	for _, v := range stats {
		n += v
	}
	return n
}
