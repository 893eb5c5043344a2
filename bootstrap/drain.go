package bootstrap

import (
	"fmt"
	"time"
)

const (
	defaultDrainTime = 10 * time.Minute // Envoy's default
	maxDrainTime     = 24 * time.Hour   // the maximum that xds-server accepts
)

func (o Options) checkDrainTime() error {
	if d := o.DrainTime; d < 0 || d > maxDrainTime || d%time.Second != 0 {
		return fmt.Errorf("the drain time %v is not whole seconds up to 24h", d)
	}
	return nil
}

// ownDrainTime reports whether the drain time differs from Envoy's default.
func (o Options) ownDrainTime() bool { return o.DrainTime != 0 && o.DrainTime != defaultDrainTime }

// comment returns instructions to start Envoy: the bounds on draining are
// flags, and can't be set in a bootstrap.
func (o Options) comment() string {
	if !o.ownDrainTime() {
		return defaultDrainComment + strategyComment
	}
	return fmt.Sprintf(drainComment, int64(o.DrainTime.Seconds())) + strategyComment
}

const (
	drainComment = `# Start it with: envoy -c envoy.yaml --drain-time-s %d
# Connections stay with a listener that was replaced for no longer than that;
# xds-server is told so below (wasmxds.drainTime).
`
	defaultDrainComment = `# Start it with: envoy -c envoy.yaml
# Connections may stay with a listener that was replaced for 600 s. To make that
# shorter, give --drain-time to "xds-server bootstrap" and --drain-time-s to Envoy.
`
	strategyComment = `# Of those that are used, Envoy closes ever more over that time; all of them, each
# with its next response, if it has --drain-strategy immediate as well.
`
)
