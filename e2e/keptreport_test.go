package e2e

import (
	"fmt"
	"strings"
	"time"

	"wasmxds/e2e/harness"
)

// The ways in which changes come to connections that are kept open.
const (
	bySpares   = "spare slots"
	byListener = "listener replaced"
	byNaive    = "naive"
)

// addKept adds what came of changes that were made in one of these ways.
func (n *counts) addKept(way string, c combination, all tallies) {
	if n == nil {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.kept[way+" "+c.String()] = all
}

func (n *counts) addDrain(d drainCount) {
	if n == nil {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.drains = append(n.drains, d)
}

// keptTable has a row for each kind of change on each Envoy, with the same made
// in other ways behind it.
func (n *counts) keptTable() string {
	if len(n.kept) == 0 {
		return ""
	}
	var b strings.Builder
	b.WriteString("| what changes | Envoy | changes | requests | on all connections: p50 | max | connections closed | failed | unfiltered | as before | wrong order |")
	for _, way := range []string{byListener, byNaive} {
		fmt.Fprintf(&b, " %s: changes | requests | on all: p50 | never on | closed | failed | unfiltered | as before |", way)
	}
	b.WriteString("\n| --- | --- |" + strings.Repeat(" --: |", 9+2*8) + "\n")
	for _, kind := range changeKinds {
		for _, envoy := range envoys {
			for _, protocol := range []string{"sotw", "delta"} {
				c := combination{envoy, protocol}
				if k := n.kept[bySpares+" "+c.String()][kind]; k != nil {
					fmt.Fprintf(&b, "| %s | %s | %d | %d | %s | %s | %d | %d | %d | %d | %d |", kind, c, k.changes, k.requests, at(k.took, 0.5), at(k.took, 1),
						k.closed, k.failed, k.unfiltered, k.late, k.misordered)
					for _, way := range []string{byListener, byNaive} {
						o := n.kept[way+" "+c.String()][kind]
						if o == nil {
							o = &tally{}
						}
						fmt.Fprintf(&b, " %d | %d | %s | %d | %d | %d | %d | %d |", o.changes, o.requests, at(o.took, 0.5), o.never, o.closed, o.failed, o.unfiltered, o.late)
					}
					b.WriteString("\n")
				}
			}
		}
	}
	return b.String()
}

// at is a quantile of times, in words.
func at(took []time.Duration, share float64) string {
	if len(took) == 0 {
		return "–"
	}
	return fmt.Sprintf("%d ms", harness.Quantile(took, share).Milliseconds())
}

// drainTable tells when connections of a listener that was replaced are ended.
func (n *counts) drainTable() string {
	if len(n.drains) == 0 {
		return ""
	}
	var b strings.Builder
	b.WriteString("| Envoy | connections | ended after: p50 | max | by | still open | requests | failed |\n| --- | --- | --: | --: | --- | --: | --: | --: |\n")
	for _, d := range drains() {
		for _, c := range n.drains {
			if c.String() != d.String() {
				continue
			}
			open := "0"
			if c.open > 0 {
				open = fmt.Sprintf("%d, after %v", c.open, c.watched)
			}
			fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s | %d | %d |\n", d, c.what, at(c.took, 0.5), at(c.took, 1), strings.Join(c.why, ", "), open, c.requests, c.failed)
		}
	}
	return b.String()
}
