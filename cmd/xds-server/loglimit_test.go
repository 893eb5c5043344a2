package main

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// written is a log that may be read meanwhile.
type written struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (w *written) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.b.Write(b)
}

func (w *written) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.b.String()
}

// Of ten thousand lines that say the same, a few are written and the rest is
// counted; other lines are not held up by them.
func TestLogLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out written
		limited := limitLog(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug}))
		log := slog.New(limited)
		ctx, cancel := context.WithCancel(t.Context())
		go limited.Run(ctx)

		lines := func(containing string) int {
			synctest.Wait()
			n := 0
			for l := range strings.Lines(out.String()) {
				if strings.Contains(l, containing) {
					n++
				}
			}
			return n
		}
		want := func(n int, containing string) {
			t.Helper()
			if got := lines(containing); got != n {
				t.Errorf("%d lines with %s, want %d", got, containing, n)
			}
		}

		connected := log.With("component", "xds")
		for i := range 10_000 {
			connected.Info("Envoy connected", "node", i)
		}
		for range 100 {
			log.Warn("Envoy connected") // another level counts for itself
			log.Debug("details")
		}
		for i := range 100 {
			log.Error(fmt.Sprintf("file-%d.yaml:1: no such field", i)) // each says something else
		}
		want(20, `level=INFO msg="Envoy connected"`)
		want(20, `level=WARN msg="Envoy connected"`)
		want(100, "level=DEBUG")
		want(100, "level=ERROR")
		want(0, "more=")

		time.Sleep(time.Second)
		want(1, `level=INFO msg="Envoy connected" more=9980`)
		want(1, `level=WARN msg="Envoy connected" more=80`)
		want(2, "more=")

		connected.Info("Envoy connected", "node", "later")
		want(1, "node=later")
		time.Sleep(time.Hour)
		want(2, "more=")

		for range 21 {
			log.Info("in the last second")
		}
		cancel()
		want(1, `msg="in the last second" more=1`)
	})
}
