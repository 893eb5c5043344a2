package admin

import (
	"fmt"
	"math"
	"net/http"
	"slices"
	"strings"
	"time"

	"wasmxds/rollout"
)

// changeView is a change in the list.
type changeView struct {
	ID, Title, Words string
	State            rollout.State
	At               time.Time // when it ended or, if it has not ended, when it was opened
	Waves            []waveView
	What             []string // "hello changed"
	Files            []string // where its definitions are now
	By               []string // who wrote these
	Policy           string
	Reason           string
	Effect           string // on errors and latency; "": not known
}

// waveView is a wave with its progress.
type waveView struct {
	Number       int
	Class        string // "over", "now" or "next"
	Name         string
	Bar          bar
	Figure, Note string
}

// verbView is a button.
type verbView struct {
	Verb  rollout.Verb
	Text  string
	Grave bool
}

// cohortView is a cohort of Envoys.
type cohortView struct {
	Class, Name string
	IDs         []string
	More        int
}

// shownCohort is the number of Envoys of a cohort that are listed.
const shownCohort = 12

func (s *Server) serveRollouts(w http.ResponseWriter, r *http.Request) {
	st, err := s.moving(r.Context())
	if err != nil {
		s.refuseMoving(w, st, err, err)
		return
	}
	now := s.rolloutsOf(&st)
	data := struct {
		frame
		R          *Rollouts
		Headline   string
		Open, Over []changeView
		May        may
	}{frame: s.frameOf("Changes", "/rollouts", st, nil), R: now, May: s.opts.Operators.may(r)}
	data.Open, data.Over = viewChanges(data.R.Changes, s.origins())
	data.Headline = rolloutHeadline(data.R.Changes)
	s.show(w, http.StatusOK, "rollouts", data)
}

// viewChanges separates changes that are open from those that have ended.
func viewChanges(changes []rollout.ChangeStatus, of origins) (open, over []changeView) {
	for i := range changes {
		c := &changes[i]
		v := viewChange(c, of)
		if c.State.Open() {
			v.Waves = viewWaves(c)
			open = append(open, v)
		} else {
			over = append(over, v)
		}
	}
	return open, over
}

func viewChange(c *rollout.ChangeStatus, of origins) changeView {
	files, by := of.of(c)
	v := changeView{ID: c.ID, Title: c.Title, Words: c.Words, State: c.State, At: c.Opened, Policy: c.Policy,
		Files: files, By: by, Effect: effectOf(c)}
	if !c.Ended.IsZero() {
		v.At = c.Ended
	}
	if !strings.Contains(c.Words, c.Reason) {
		v.Reason = c.Reason
	}
	for _, d := range c.Definitions {
		v.What = append(v.What, fmt.Sprintf("%s %s", d.Name, d.What))
	}
	return v
}

// rolloutHeadline returns a summary in one sentence.
func rolloutHeadline(changes []rollout.ChangeStatus) string {
	n := map[rollout.State]int{}
	for _, c := range changes {
		n[c.State]++
	}
	switch {
	case n[rollout.Stopped] > 0:
		return plural(n[rollout.Stopped], "change") + " stopped"
	case n[rollout.Paused] > 0:
		return plural(n[rollout.Paused], "change") + " paused"
	case n[rollout.Rolling]+n[rollout.Waiting] > 0:
		return plural(n[rollout.Rolling]+n[rollout.Waiting], "change") + " in progress"
	}
	return "No change is in progress"
}

func (s *Server) serveChange(w http.ResponseWriter, r *http.Request) {
	st, err := s.moving(r.Context())
	if err != nil {
		s.refuseMoving(w, st, err, err)
		return
	}
	all := s.rolloutsOf(&st)
	c, err := all.Find(r.PathValue("id"))
	if err != nil {
		s.refuseMoving(w, st, nil, err)
		return
	}
	data := struct {
		frame
		C       *rollout.ChangeStatus
		Waves   []waveView
		Verbs   []verbView
		Back    bool // one of the verbs is a rollback
		Charts  []chart
		Cohorts []cohortView
		May     may
	}{frame: s.frameOf(fmt.Sprintf("%s %s", c.Title, c.State), "/rollouts", st, nil), C: c,
		Waves: viewWaves(c), Verbs: viewVerbs(c, all.Bases, all.Held), Charts: charts(c), Cohorts: viewCohorts(c.Cohorts), May: s.opts.Operators.may(r)}
	data.Back = slices.ContainsFunc(data.Verbs, func(v verbView) bool { return v.Verb == rollout.Rollback })
	s.show(w, http.StatusOK, "rollout", data)
}

