package admin

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"wasmxds/definition"
	"wasmxds/module"
	"wasmxds/rollout"
	"wasmxds/xds/swap"
)

// finding is a problem or something in progress. Identical ones are combined.
type finding struct {
	Level   level
	Title   string    // what, and for how many
	Since   time.Time // zero: not known
	Filters []string  // names of the affected filters
	Words   []string  // reasons
	Todo    string
	Where   []string // files, with lines
	files   []string
	Nodes   []string // ids of the first affected Envoys
	Count   int      // number of affected Envoys
	Peers   []string // clients that are not Envoys of the fleet
	State   swap.State
	Link    string // to details; "": none
}

// MoreNodes returns the number of Envoys that are not in Nodes or Peers.
func (f finding) MoreNodes() int { return f.Count - len(f.Nodes) - len(f.Peers) }

// findings returns all findings, the worst first. If unknown is not nil, it is
// why the status of changes is not known.
func (s *Server) findings(o *overview, moving *rollout.Status, unknown error) []finding {
	all := slices.Concat(merge(s.problemFindings(o), troubleFindings(o)), changeFindings(moving, unknown), turnedFindings(o), fleetFindings(o))
	slices.SortStableFunc(all, func(a, b finding) int {
		return cmp.Or(b.Level.rank()-a.Level.rank(), severity(b.State)-severity(a.State))
	})
	return all
}

// merge combines the problem with a module and its effect on Envoys.
func merge(problems, troubles []finding) []finding {
	all := slices.Clone(problems)
	for _, t := range troubles {
		i := slices.IndexFunc(problems, func(p finding) bool {
			return t.State == swap.Failed && len(t.Words) == 1 && strings.HasSuffix(p.Words[0], t.Words[0])
		})
		if i < 0 || all[i].State != "" {
			all = append(all, t)
			continue
		}
		p := &all[i]
		p.Level, p.Title, p.Filters, p.State, p.Nodes, p.Count, p.Link = levelBad, t.Title, t.Filters, t.State, t.Nodes, t.Count, t.Link
	}
	return all
}

// problemFindings returns the problems with definitions and the like. It
// combines the same problem in several files.
func (s *Server) problemFindings(o *overview) []finding {
	type same struct {
		Field, Message, Hint string
		Warning              bool
	}
	var all []finding
	index := map[same]int{}
	for _, p := range slices.Concat(o.Status.Definitions.Errors, o.Status.Definitions.Warnings) {
		key := same{p.Field, p.Message, p.Hint, p.Warning}
		at := definition.Position{File: p.File, Line: p.Line}.String()
		since := s.history.sinceProblem(p)
		if i, ok := index[key]; ok {
			all[i].Where, all[i].files, all[i].Since = append(all[i].Where, at), append(all[i].files, p.File), earlier(all[i].Since, since)
			continue
		}
		f := finding{Level: levelBad, Title: "Error in " + base(p.File), Words: []string{p.Message}, Todo: p.Hint, Where: []string{at}, files: []string{p.File}, Since: since}
		if p.Warning {
			f.Level, f.Title = levelWarn, "Warning about "+base(p.File)
		}
		if p.Field != "" {
			f.Words[0] = p.Field + ": " + p.Message
		}
		index[key] = len(all)
		all = append(all, f)
	}
	for i := range all {
		if f := &all[i]; len(f.Where) > 1 {
			what := "Error in "
			if f.Level == levelWarn {
				what = "Warning about "
			}
			f.Title = fmt.Sprintf("%s%d places", what, len(f.Where))
		}
	}
	return all
}

// base returns the last element of a path.
func base(path string) string { return path[strings.LastIndexByte(path, '/')+1:] }

// troubleFindings returns what prevents Envoys from running what is wanted. It
// combines filters that the same Envoys lack for the same reason.
func troubleFindings(o *overview) []finding {
	type same struct {
		state  swap.State
		reason string
		nodes  uint64
	}
	var all []finding
	var of [][]*trouble
	index := map[same]int{}
	for _, t := range o.Troubles {
		key := same{t.State, t.reason().Text, t.nodes}
		if t.Listener != "" {
			key.reason = "listener " + t.Listener
		}
		if i, ok := index[key]; ok {
			of[i] = append(of[i], t)
			continue
		}
		index[key] = len(of)
		of = append(of, []*trouble{t})
	}
	for _, group := range of {
		all = append(all, troubleFinding(o, group))
	}
	for _, f := range o.Status.Filters {
		if f.State == module.Fetching && f.Failed+f.Pending == 0 {
			all = append(all, finding{Level: levelBusy, Title: "The module of " + f.Name + " is being fetched", Filters: []string{f.Name}, Words: []string{f.Reason}, State: swap.Fetching})
		}
	}
	return all
}

