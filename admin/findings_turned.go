package admin

import (
	"cmp"
	"fmt"
)

// turnedFindings are clients that got no stream: for the same reason they are one.
// One that has said who it is is an Envoy that lacks something; others may be anything
// that tries ports.
func turnedFindings(o *overview) []finding {
	type same struct {
		reason string
		named  bool
	}
	var all []finding
	index := map[same]int{}
	for _, c := range o.Status.TurnedAway {
		key := same{c.Reason, c.Node != ""}
		i, ok := index[key]
		if !ok {
			i = len(all)
			index[key] = i
			all = append(all, finding{Level: levelNote, Words: []string{c.Reason}})
			if key.named {
				all[i].Level = levelWarn
			}
		}
		f := &all[i]
		f.Count++
		f.Since = earlier(f.Since, c.Since)
		if len(f.Peers) < shownNodes {
			f.Peers = append(f.Peers, fmt.Sprintf("%s from %s", cmp.Or(c.Node, "a client"), c.Peer))
		}
		f.Title = plural(f.Count, "client") + " turned away"
	}
	return all
}
