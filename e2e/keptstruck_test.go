package e2e

import (
	"testing"
	"time"
)

// keptStrikes are moments of a change, which takes some 40 ms, half of them
// until the directory has been read.
var keptStrikes = []int{0, 10, 20, 25, 30, 35, 40, 60} // ms

// TestKeptStruck: the same while xds-server is killed or stopped and starts
// again, the stream breaks, or the Envoy comes to another xds-server, which
// would give its listeners other spare slots. All at any moment of a change.
func TestKeptStruck(t *testing.T) {
	atOnce(t, func(t *testing.T, c combination) {
		f := newKeptFleet(t, c, nil, nil, nil, []string{"--spare-slots", "1,1"}, []string{"--spare-slots", "0"})
		blows := []func(){
			func() { f.server.Kill(); must(t, f.server.Start(f.ctx)) },
			f.move,
			func() { must(t, f.server.Stop()); must(t, f.server.Start(f.ctx)) },
			f.move,
			f.xds.Cut,
		}
		k := keep(t, f, keptConnections())
		n := 0
		for i := range keptCycles() / 2 {
			for _, s := range k.cycle(i) {
				k.change(s, func(written time.Time) {
					time.Sleep(time.Until(written.Add(time.Duration(keptStrikes[n%len(keptStrikes)]) * time.Millisecond))) // the moment is the scene
					blows[n%len(blows)]()
					n++
				})
			}
		}
		all := k.stop()
		t.Log(all)
		if all.bad() > 0 {
			t.Error("want nothing closed, failed, without its filters or in a wrong order")
		}
		report.addScene(t, all.counts())
	})
}

// move has the Envoy connect to the next of the xds-servers.
func (k *keptFleet) move() {
	for i, server := range k.servers {
		if server == k.server {
			k.server = k.servers[(i+1)%len(k.servers)]
			break
		}
	}
	k.xds.Target(k.server.Addresses.XDS)
	k.xds.Cut()
}