// viewWaves returns the waves of a change with the number of Envoys that run
// it.
func viewWaves(c *rollout.ChangeStatus) []waveView {
	var views []waveView
	for i, w := range c.Waves {
		v := waveView{Number: i + 1, Name: w.Name, Class: "next", Figure: plural(w.Envoys, "Envoy")}
		if w.Envoys == 0 && w.Began.IsZero() {
			v.Figure = "to come"
		}
		class, filled := "running", 0
		switch {
		case c.State == rollout.Done || !w.Ended.IsZero():
			v.Class, filled = "over", w.Envoys
		case i+1 == c.Wave:
			v.Class, filled = "now", min(c.Settled, w.Envoys)
			class, v.Note = currentWave(c, &w)
			v.Figure = fmt.Sprintf("%d of %s", filled, plural(w.Envoys, "Envoy"))
			if c.State == rollout.Stopped || c.State == rollout.Superseded {
				v.Figure, filled = plural(w.Envoys, "Envoy"), w.Envoys
			}
		}
		v.Bar.Label = fmt.Sprintf("wave %d, %s: %d of %s", v.Number, w.Name, filled, plural(w.Envoys, "Envoy"))
		v.Bar.add(class, filled, w.Envoys)
		views = append(views, v)
	}
	return views
}

// currentWave returns the style of a change's current wave, and a note.
func currentWave(c *rollout.ChangeStatus, w *rollout.WaveStatus) (class, note string) {
	switch {
	case c.State == rollout.Stopped:
		return "failed", "stopped here"
	case c.State == rollout.Superseded:
		return "other", "superseded here"
	case c.State == rollout.Paused:
		return "waiting", "paused here"
	case !w.Good.IsZero():
		return "running", "looked at"
	}
	return "fetching", ""
}

// viewVerbs returns the buttons of a change.
func viewVerbs(c *rollout.ChangeStatus, bases []rollout.BaseStatus, held []rollout.HeldStatus) []verbView {
	var views []verbView
	undone := slices.ContainsFunc(held, func(h rollout.HeldStatus) bool { return h.By == c.ID })
	if undone {
		views = append(views, verbView{Verb: rollout.Resume, Text: "End the rollback: follow the files"})
	}
	for _, v := range []verbView{
		{Verb: rollout.Pause, Text: "Pause"}, {Verb: rollout.Resume, Text: "Resume"},
		{Verb: rollout.Promote, Text: "Promote: everywhere now", Grave: true}, {Verb: rollout.Stop, Text: "Stop and take it back", Grave: true},
		{Verb: rollout.Rollback, Text: "Roll back", Grave: true},
	} {
		if !Fits(v.Verb, c.State) {
			continue
		}
		if kept := slices.ContainsFunc(bases, func(b rollout.BaseStatus) bool { return b.ID == c.ID }); v.Verb == rollout.Rollback && (undone || !kept) {
			continue // what preceded it is no longer stored
		}
		views = append(views, v)
	}
	return views
}

// charts draws the reports of the cohorts.
func charts(c *rollout.ChangeStatus) []chart {
	v := c.Curves
	if v == nil || v.Step <= 0 || len(v.New)+len(v.Control) == 0 {
		return nil
	}
	n := max(len(v.New), len(v.Control))
	to := v.From.Add(time.Duration(n) * v.Step)
	lines := func(of func(rollout.Point) float64) []series {
		var all []series
		for _, cohort := range []struct {
			name   string
			points []rollout.Point
		}{{"new", v.New}, {"control", v.Control}} {
			s := series{Class: cohort.name, Name: cohort.name}
			for i, p := range cohort.points {
				s.At = append(s.At, v.From.Add(time.Duration(i)*v.Step+v.Step/2))
				s.Values = append(s.Values, of(p))
			}
			all = append(all, s)
		}
		return all
	}
	all := []chart{
		newChart("5xx", v.From, to, percent, 0.01, lines(func(p rollout.Point) float64 { return p.Errors / p.Requests })...), // 0/0 is NaN: not known
		newChart("Latency, the slow ones", v.From, to, milliseconds, 1, lines(func(p rollout.Point) float64 {
			if p.Slow == 0 {
				return math.NaN()
			}
			return 1000 * p.Slow
		})...),
	}
	crashes := lines(func(p rollout.Point) float64 { return float64(p.Crashes) })
	restarts := lines(func(p rollout.Point) float64 { return float64(p.Restarts) })
	drawn := newChart("VM crashes", v.From, to, count, 1, crashes...)
	all = append(all, drawn.counted(crashes...))
	if slices.ContainsFunc(restarts, func(s series) bool { return slices.Max(append(s.Values, 0)) > 0 }) {
		drawn = newChart("Restarts of Envoys", v.From, to, count, 1, restarts...)
		all = append(all, drawn.counted(restarts...))
	}
	for i := range all {
		for j, w := range c.Waves {
			if !w.Began.IsZero() {
				all[i].mark(w.Began, fmt.Sprintf("wave %d begins", j+1))
			}
		}
	}
	return all
}

func viewCohorts(c *rollout.CohortsStatus) []cohortView {
	if c == nil {
		return nil
	}
	view := func(name string, ids []string) cohortView {
		shown := ids[:min(len(ids), shownCohort)]
		return cohortView{Class: name, Name: name, IDs: shown, More: len(ids) - len(shown)}
	}
	return []cohortView{view("new", c.New), view("control", c.Control)}
}
