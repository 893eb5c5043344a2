package admin

import (
	"cmp"
	"fmt"
)

// turnedFindings returns clients that were denied a stream, combined by reason.
// Those that have sent a node id are Envoys that lack something; others may be
// port scanners.
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
