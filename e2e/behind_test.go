package e2e

import (
	"net"
	"strings"
	"testing"
)

// TestWaitForListeners: a listener whose port is taken is refused by Envoy. Its
// filter runs elsewhere, and still not all is as the directory says.
func TestWaitForListeners(t *testing.T) {
	atOnce(t, func(t *testing.T, c combination) {
		f := newFleet(t)
		f.hello("0")
		f.write("web.yaml", f.listener("web"))
		f.serve()
		e := f.envoy(c, "edge-1")
		l := e.load("web", "x-hello")
		f.await()

		taken, err := net.Listen("tcp", "127.0.0.1:0")
		must(t, err)
		defer taken.Close()
		f.write("api.yaml", strings.Replace(f.listener("api"), "127.0.0.1:0", taken.Addr().String(), 1))
		_, err = f.server.Run(f.ctx, append(f.statusArgs(), "--wait", "--timeout", "5s")...)
		if err == nil || !strings.Contains(err.Error(), "1 Envoy without a listener") {
			t.Errorf("with a port that is taken: %v", err)
		}
		f.await("--filter", "hello")
		f.remove("api.yaml")
		f.await()
		f.good(l)
	})
}