func troubleFinding(o *overview, group []*trouble) finding {
	t := group[0]
	f := finding{Level: levelOf(t.State), State: t.State, Nodes: t.Nodes, Count: t.Count, Link: "/envoys?state=" + string(t.State)}
	for _, g := range group {
		f.Since = earlier(f.Since, g.Since)
		if g.Filter != "" {
			f.Filters = append(f.Filters, g.Filter)
		}
	}
	for _, r := range t.Reasons[:min(len(t.Reasons), shownReasons)] {
		text := r.Text
		if len(t.Reasons) > 1 {
			text = fmt.Sprintf("%s: %s", plural(r.Count, "Envoy"), text)
		}
		f.Words = append(f.Words, text)
	}
	if more := len(t.Reasons) - shownReasons; more > 0 {
		f.Words = append(f.Words, fmt.Sprintf("and %s", plural(more, "other reason")))
	}
	what := t.Listener
	if t.Filter != "" {
		what = someOf(f.Filters)
	}
	who := ofEnvoys(t.Count, o.Envoys)
	on := strings.Replace(who, "The", "the", 1)
	one := t.Count == 1
	switch {
	case t.Listener != "":
		f.Title = fmt.Sprintf("Listener %s is not up to date on %s", what, on)
	case t.State == crashed:
		f.Title, f.Link = fmt.Sprintf("%s crashed on %s", what, on), ""
	case t.Refused:
		f.Title = fmt.Sprintf("%s %s %s", who, verb(one, "rejects", "reject"), what)
	case t.State == swap.Failed && slices.ContainsFunc(o.Status.Filters, func(s Filter) bool { return s.Name == t.Filter && s.Version == "" }):
		f.Title = fmt.Sprintf("%s has no module to run, on %s", what, on)
	case t.State == swap.Failed:
		f.Title = fmt.Sprintf("%s %s %s", who, verb(one, "does not get", "do not get"), what)
	case t.State == swap.Fetching:
		f.Title = fmt.Sprintf("%s %s %s", who, verb(one, "fetches", "fetch"), what)
	default:
		f.Title = fmt.Sprintf("%s %s for %s", who, verb(one, "waits", "wait"), what)
	}
	return f
}

// changeFindings returns changes that do not continue by themselves.
func changeFindings(moving *rollout.Status, unknown error) []finding {
	if unknown != nil {
		return []finding{{Level: levelWarn, Title: "How far changes are is not known", Words: []string{unknown.Error()}}}
	}
	var all []finding
	for i := range moving.Changes {
		c := &moving.Changes[i]
		f := finding{Level: levelWarn, Title: fmt.Sprintf("The change to %s is %s", c.Title, c.State), Words: []string{c.Words}, Since: c.Ended, Link: "/rollouts/" + c.ID}
		if c.Reason != "" && !strings.Contains(c.Words, c.Reason) {
			f.Words = append([]string{c.Reason}, f.Words...)
		}
		switch c.State {
		case rollout.Stopped:
			f.Level = levelBad
		case rollout.Paused:
		case rollout.Rolling, rollout.Waiting:
			f.Level = levelBusy
			f.Since = c.Opened
		default:
			continue
		}
		all = append(all, f)
	}
	if moving.Stalled != "" {
		all = append(all, finding{Level: levelWarn, Title: "No wave of any change begins", Words: []string{moving.Stalled}})
	}
	for _, h := range moving.Held {
		all = append(all, finding{Level: levelNote, Title: fmt.Sprintf("%s %s is rolled back: it is not what the files say", h.Kind, h.Name), Since: h.Since, Link: "/rollouts/" + h.By})
	}
	return all
}

// fleetFindings returns findings about Envoys themselves.
func fleetFindings(o *overview) []finding {
	var all []finding
	if n := o.States[swap.Away]; n > 0 {
		f := finding{Level: levelBusy, Title: plural(n, "Envoy") + " away, may come back", Count: n, State: swap.Away, Link: "/envoys?state=away",
			Words: []string{"An Envoy that runs comes back by itself within half a minute. After two minutes it is no longer waited for."}}
		f.Nodes, f.Since = o.some(func(r *envoyRow) bool { return r.State == swap.Away })
		all = append(all, f)
	}
	if n := o.Status.Envoys.Draining; n > 0 {
		f := finding{Level: levelNote, Title: "Older connections of " + plural(n, "Envoy") + " are being drained", Count: n,
			Words: []string{"A listener was replaced: connections opened before stay with the old one until Envoy closes them."}}
		f.Nodes, _ = o.some(func(r *envoyRow) bool { return r.Draining })
		f.Count = max(n, len(f.Nodes)) // the numbers are from different times
		all = append(all, f)
	}
	return all
}

// some returns the ids of the first Envoys for which is returns true, and the
// earliest time of all of them.
func (o *overview) some(is func(*envoyRow) bool) (ids []string, since time.Time) {
	for i := range o.Nodes {
		if r := &o.Nodes[i]; is(r) {
			since = earlier(since, r.Since)
			if len(ids) < shownNodes {
				ids = append(ids, r.ID)
			}
		}
	}
	return ids, since
}

// someOf abbreviates a list of filters.
func someOf(names []string) string {
	switch n := len(names); {
	case n == 1:
		return names[0]
	case n == 2:
		return names[0] + " and " + names[1]
	default:
		return fmt.Sprintf("%s and %d other filters", names[0], n-1)
	}
}

func ofEnvoys(n, of int) string {
	if of == 1 {
		return "The one Envoy"
	}
	return fmt.Sprintf("%d of %d Envoys", n, of)
}

func verb(one bool, singular, plural string) string {
	if one {
		return singular
	}
	return plural
}
