package main

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"wasmxds/admin"
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
		return errors.New("running or drained")
	}
	return nil
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
