package admin

import (
	"fmt"
	"slices"
	"strings"

	"wasmxds/rollout"
)

// viewTimeline returns the newest changes, with their progress and effects.
func viewTimeline(changes []rollout.ChangeStatus, of origins, most int) []changeView {
	var all []changeView
	for i := range changes[:min(len(changes), most)] {
		all = append(all, viewChange(&changes[i], of))
	}
	return all
}

// origins are the documents and authors of filters, by name.
type origins map[string]origin

type origin struct{ file, by string }

func (s *Server) origins() origins {
	all := origins{}
	for _, f := range s.overview().Status.Filters {
		all[f.Name] = origin{f.File, f.By}
	}
	return all
}

// of returns the current files, or objects, of a change's filters, and their
// authors. The author may have written a newer change of the same filter. The
// caller passes newer changes first, so each author is returned only once for a
// filter.
func (o origins) of(c *rollout.ChangeStatus) (files, by []string) {
	for _, d := range c.Definitions {
		from, ok := o[d.Name]
		if d.Kind != filterKind || !ok || from.file == "" {
			continue
		}
		if !slices.Contains(files, from.file) {
			files = append(files, from.file)
		}
		if from.by != "" && !slices.Contains(by, from.by) {
			by = append(by, from.by)
		}
		o[d.Name] = origin{file: from.file} // the authors of older changes are not known
	}
	return files, by
}

// effectOf describes the effect of a change on errors and latency, according to
// the reports of the Envoys that have it and of those that they are compared
// to. It returns "" if there are no reports.
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

// sum adds points up, starting at an index. Its Slow is the mean, weighted by
// requests.
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
