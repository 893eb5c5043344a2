package xds

import (
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/types/known/structpb"

	"wasmxds/xds/swap"
)

// maxDrainTime is the longest drain time that is accepted from a node. It is shown as the
// time at which draining ends, and waited for.
const maxDrainTime = 24 * time.Hour

// drainTime returns how long a node's connections continue with a listener that was
// replaced: wasmxds.drainTime of its metadata, a duration ("60s") or a number of seconds,
// at most maxDrainTime. If that is absent or invalid, it returns the default.
func drainTime(meta *structpb.Struct) (time.Duration, error) {
	value, ok := meta.GetFields()["wasmxds"].GetStructValue().GetFields()["drainTime"]
	if !ok {
		return swap.DrainTime, nil
	}
	var d time.Duration
	switch v := value.GetKind().(type) {
	case *structpb.Value_StringValue:
		var err error
		if d, err = time.ParseDuration(v.StringValue); err != nil {
			return swap.DrainTime, fmt.Errorf("%.40q is no duration like 60s", v.StringValue)
		}
	case *structpb.Value_NumberValue:
		if !(v.NumberValue >= 0) { // or NaN
			return swap.DrainTime, fmt.Errorf("%v is no number of seconds", v.NumberValue)
		}
		d = time.Duration(min(v.NumberValue, maxDrainTime.Seconds()) * float64(time.Second))
	default:
		return swap.DrainTime, errors.New("it is neither a duration nor a number of seconds")
	}
	if d < 0 {
		return swap.DrainTime, fmt.Errorf("%v is less than nothing", d)
	}
	return min(d, maxDrainTime), nil
}

// drainingUntil reports whether an Envoy has connections that continue with a listener that
// was replaced, and when the first of its listeners is drained; zero: unknown.
func drainingUntil(filters []swap.FilterStatus, listeners []swap.ListenerStatus) (draining bool, first time.Time) {
	take := func(d *swap.Draining) {
		if d != nil {
			draining, first = true, sooner(first, d.Until)
		}
	}
	for i := range filters {
		take(filters[i].Draining)
	}
	for i := range listeners {
		take(listeners[i].Draining)
	}
	return draining, first
}

// sooner returns the earlier of two times, ignoring zero times.
func sooner(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// drained is the time at which the last reported status of draining becomes outdated. No
// Envoy sends anything then, and yet the status must be reported again.
type drained struct{ at atomic.Int64 } // nanoseconds; 0: never

func (d *drained) set(at time.Time) {
	if at.IsZero() {
		d.at.Store(0)
		return
	}
	d.at.Store(at.UnixNano())
}

// pass reports, once, that the time has come.
func (d *drained) pass(now time.Time) bool {
	at := d.at.Load()
	return at != 0 && now.UnixNano() >= at && d.at.CompareAndSwap(at, 0)
}
