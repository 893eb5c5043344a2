package collect

import (
	"context"
	"runtime"
	"testing"
	"time"
)

// TestDue checks that new memory is collected if it is much, and only when it no longer
// grows.
func TestDue(t *testing.T) {
	const mb = 1 << 20
	for name, c := range map[string]struct {
		before, now heap
		want        bool
	}{
		"a storm has ended":        {heap{30 * mb, 55 * mb, 500 * mb}, heap{30 * mb, 55 * mb, 500 * mb}, true},
		"it goes on":               {heap{30 * mb, 50 * mb, 495 * mb}, heap{30 * mb, 55 * mb, 500 * mb}, false},
		"little has come":          {heap{30 * mb, 40 * mb, 500 * mb}, heap{30 * mb, 40 * mb, 500 * mb}, false},
		"little beside what lives": {heap{300 * mb, 350 * mb, 900 * mb}, heap{300 * mb, 350 * mb, 900 * mb}, false},
		"it was collected":         {heap{30 * mb, 55 * mb, 500 * mb}, heap{50 * mb, 49 * mb, 500 * mb}, false},
	} {
		if got := c.now.due(c.before); got != c.want {
			t.Errorf("%s: due is %v", name, got)
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
	full := look().objects
	runtime.KeepAlive(garbage)
	garbage = nil
	for end := time.Now().Add(time.Minute); look().objects > full/2; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d bytes, of %d", look().objects, full)
		}
	}
}
