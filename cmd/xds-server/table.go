package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"wasmxds/admin"
	"wasmxds/definition"
	"wasmxds/module"
	"wasmxds/printable"
	"wasmxds/xds"
	"wasmxds/xds/swap"
)

// printTable prints the status for people.
func printTable(out io.Writer, st *admin.Status, show shown, now time.Time) error {
	d := st.Definitions
	away := ""
	if st.Envoys.Away > 0 {
		away = fmt.Sprintf(", %d away", st.Envoys.Away)
	}
	rows := make([][]row, len(st.Nodes))
	for i := range rows {
		rows[i] = rowsOf(&st.Nodes[i], now)
	}
	fmt.Fprintf(out, "%s, %s, %s%s%s\n", plural(d.Loaded, "definition"), plural(len(d.Errors), "error"), plural(st.Envoys.Connected, "Envoy"), byState(st.Nodes, rows), away)
	problems := slices.Concat(d.Errors, d.Warnings)
	if unshown := len(problems) - maxRows; unshown > 0 && !show.all {
		printProblems(out, "  ", problems[:maxRows])
		fmt.Fprintf(out, "  %d more errors and warnings; --all shows them\n", unshown)
	} else {
		printProblems(out, "  ", problems)
	}
	printUnfinished(out, "  ", st, "")
	printTurnedAway(out, st.TurnedAway, show.all, now)
	printReplicas(out, st.Replicas)
	printFilters(out, st.Filters, show)
	printEnvoys(out, st.Nodes, rows, show, now)
	return nil
}

