package admin

import (
	"fmt"
	"time"

	"wasmxds/xds/swap"
)

// FilterDraining describes the older connections without a running filter. The
// function clock formats times.
func FilterDraining(d *swap.Draining, clock func(time.Time) string) string {
	return draining(d, "go without it", clock)
}

// ListenerDraining does the same for a listener.
func ListenerDraining(d *swap.Draining, clock func(time.Time) string) string {
	return draining(d, "go on with the listener as it was", clock)
}

// draining describes those connections, even if the times are not known, for
// example because xds-server was not running when the listener was replaced.
func draining(d *swap.Draining, fare string, clock func(time.Time) string) string {
	switch {
	case d.Since.IsZero() && d.Until.IsZero():
		return fmt.Sprintf("older connections %s until they are drained (since when, and for how long, is not known)", fare)
	case d.Since.IsZero():
		return fmt.Sprintf("older connections %s until they are drained (at %s at the latest)", fare, clock(d.Until))
	case d.Until.IsZero():
		return fmt.Sprintf("connections opened before %s %s until they are drained (how long that takes is not known)", clock(d.Since), fare)
	}
	return fmt.Sprintf("connections opened before %s %s until they are drained (at most %s)", clock(d.Since), fare, span(d.Until.Sub(d.Since)))
}

// span formats a duration, rounded up.
func span(d time.Duration) string {
	d = d.Round(time.Second) // the two times may have been taken one after the other
	up := func(unit time.Duration) time.Duration { return (max(d, 0) + unit - 1) / unit }
	switch {
	case d < 2*time.Minute && d != time.Minute:
		return fmt.Sprintf("%d s", up(time.Second))
	case d < 2*time.Hour:
		return fmt.Sprintf("%d min", up(time.Minute))
	}
	return fmt.Sprintf("%d h", up(time.Hour))
}

// Drained reports whether no connected Envoy has connections on a listener that
// was replaced. With a name, it only considers connections without that filter.
func (s *Status) Drained(name string) bool {
	if name == "" {
		return s.Envoys.Draining == 0
	}
	for _, f := range s.Filters {
		if f.Name == name && f.Draining > 0 {
			return false
		}
	}
	return true
}
