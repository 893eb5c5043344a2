package admin

import (
	"fmt"
	"time"

	"wasmxds/xds/swap"
)

// FilterCrashes describes the crashes of a filter's VMs on an Envoy. The
// function clock formats times.
func FilterCrashes(c *swap.Crashes, clock func(time.Time) string) string {
	times := fmt.Sprintf("%d times", c.Count)
	if c.Count == 1 {
		times = "once"
	}
	text := fmt.Sprintf("version %s crashed %s, last at %s", c.Version, times, clock(c.Last))
	if c.Unsure {
		text = fmt.Sprintf("version %s or another filter crashed %s, last at %s (Envoy does not say which; this one was changed last)", c.Version, times, clock(c.Last))
	}
	switch {
	case c.Replaced.Before(c.Last):
	case c.Count == 1:
		text += ", and was replaced at " + clock(c.Replaced)
	default:
		text += ", and was replaced each time, last at " + clock(c.Replaced)
	}
	return text
}

// crashWords describes the crashes of VMs on many Envoys.
func crashWords(c *swap.Crashes) string {
	switch {
	case c.Unsure && !c.WentBack:
		return fmt.Sprintf("VMs of version %s or of another filter crashed: Envoy does not say which", c.Version)
	case c.WentBack:
		return fmt.Sprintf("version %s crashed too often; the version before runs again", c.Version)
	case !c.Replaced.Before(c.Last):
		return fmt.Sprintf("VMs of version %s crashed and were replaced", c.Version)
	}
	return fmt.Sprintf("VMs of version %s crashed", c.Version)
}
