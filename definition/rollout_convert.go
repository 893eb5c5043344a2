package definition

import (
	"cmp"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"wasmxds/definition/internal/document"
)

// convertRollout writes what differs from the defaults.
func convertRollout(r *Rollout) *rollout {
	w := &rollout{Kind: rolloutKind, Name: r.Name}
	if len(r.Definitions) != 1 || r.Definitions[0] != "*" {
		w.Match = &rolloutMatch{Definitions: r.Definitions}
	}
	for _, wave := range r.Waves {
		w.Waves = append(w.Waves, waveNode(wave))
	}
	if r.Bake != defaultBake {
		w.Bake = textNode(shortDuration(r.Bake))
	}
	w.Stop = convertStop(r.Stop)
	if r.Then != Rollback {
		w.Then = r.Then
	}
	for _, j := range r.Ask {
		if p := j.Prometheus; p != nil {
			w.Ask = append(w.Ask, rolloutJudge{Prometheus: &prometheusJudge{URL: p.URL, Query: p.Query, Max: numberNode(p.Max)}})
		}
		if h := j.Webhook; h != nil {
			w.Ask = append(w.Ask, rolloutJudge{Webhook: &webhookJudge{URL: h.URL}})
		}
	}
	return w
}

func waveNode(w Wave) *document.Node {
	switch {
	case w.Count > 0:
		return numberNode(float64(w.Count))
	case w.Share > 0:
		return textNode(percentOf(w.Share))
	}
	labels := &document.Node{Kind: document.Object}
	for _, key := range slices.Sorted(maps.Keys(w.Labels)) {
		labels.Fields = append(labels.Fields, document.Field{Key: key, Value: textNode(w.Labels[key])})
	}
	return &document.Node{Kind: document.Object, Fields: []document.Field{{Key: "labels", Value: labels}}}
}

// shortDuration formats 2m0s as 2m.
func shortDuration(t time.Duration) string {
	s := t.String()
	if t%time.Minute == 0 {
		s = strings.TrimSuffix(s, "0s")
	}
	if t%time.Hour == 0 {
		s = strings.TrimSuffix(s, "0m")
	}
	return cmp.Or(s, "0s")
}

func convertStop(s Stop) *rolloutStop {
	w, usual := &rolloutStop{}, defaultStop()
	for _, c := range []struct {
		is, usual int
		into      **document.Node
	}{{s.Refused, usual.Refused, &w.Refused}, {s.Crashes, usual.Crashes, &w.Crashes}, {s.Restarts, usual.Restarts, &w.Restarts}} {
		if c.is != c.usual {
			*c.into = numberNode(float64(c.is))
		}
	}
	if s.Errors != usual.Errors {
		w.Errors = &errorRise{More: textNode(percentOf(s.Errors.More)), Confidence: textNode(percentOf(s.Errors.Confidence))}
	}
	if s.Latency != usual.Latency {
		w.Latency = &latencyRise{
			P: numberNode(s.Latency.P), More: textNode(percentOf(s.Latency.More)), Confidence: textNode(percentOf(s.Latency.Confidence)),
		}
	}
	if s.NoTraffic != usual.NoTraffic {
		w.NoTraffic = s.NoTraffic
	}
	if *w == (rolloutStop{}) {
		return nil
	}
	return w
}

func numberNode(v float64) *document.Node {
	return &document.Node{Kind: document.Number, Text: strconv.FormatFloat(v, 'g', -1, 64)}
}
