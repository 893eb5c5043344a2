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

// hangMain is how much longer the main thread may take, over a large configuration.
const hangMain = 4

// watchdogs end an Envoy of which a worker has not come back from its work for that
// long: one that a filter keeps serves none of its connections any more, and
// nothing but the end of the process frees it. Some versions, 1.36.2 among them,
// hold workers to what is said of the main thread
// (https://github.com/envoyproxy/envoy/pull/43522), so there is something said of it.
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
