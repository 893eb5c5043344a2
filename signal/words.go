package signal

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
)

// enough reports whether there is anything to compare, and otherwise sets what is missing.
func (a *aligned) enough(v *Verdict, ys []float64) bool {
	switch {
	case len(a.new) == 0:
		v.Words = "no Envoy of the wave has the change yet"
	case a.before == 0:
		v.Words = "the wave's Envoys told of no requests before it"
	case v.Requests == 0:
		v.Words = "no requests were seen since the wave began"
	case !slices.ContainsFunc(ys, func(y float64) bool { return !math.IsNaN(y) }):
		v.Words = "too few requests were seen to compare, before the wave and since"
	default:
		return true
	}
	v.Quiet = len(a.new) > 0
	return false
}

// elsewhere describes the values of control.
func (a *aligned) elsewhere(now, before string) string {
	if len(a.control) == 0 {
		return ", with no others to compare with"
	}
	return fmt.Sprintf("; where the change is not, %s, %s before", now, before)
}

// found describes the effect of the change, and how certain that is.
func (v *Verdict) found(more string, share func(float64) string, allowed float64) string {
	switch {
	case v.Kind == Bad:
		return fmt.Sprintf("%s, %s is allowed", more, share(allowed))
	case v.Kind == Good:
		return fmt.Sprintf("%s, surely less than %s", more, share(surely*allowed))
	case v.Quiet:
		return more + " so far, and too little was told to ever be sure"
	case v.Low <= -0.8:
		return more + " so far, too little to tell"
	}
	return fmt.Sprintf("%s so far, between %s and %s; %s is allowed", more, share(v.Low), share(v.High), share(allowed))
}

func percent(share float64) string { return fmt.Sprintf("%.1f%%", 100*share) }

func points(share float64) string {
	if share < 0 {
		return fmt.Sprintf("%.1f points less", -100*share)
	}
	return fmt.Sprintf("%.1f points more", 100*share)
}

func slowerBy(share float64) string {
	if share < 0 {
		return percent(-share) + " faster"
	}
	return percent(share) + " slower"
}

func seconds(s float64) string {
	return time.Duration(s * float64(time.Second)).Round(10 * time.Microsecond).String()
}

// list returns the first few names.
func list(names []string) string {
	const most = 3
	if len(names) <= most {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
}
