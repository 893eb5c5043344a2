package admin

import (
	"fmt"
	"slices"
	"strings"

	"wasmxds/rollout"
)

// viewTimeline are the newest changes: what each changed, how far it is, and what it
// did.
func viewTimeline(changes []rollout.ChangeStatus, files map[string]string, most int) []changeView {
	var all []changeView
	for i := range changes[:min(len(changes), most)] {
		all = append(all, viewChange(&changes[i], files))
	}
	return all
}

// files are those that filters are in, by name.
func (s *Server) files() map[string]string {
	files := map[string]string{}
	for _, f := range s.overview().Status.Filters {
		files[f.Name] = f.File
	}
	return files
}

// filesOf names the files that a change's filters are in now.
func filesOf(c *rollout.ChangeStatus, files map[string]string) []string {
	var all []string
	for _, d := range c.Definitions {
		if f := files[d.Name]; d.Kind == filterKind && f != "" && !slices.Contains(all, f) {
			all = append(all, f)
		}
	}
	return all
}

// effectOf is what a change did to errors and latency, by what the Envoys that have
// it have told since, and those that are compared; "": nothing was told.
func effectOf(c *rollout.ChangeStatus) string {
	v := c.Curves
	if v == nil || v.Step <= 0 {
		return ""
	}
	first := 0
	if !v.Began.IsZero() {
		first = int(v.Began.Sub(v.From) / v.Step)
	}
	fresh, before := sum(v.New, first), sum(v.Control, first)
	if fresh.Requests == 0 {
		return ""
	}
	against := func(value, other string) string {
		if before.Requests == 0 {
			return value
		}
		return fmt.Sprintf("%s, %s without it", value, other)
	}
	effects := []string{"5xx " + against(percent(fresh.Errors/fresh.Requests), percent(before.Errors/max(before.Requests, 1)))}
	if fresh.Slow > 0 {
		other := "unknown"
		if before.Slow > 0 {
			other = milliseconds(1000 * before.Slow)
		}
		effects = append(effects, "slow requests "+against(milliseconds(1000*fresh.Slow), other))
	}
	if fresh.Crashes > 0 {
		effects = append(effects, fmt.Sprintf("VMs crashed: %d", fresh.Crashes))
	}
	return strings.Join(effects, " · ")
}

// sum adds points up, from one on. Its Slow is their mean, by requests.
func sum(points []rollout.Point, from int) rollout.Point {
	var all rollout.Point
	weight := 0.0
	for _, p := range points[min(max(from, 0), len(points)):] {
		all.Requests += p.Requests
		all.Errors += p.Errors
		all.Crashes += p.Crashes
		if p.Slow > 0 {
			all.Slow += p.Slow * p.Requests
			weight += p.Requests
		}
	}
	if weight > 0 {
		all.Slow /= weight
	}
	return all
}
