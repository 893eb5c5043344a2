package rollout

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"wasmxds/definition"
)

func number(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

func times(n int) string {
	switch n {
	case 1:
		return "once"
	case 2:
		return "twice"
	}
	return fmt.Sprintf("%d times", n)
}

// ofAll returns "all 3 Envoys run it" or "2 of 3 Envoys run it".
func ofAll(n, all int) string {
	switch {
	case n < all && all == 1:
		return "its Envoy does not run it yet"
	case n < all:
		return fmt.Sprintf("%d of %d Envoys run it", n, all)
	case all == 1:
		return "its Envoy runs it"
	}
	return fmt.Sprintf("all %d Envoys run it", all)
}

// list returns the first few IDs.
func list(ids []string) string {
	if len(ids) > 3 {
		return strings.Join(ids[:3], ", ") + " and " + number(len(ids)-3, "other", "others")
	}
	return strings.Join(ids, ", ")
}

func span(d time.Duration) string {
	if d < time.Second {
		return d.Round(time.Millisecond).String()
	}
	return d.Round(time.Second).String()
}

func labelWords(labels map[string]string) string {
	var all []string
	for _, key := range slices.Sorted(maps.Keys(labels)) {
		all = append(all, key+"="+labels[key])
	}
	return strings.Join(all, ",")
}

func waveName(w definition.Wave) string {
	switch {
	case w.Labels != nil:
		return labelWords(w.Labels)
	case w.Count > 0:
		return number(w.Count, "Envoy", "Envoys")
	}
	return strings.TrimSuffix(fmt.Sprintf("%.4g", w.Share*100), ".0") + " %"
}

// kindWord returns a kind as people call it.
func kindWord(kind string) string {
	word := kind[strings.LastIndex(kind, ".")+1:]
	return strings.ToLower(word[:min(1, len(word))]) + word[min(1, len(word)):]
}

// at returns " in wave 1 of 5", or "" if no wave has begun.
func (c *change) at() string {
	if c.Wave == 0 {
		return ""
	}
	return fmt.Sprintf(" in wave %d of %d", c.Wave, c.policyWaves())
}

// words returns the progress of a change, and what it waits for.
func (m *Machine) words(c *change, now time.Time) string {
	switch c.State {
	case Waiting:
		return c.Reason
	case Superseded:
		return "the definitions have changed again"
	case Done:
		return m.since(c)
	case Paused:
		return "paused" + c.at() + ": " + c.Reason
	case Stopped:
		after := ""
		if c.Wave > 0 {
			after = " after " + span(c.Ended.Sub(c.Waves[c.Wave-1].Began))
		}
		s := "stopped" + c.at() + after + ": " + c.Reason
		switch n := len(c.returning); {
		case n > 0:
			s += fmt.Sprintf("; %s still to get the previous version back", number(n, "Envoy is", "Envoys are"))
		case c.back > 0:
			s += fmt.Sprintf("; its %s back on the previous version", number(c.back, "Envoy is", "Envoys are"))
		}
		return s
	}
	return m.rolling(c, now)
}

// since returns what has become of a change that has joined the base.
func (m *Machine) since(c *change) string {
	back, left := 0, 0 // definitions that were rolled back, and those that are in force
	for _, d := range c.Diffs {
		if m.held[d.Key].By == c.ID {
			back++
		}
		if hashIn(m.base[d.Key]) == hashIn(d.To) {
			left++
		}
	}
	switch {
	case back > 0 && left > 0:
		return "it is being rolled back"
	case back > 0:
		return "rolled back: the version before it is in force until the definitions change"
	case left == 0:
		return "later changes have replaced it"
	case left < len(c.Diffs):
		return "in force on all Envoys, except for what later changes have replaced"
	}
	return "in force on all Envoys"
}

func (m *Machine) rolling(c *change, now time.Time) string {
	switch {
	case c.growth != nil && c.growth.writing:
		return fmt.Sprintf("wave %d of %d begins once that is saved", c.growth.wave, c.policyWaves())
	case c.waitsFor != nil && c.Wave == 0:
		return c.awaited()
	case c.expected > 0:
		return "waits for Envoys to reconnect: " + number(c.expected, "one", fmt.Sprint(c.expected))
	case c.concerned == 0 && c.away == 0:
		return "no connected Envoy is affected"
	case c.Wave == 0:
		return "its first Envoys are observed before wave 1"
	}
	s := fmt.Sprintf("in wave %d of %d: ", c.Wave, c.policyWaves())
	switch w := c.Waves[c.Wave-1]; {
	case c.members == 0 && c.away > 0:
		return s + "all its Envoys have disconnected, and may reconnect"
	case c.growth != nil && (c.members == 0 || c.growth.wave == c.Wave):
		return s + "all its Envoys disconnected; it begins again with others, which are observed before"
	case c.members == 0 && c.waitsFor != nil:
		return s + "all its Envoys have disconnected; " + c.awaited()
	case c.members == 0:
		return s + "all its Envoys have disconnected, and it applies to no other"
	case c.settled == 0 || c.unsettled > 0:
		return s + m.behind(c)
	case now.Sub(w.Good) < c.Policy.Bake:
		return fmt.Sprintf("%s%s, for %s of %s", s, ofAll(c.settled, c.members), span(now.Sub(w.Good)), span(c.Policy.Bake))
	}
	if why := m.judged(c); why != "" || c.waitsFor == nil {
		return s + why
	}
	return c.awaited()
}

// awaited returns what the next wave waits for.
func (c *change) awaited() string {
	return "no Envoy has the labels of the next wave, " + labelWords(c.waitsFor)
}

// mostNamed is how many Envoys a wave may wait for so that they are named.
const mostNamed = 20

// behind returns how many Envoys of a wave run the change, and names those that it waits for.
func (m *Machine) behind(c *change) string {
	some := ofAll(c.settled, c.members)
	if c.unsettled > mostNamed {
		return some
	}
	var rejects, others []string
	for n := range m.members(c) {
		switch {
		case n.settled.Has(c.ID):
		case slices.Contains(c.Counts.Refused, n.ID):
			rejects = append(rejects, n.ID)
		case !c.late(n):
			others = append(others, n.ID)
		}
	}
	slices.Sort(rejects)
	slices.Sort(others)
	why := ""
	switch {
	case len(rejects) == 1:
		why = rejects[0] + " rejects it"
	case len(rejects) > 1:
		why = list(rejects) + " reject it"
	case len(others) > 0:
		why = "waiting for " + list(others)
	default:
		return some
	}
	if c.members == 1 {
		return why
	}
	return some + "; " + why
}
