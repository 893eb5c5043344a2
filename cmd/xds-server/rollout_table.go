package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"wasmxds/admin"
	"wasmxds/printable"
	"wasmxds/rollout"
)

// printRollouts prints all changes for people.
func printRollouts(out io.Writer, all *admin.Rollouts, now time.Time) error {
	open := 0
	for _, c := range all.Changes {
		if c.State.Open() {
			open++
		}
	}
	fmt.Fprintf(out, "%s in progress\n", plural(open, "change"))
	if all.Stalled != "" {
		fmt.Fprintf(out, "  no wave begins: %s\n", printable.Text(all.Stalled))
	}
	if r := all.Removal; r != nil {
		fmt.Fprintf(out, "  %s: %d of %d definitions would be removed at once, and are held back\n  hint: xds-server rollout promote %s removes them\n",
			cell(r.ID), r.Definitions, r.Of, cell(r.ID))
	}
	for _, h := range all.Held {
		fmt.Fprintf(out, "  %s %s is not what the files say, as change %s was rolled back\n", cell(h.Kind), cell(h.Name), cell(admin.ShortID(h.By)))
	}
	if len(all.Changes) > 0 {
		fmt.Fprintln(out)
		t := newTable(out)
		fmt.Fprintln(t, "CHANGE\tOF\tSTATE\tWAVE\tENVOYS\tSINCE\tHOW FAR")
		for _, c := range all.Changes {
			since := c.Opened
			if !c.Ended.IsZero() {
				since = c.Ended
			}
			envoys := "-"
			if c.State.Open() { // otherwise, they are no longer counted
				envoys = fmt.Sprintf("%d of %d", c.Settled, c.Concerned)
			}
			fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", cell(admin.ShortID(c.ID)), printable.Text(c.Title), cell(string(c.State)),
				waveOf(&c), envoys, age(now, since), printable.Text(c.Words))
		}
		t.Flush()
	}
	if len(all.Bases) > 0 {
		fmt.Fprintln(out)
		t := newTable(out)
		fmt.Fprintln(t, "BASE\tOF\tSINCE\tNOTE")
		for i, b := range all.Bases {
			note := ""
			if i == 0 {
				note = "in force"
			}
			fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", cell(admin.ShortID(b.ID)), printable.Text(b.Title), age(now, b.At), note)
		}
		t.Flush()
	}
	return nil
}

func waveOf(c *rollout.ChangeStatus) string {
	if len(c.Waves) == 0 {
		return "-"
	}
	return fmt.Sprintf("%d of %d", c.Wave, len(c.Waves))
}

// printChange prints one change for people.
func printChange(out io.Writer, c *rollout.ChangeStatus, now time.Time) error {
	fmt.Fprintf(out, "%s %s, %s\n  %s\n", cell(c.ID), printable.Text(c.Title), cell(string(c.State)), printable.Text(c.Words))
	policy := "without a policy"
	if c.Policy != "" {
		policy = "by policy " + cell(c.Policy)
	}
	fmt.Fprintf(out, "  opened %s ago, %s", age(now, c.Opened), policy)
	if c.State.Open() {
		fmt.Fprintf(out, "; %d of %s run it\n", c.Settled, plural(c.Concerned, "Envoy"))
	} else {
		fmt.Fprintf(out, "; ended %s ago\n", age(now, c.Ended))
	}
	if len(c.Waves) > 0 {
		fmt.Fprintln(out)
		t := newTable(out)
		fmt.Fprintln(t, "WAVE\tWHO\tENVOYS\tBEGAN\tGOOD FOR\tNOTE")
		clock := clockAt(now)
		for i, w := range c.Waves {
			began, good, note := "-", "-", ""
			if !w.Began.IsZero() {
				began = clock(w.Began)
			}
			if !w.Good.IsZero() {
				until := now
				if !w.Ended.IsZero() {
					until = w.Ended
				}
				good = age(until, w.Good)
			}
			switch {
			case !w.Ended.IsZero():
				note = "over"
			case i+1 == c.Wave:
				note = cell(string(c.State))
			}
			envoys := "-"
			if w.Envoys > 0 || !w.Began.IsZero() {
				envoys = fmt.Sprint(w.Envoys)
			}
			fmt.Fprintf(t, "%d\t%s\t%s\t%s\t%s\t%s\n", i+1, printable.Text(w.Name), envoys, began, good, note)
		}
		t.Flush()
	}
	printVerdicts(out, c)
	for _, d := range c.Definitions {
		fmt.Fprintf(out, "\n%s %s: %s%s\n", cell(d.Kind), cell(d.Name), cell(d.What), fromTo(d))
		for _, l := range d.Diff {
			fmt.Fprintf(out, "  %s%s\n", l.Sign(), printable.Text(l.Text))
		}
	}
	return nil
}

func fromTo(d rollout.DefinitionStatus) string {
	switch {
	case d.From != "" && d.To != "":
		return " from " + cell(d.From) + " to " + cell(d.To)
	case d.To != "":
		return " as " + cell(d.To)
	case d.From != "":
		return ", it was " + cell(d.From)
	}
	return ""
}

// printVerdicts prints who is compared, what they tell, and what judges say.
func printVerdicts(out io.Writer, c *rollout.ChangeStatus) {
	if len(c.Judges) > 0 {
		fmt.Fprintln(out)
		t := newTable(out)
		fmt.Fprintln(t, "JUDGE\tVERDICT\tWHY")
		for _, j := range c.Judges {
			fmt.Fprintf(t, "%s\t%s\t%s\n", printable.Text(j.Judge), printable.Text(string(j.Verdict)), printable.Text(j.Words))
		}
		t.Flush()
	}
	if c.Cohorts == nil {
		return
	}
	fmt.Fprintln(out)
	for _, of := range []struct {
		name   string
		ids    []string
		points []rollout.Point
	}{{"new", c.Cohorts.New, pointsOf(c, true)}, {"control", c.Cohorts.Control, pointsOf(c, false)}} {
		fmt.Fprintf(out, "%s: %s%s\n", of.name, names(of.ids), told(of.points))
	}
}

func pointsOf(c *rollout.ChangeStatus, fresh bool) []rollout.Point {
	switch {
	case c.Curves == nil:
		return nil
	case fresh:
		return c.Curves.New
	}
	return c.Curves.Control
}

// names are the first of some Envoys.
func names(ids []string) string {
	if len(ids) == 0 {
		return "none"
	}
	var shown []string
	for _, id := range ids[:min(len(ids), 5)] {
		shown = append(shown, cell(id))
	}
	if more := len(ids) - len(shown); more > 0 {
		shown = append(shown, fmt.Sprintf("and %d more", more))
	}
	return strings.Join(shown, ", ")
}

// told sums up what a cohort has told.
func told(points []rollout.Point) string {
	var requests, errors float64
	crashes, restarts := 0, 0
	for _, p := range points {
		requests, errors = requests+p.Requests, errors+p.Errors
		crashes, restarts = crashes+p.Crashes, restarts+p.Restarts
	}
	text := ""
	if requests > 0 {
		text = fmt.Sprintf("; %.0f requests, %.2f %% of them 5xx", requests, 100*errors/requests)
	}
	if crashes > 0 {
		text += fmt.Sprintf("; %d VM crashes", crashes)
	}
	if restarts > 0 {
		text += "; " + plural(restarts, "restart")
	}
	return text
}
