package bootstrap

import (
	"fmt"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	bootstrapv3 "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
)

const maxHangTimeout = 24 * time.Hour

func (o Options) checkHangTimeout() error {
	if d := o.HangTimeout; d < 0 || d > maxHangTimeout || d > 0 && d < time.Second {
		return fmt.Errorf("the hang timeout %v is neither 0 nor from 1s to 24h", d)
	}
	return nil
}

// hangMain is how many times longer the main thread may take, because of large
// configurations.
const hangMain = 4

// watchdogs kill an Envoy if a worker is blocked for that long: a worker that a
// filter blocks no longer serves its connections, and only the end of the
// process frees it. Some versions, including 1.36.2, apply the settings of the
// main thread to workers (https://github.com/envoyproxy/envoy/pull/43522), so
// both are set.
// https://www.envoyproxy.io/docs/envoy/latest/operations/performance#watchdog
func (o Options) watchdogs() *bootstrapv3.Watchdogs {
	if o.HangTimeout == 0 {
		return nil
	}
	after := func(d time.Duration) *bootstrapv3.Watchdog {
		return &bootstrapv3.Watchdog{KillTimeout: durationpb.New(d)}
	}
	return &bootstrapv3.Watchdogs{WorkerWatchdog: after(o.HangTimeout), MainThreadWatchdog: after(hangMain * o.HangTimeout)}
}
