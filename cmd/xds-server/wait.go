package main

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"wasmxds/admin"
	"wasmxds/printable"
	"wasmxds/xds"
	"wasmxds/xds/swap"
)

// waitFor is what status waits for: --wait, --wait=running or --wait=drained.
// The zero value is nothing.
type waitFor string

const (
	untilRunning waitFor = "running" // every Envoy runs what is wanted
	untilDrained waitFor = "drained" // and no connection goes on with a listener that was replaced
)

func (w *waitFor) String() string { return string(*w) }

func (w *waitFor) Type() string { return "for" }

func (w *waitFor) Set(text string) error {
	switch text {
	case "running", "true": // also as XDS_SERVER_WAIT
		*w = untilRunning
	case "drained":
		*w = untilDrained
	case "false":
		*w = ""
	default:
		return errors.New("must be running or drained")
	}
	return nil
}

// errInterrupted is the end of a wait by a signal: what was waited for is not known
// to be there.
var errInterrupted = errors.New("interrupted")

// stopWatch sees when a change has been stopped for longer than a file that was
// just written, and may take its place, goes unnoticed.
type stopWatch struct {
	id    string
	since time.Time
}

// look gives the change that is stopped now, once that has lasted.
func (w *stopWatch) look(now *admin.Rollout, at time.Time) *admin.Rollout {
	switch {
	case now == nil:
		*w = stopWatch{}
	case now.ID != w.id:
		*w = stopWatch{now.ID, at}
	case at.Sub(w.since) >= settle:
		return now
	}
	return nil
}

// stopped says that a change goes no further, and what can be done.
func stopped(r *admin.Rollout) error {
	id := cell(admin.ShortID(r.ID))
	return fmt.Errorf("the change of %s was stopped: %s\nhint: xds-server rollout show %s has more; mend it, or take it back, in the directory", printable.Text(r.Title), printable.Text(r.Words), id)
}

// printUnfinished says which changes are not everywhere.
func printUnfinished(out io.Writer, indent string, st *admin.Status, name string) {
	for _, r := range st.Unfinished(name) {
		fmt.Fprintf(out, "%schange %s of %s is %s: %s\n", indent, cell(admin.ShortID(r.ID)), printable.Text(r.Title), cell(string(r.State)), printable.Text(r.Words))
	}
	for _, h := range st.RolledBack {
		if name == "" || h.Kind == "filter" && h.Name == name {
			fmt.Fprintf(out, "%s%s %s is not what the files say, as change %s was rolled back: until they say it, too, or something new\n", indent, cell(h.Kind), cell(h.Name), cell(admin.ShortID(h.By)))
		}
	}
}

// printDraining says which Envoys keep [admin.Status.Drained] from being so, and
// until when.
func printDraining(out io.Writer, st *admin.Status, name string, now time.Time) {
	var ids []string
	var last time.Time
	known := true
	for _, n := range st.Nodes {
		of := drainings(&n, name)
		if len(of) == 0 {
			continue
		}
		ids = append(ids, cell(n.ID))
		for _, d := range of {
			known = known && !d.Until.IsZero()
			if d.Until.After(last) {
				last = d.Until
			}
		}
	}
	if len(ids) == 0 { // by now
		fmt.Fprintln(out, "  older connections were not drained until just now")
		return
	}
	when := "until when is not known"
	if known {
		when = "until " + clockAt(now)(last) + " at the latest"
	}
	count := plural(len(ids), "Envoy")
	if len(ids) > 5 {
		ids = append(ids[:5], "…")
	}
	fmt.Fprintf(out, "  %s with connections that are not drained, %s: %s\n", count, when, strings.Join(ids, ", "))
}

// drainings are those of an Envoy that count for a filter, or for all with name "".
func drainings(n *xds.NodeStatus, name string) []*swap.Draining {
	var all []*swap.Draining
	for _, f := range n.Filters {
		if name == "" || f.Name == name {
			all = append(all, f.Draining)
		}
	}
	for _, l := range n.Listeners {
		if name == "" {
			all = append(all, l.Draining)
		}
	}
	return slices.DeleteFunc(all, func(d *swap.Draining) bool { return d == nil })
}

// clockAt writes times as somebody reads them at now: with a date where it is
// another day's.
func clockAt(now time.Time) func(time.Time) string {
	return func(t time.Time) string {
		t = t.In(now.Location())
		if t.YearDay() != now.YearDay() || t.Year() != now.Year() {
			return t.Format(time.DateTime)
		}
		return t.Format(time.TimeOnly)
	}
}
