package collect

import (
	"context"
	"runtime"
	"runtime/metrics"
	"testing"
	"time"
)

// TestDue checks that new memory is collected if it is much, and only when it no longer
// grows.
func TestDue(t *testing.T) {
	const mb = 1 << 20
	for name, c := range map[string]struct {
		collected, before, now heap
		want                   bool
	}{
		"a storm has ended":        {heap{30 * mb, 100 * mb}, heap{30 * mb, 200 * mb}, heap{30 * mb, 200 * mb}, true},
		"it goes on":               {heap{30 * mb, 100 * mb}, heap{30 * mb, 195 * mb}, heap{30 * mb, 200 * mb}, false},
		"little was allocated":     {heap{3 * mb, 100 * mb}, heap{3 * mb, 110 * mb}, heap{3 * mb, 110 * mb}, false},
		"little beside what lives": {heap{300 * mb, 100 * mb}, heap{300 * mb, 350 * mb}, heap{300 * mb, 350 * mb}, false},
		"Go has just collected":    {heap{30 * mb, 100 * mb}, heap{55 * mb, 200 * mb}, heap{50 * mb, 200 * mb}, true},
	} {
		if got := c.now.due(c.before, c.collected); got != c.want {
			t.Errorf("%s: due is %v", name, got)
		}
	}
}

// TestStormy checks that a fleet that connects is a storm, and a change is not.
func TestStormy(t *testing.T) {
	const mb = 1 << 20
	for name, c := range map[string]struct {
		before, now heap
		want        bool
	}{
		"10,000 Envoys connect":            {heap{200 * mb, 500 * mb}, heap{200 * mb, 520 * mb}, true},
		"they swap a filter":               {heap{300 * mb, 900 * mb}, heap{300 * mb, 908 * mb}, false},
		"a server with few Envoys is idle": {heap{8 * mb, 100 * mb}, heap{8 * mb, 100*mb + 64<<10}, false},
	} {
		if got := c.now.stormy(c.before); got != c.want {
			t.Errorf("%s: a storm is %v", name, got)
		}
	}
}

// TestPercent checks that garbage is bounded in a storm, and never less than usual.
func TestPercent(t *testing.T) {
	const mb = 1 << 20
	for _, c := range []struct {
		live        uint64
		usual, want int
	}{
		{0, 100, 400}, {100 * mb, 100, 400}, {256 * mb, 100, 200}, {400 * mb, 100, 128}, {4096 * mb, 100, 100},
		{256 * mb, 300, 300}, {100 * mb, 50, 400},
	} {
		if got := (heap{live: c.live}).percent(c.usual); got != c.want {
			t.Errorf("%d MB live, usually %d %%: %d %%, want %d", c.live/mb, c.usual, got, c.want)
		}
	}
}

// TestRun checks that the garbage of a busy time is collected when it is over.
func TestRun(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { Run(ctx); close(ended) }()
	defer func() { cancel(); <-ended }()
	runtime.GC()
	garbage := make([][]byte, 0, 64)
	for range 64 {
		garbage = append(garbage, make([]byte, 1<<20))
	}
	full := objects()
	runtime.KeepAlive(garbage)
	garbage = nil
	for end := time.Now().Add(time.Minute); objects() > full/2; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d bytes, of %d", objects(), full)
		}
	}
}

// objects returns the bytes of all objects, including garbage.
func objects() uint64 {
	samples := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	metrics.Read(samples)
	return samples[0].Value.Uint64()
}
