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
	case n < all:
		return fmt.Sprintf("%d of %s run it", n, number(all, "Envoy", "Envoys"))
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
		if m.heldBy(c.ID) != "" {
			return "rolled back: the version before it is in force until the definitions change"
		}
		return "in force on all Envoys"
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

func (m *Machine) rolling(c *change, now time.Time) string {
	switch {
	case c.growth != nil && c.growth.writing:
		return fmt.Sprintf("wave %d of %d begins once that is saved", c.growth.wave, c.policyWaves())
	case c.waitsFor != nil:
		return "no Envoy has the labels of the next wave, " + labelWords(c.waitsFor)
	case c.expected > 0:
		return "waits for Envoys to reconnect: " + number(c.expected, "one", fmt.Sprint(c.expected))
	case c.concerned == 0 && c.away == 0:
		return "no connected Envoy is affected"
	case c.Wave == 0:
		return "its first Envoys are observed before wave 1"
	}
	s := fmt.Sprintf("in wave %d of %d: ", c.Wave, c.policyWaves())
	switch w := c.Waves[c.Wave-1]; {
	case c.members == 0:
		return s + "all its Envoys have disconnected, and it applies to no other"
	case w.Good.IsZero():
		return s + ofAll(c.settled, c.members)
	case now.Sub(w.Good) < c.Policy.Bake:
		return fmt.Sprintf("%s%s, for %s of %s", s, ofAll(c.settled, c.members), span(now.Sub(w.Good)), span(c.Policy.Bake))
	case c.settled == 0 || c.unsettled > 0:
		return s + ofAll(c.settled, c.members)
	}
	return s + m.judged(c)
}
