package swap_test

import (
	"math/rand/v2"
	"testing"
	"time"

	"wasmxds/xds/swap"
)

// TestRandomCrashes plays VMs that crash again and again, also those that have just
// taken the place of others: each is replaced in the end, by what the Envoy tells of
// it, be it ever so little.
func TestRandomCrashes(t *testing.T) {
	first, last := uint64(1), uint64(*seeds)
	if *seed != 0 {
		first, last = *seed, *seed
	}
	for n := first; n <= last; n++ {
		for _, delta := range []bool{false, true} {
			p := &play{t: t, rng: rand.New(rand.NewPCG(n, 2)), delta: delta, tell: *seed != 0}
			if err := p.runCrashes(); err != "" {
				t.Fatalf("seed %d, delta %t: %s\nagain with: go test ./xds/swap -run TestRandomCrashes -seed %d -v", n, delta, err, n)
			}
		}
	}
}

func (p *play) runCrashes() string {
	p.begin([]string{"auth", "same", "hello"})
	p.quiet = p.rng.IntN(2) == 0
	if err := p.settle(); err != "" {
		return err
	}
	for range p.rng.IntN(40) {
		switch n := p.rng.IntN(100); {
		case n < 10:
			p.crash()
		case n < 40:
			p.alarm()
		case n < 60:
			p.deliver()
		case n < 80 && len(p.e.inbox) > 0:
			p.e.receive()
		case n < 81:
			p.cut()
		case n < 84:
			p.change()
		case n < 85:
			p.pass(20 * time.Second)
		default:
			p.pass(time.Duration(p.rng.IntN(200)) * time.Millisecond)
		}
		if err := p.check(); err != "" {
			return err
		}
	}
	return p.end()
}

// crash lets a VM trap, and has its alarm come now or later.
func (p *play) crash() {
	if name := p.e.crash(); name != "" {
		p.logf("the VM in %s crashes", p.shown(name))
		p.alarms = append(p.alarms, name)
	}
}

// alarm tells the machine of a crash: by the name of the slot, of the filter, or of
// neither. With some failure policies there are more, as long as it stays so.
func (p *play) alarm() {
	if len(p.alarms) == 0 {
		if !p.quiet && p.rng.IntN(2) == 0 {
			p.alarms = p.e.crashed()
		}
		return
	}
	name := p.alarms[0]
	p.alarms = p.alarms[1:]
	if s := p.e.slots[name]; s != nil && s.filter != "" && p.rng.IntN(3) == 0 {
		name = s.filter
	} else if p.rng.IntN(4) == 0 {
		name = "nobody knows"
	}
	p.logf("alarm: %s", name)
	p.step(swap.Crash{Filter: name})
}
