package e2e

import (
	"fmt"
	"strings"
	"testing"

	"wasmxds/e2e/harness"
)

// TestWaitAfterRestart: xds-server is killed, a filter changes, and it starts
// again. The Envoys are in their back-offs, and run the old filter; a
// deployment must not take that for done, whoever of them comes back first.
func TestWaitAfterRestart(t *testing.T) {
	atOnce(t, func(t *testing.T, c combination) {
		f := newFleet(t)
		f.hello("0")
		f.write("web.yaml", f.listener("web"))
		f.serve()
		one, two := f.envoy(c, "edge-1"), f.envoy(c, "edge-2")
		first, second := one.load("web", "x-hello"), two.load("web", "x-hello")
		f.await("--min-envoys", "2")
		for i := 1; i <= 3; i++ {
			value := fmt.Sprint(i)
			f.server.Kill()
			f.hello(value)
			must(t, f.server.Start(f.ctx))
			f.await("--timeout", "40s")
			for _, l := range []*harness.Load{first, second} {
				if _, err := l.Seen("x-hello", value); err != nil {
					t.Errorf("--wait came back before all ran %s: %v", value, err)
				}
			}
		}
		f.good(first)
		f.good(second)

		// One that does not come back is waited for, until somebody says not to.
		two.Kill()
		f.restartServer()
		_, err := f.server.Run(f.ctx, append(f.statusArgs(), "--wait", "--timeout", "15s")...)
		if err == nil || !strings.Contains(err.Error(), "1 Envoy away, and may come back: edge-2") {
			t.Errorf("with edge-2 gone: %v", err)
		}
		out := strings.Join(strings.Fields(f.await("--without-away")), " ")
		for _, part := range []string{"1 Envoy, 1 away", "edge-1 hello running", "edge-2 hello away"} {
			if !strings.Contains(out, part) {
				t.Errorf("no %q in %s", part, out)
			}
		}
		must(t, two.Start(f.ctx))
		f.await("--min-envoys", "2", "--timeout", "40s")
	})
}
