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

// watchdogs end an Envoy of which a thread has not come back from its work for
// that long: a worker that a filter keeps serves none of its connections any
// more, and nothing but the end of the process frees it. The main thread is not
// ended for that: it may take long over a large configuration.
// https://www.envoyproxy.io/docs/envoy/latest/operations/performance#watchdog
func (o Options) watchdogs() *bootstrapv3.Watchdogs {
	if o.HangTimeout == 0 {
		return nil
	}
	return &bootstrapv3.Watchdogs{WorkerWatchdog: &bootstrapv3.Watchdog{KillTimeout: durationpb.New(o.HangTimeout)}}
}