// printReplicas tells which servers there are.
func printReplicas(out io.Writer, all []admin.Replica) {
	if len(all) == 0 {
		return
	}
	fmt.Fprintln(out)
	t := newTable(out)
	fmt.Fprintln(t, "REPLICA\tADDRESS\tSTATE\tNOTE")
	for _, r := range all {
		stand := r.Stand
		if !r.Lives {
			stand = "silent"
		}
		if r.Self {
			stand += " (this one)"
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", cell(r.ID), cell(r.Address), printable.Text(stand), printable.Text(r.Trouble))
	}
	t.Flush()
}

// printTurnedAway tells which clients got no stream: three of them, or all.
func printTurnedAway(out io.Writer, clients []xds.TurnedAway, all bool, now time.Time) {
	const few = 3
	for i, c := range clients {
		if i == few && !all {
			fmt.Fprintf(out, "  %d more were turned away within the last hour; --all shows them\n", len(clients)-few)
			return
		}
		who := "a client"
		if c.Node != "" {
			who = "node " + cell(c.Node)
		}
		fmt.Fprintf(out, "  turned away: %s at %s: %s (%s, last %s ago)\n",
			who, cell(c.Peer), printable.Text(c.Reason), plural(c.Times, "time"), age(now, c.Last))
	}
}

// newTable aligns columns, without blanks at the ends of lines.
func newTable(out io.Writer) *tabwriter.Writer {
	return tabwriter.NewWriter(&trimmed{out: out}, 0, 0, 2, ' ', 0)
}

// trimmed holds blanks back until something follows them on their line.
type trimmed struct {
	out    io.Writer
	blanks []byte
}

func (t *trimmed) Write(p []byte) (int, error) {
	var line []byte
	for _, b := range p {
		switch b {
		case ' ':
			t.blanks = append(t.blanks, b)
			continue
		case '\n':
		default:
			line = append(line, t.blanks...)
		}
		t.blanks = t.blanks[:0]
		line = append(line, b)
	}
	if _, err := t.out.Write(line); err != nil {
		return 0, err
	}
	return len(p), nil
}

// withCrashes is why a filter does not run, and that its VMs have crashed.
func withCrashes(f swap.FilterStatus, now time.Time) string {
	if f.Crashes == nil {
		return f.Reason
	}
	return strings.TrimPrefix(f.Reason+"; "+admin.FilterCrashes(f.Crashes, clockAt(now)), "; ")
}

// reason is why something does not run, and what has become of older connections.
func reason(why string, d *swap.Draining, words func(*swap.Draining, func(time.Time) string) string, now time.Time) string {
	why = printable.Text(why)
	if d == nil {
		return why
	}
	return strings.TrimPrefix(why+"; "+words(d, clockAt(now)), "; ")
}

// printMissing says what keeps [admin.Status.Done] from being so.
func printMissing(out io.Writer, st *admin.Status, name, version string, q admin.Quorum) {
	if !st.Ready {
		fmt.Fprintln(out, "  xds-server has not read and tried all definitions yet")
	}
	printAbsent(out, st, name, q)
	found := false
	for _, f := range st.Filters {
		if name != "" && f.Name != name {
			continue
		}
		found = true
		switch {
		case f.State != module.Good:
			fmt.Fprintf(out, "  filter %s: %s\n", cell(f.Name), printable.Text(f.Reason))
		case f.Running != f.Nodes:
			fmt.Fprintf(out, "  filter %s: %d of %s run it, %d pending, %d failed\n", cell(f.Name), f.Running, plural(f.Nodes, "Envoy"), f.Pending, f.Failed)
		case !f.Is(version):
			fmt.Fprintf(out, "  filter %s: it is version %s of module %s, not %s\n", cell(f.Name), cell(f.Version), cell(short(f.SHA256)), cell(version))
		}
	}
	if name == "" && st.Envoys.Behind > 0 {
		fmt.Fprintf(out, "  %s without a listener, route, cluster or the like as it is wanted\n", plural(st.Envoys.Behind, "Envoy"))
	}
	if name != "" && !found {
		fmt.Fprintf(out, "  filter %s: there is none of that name\n", cell(name))
	}
	printUnfinished(out, "  ", st, name)
	printProblems(out, "  ", st.Definitions.Errors)
}

// printAbsent says which Envoys are missing.
func printAbsent(out io.Writer, st *admin.Status, name string, q admin.Quorum) {
	connected, awaited := st.Concerned(name)
	which := ""
	if name != "" {
		which = " that is to have filter " + cell(name)
	}
	switch {
	case connected >= q.Min:
	case connected == 0:
		fmt.Fprintf(out, "  no Envoy%s is connected\n", which)
	default:
		fmt.Fprintf(out, "  %s of %d are connected%s\n", plural(connected, "Envoy"), q.Min, strings.Replace(which, " is ", " are ", 1))
	}
	if q.WithoutAway || awaited == 0 {
		return
	}
	var ids []string
	for _, n := range st.Nodes {
		if n.Awaited && (name == "" || slices.ContainsFunc(n.Filters, func(f swap.FilterStatus) bool { return f.Name == name })) {
			ids = append(ids, cell(n.ID))
		}
	}
	if len(ids) > 5 {
		ids = append(ids[:5], "…")
	}
	fmt.Fprintf(out, "  %s away, and may come back: %s (--without-away does not wait for them)\n", plural(awaited, "Envoy"), strings.Join(ids, ", "))
}

func printProblems(out io.Writer, indent string, problems []definition.Problem) {
	for _, p := range problems {
		kind := ""
		if p.Warning {
			kind = "warning: "
		}
		fmt.Fprintf(out, "%s%s%s\n", indent, kind, printable.Text(p.Error()))
		for line := range strings.Lines(p.Diff) {
			fmt.Fprintf(out, "%s    %s\n", indent, printable.Text(strings.TrimSuffix(line, "\n")))
		}
		if p.Hint != "" {
			fmt.Fprintf(out, "%shint: %s\n", indent, printable.Text(p.Hint))
		}
	}
}

func short(sha256 string) string { return sha256[:min(len(sha256), 12)] }

// cell is text of others in a table.
func cell(s string) string {
	if s == "" {
		return "-"
	}
	return printable.Word(s)
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// age is how long ago t was, to two digits or so.
func age(now, t time.Time) string {
	d := now.Sub(t)
	switch {
	case t.IsZero():
		return "-"
	case d < time.Minute:
		return fmt.Sprintf("%ds", max(0, int(d.Seconds())))
	case d < time.Hour:
		return fmt.Sprintf("%dm%02ds", int(d.Minutes()), int(d.Seconds())%60)
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh%02dm", int(d.Hours()), int(d.Minutes())%60)
	}
	return fmt.Sprintf("%dd", int(d.Hours()/24))
}
