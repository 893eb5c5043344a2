package definition

import (
	"maps"
	"slices"
	"strconv"

	"wasmxds/definition/internal/document"
)

// waves reads all waves, and ensures that the last includes all Envoys.
func (d *Doc) waves(written []*document.Node) []Wave {
	const at = "waves"
	if written != nil && len(written) == 0 {
		d.Problem(at, "[1, 5%, 25%] is an example; or delete the Rollout: without one a change goes everywhere at once", "is empty")
	}
	if len(written) > maxWaves {
		d.Problem(at, "", "%d waves, %d at most", len(written), maxWaves)
		return nil
	}
	var waves []Wave
	for i, n := range written {
		wave, ok := d.wave(document.Index(at, i), n)
		if !ok {
			continue
		}
		d.grows(document.Index(at, i), waves, wave)
		waves = append(waves, wave)
	}
	if last := len(waves) - 1; last < 0 || waves[last].Share < 1 {
		waves = append(waves, Wave{Share: 1})
	}
	return waves
}

func (d *Doc) wave(at string, n *document.Node) (Wave, bool) {
	before := len(d.problems)
	var w Wave
	switch n.Kind {
	case document.Number:
		w.Count = d.count(at, n, "a share is written with a percent sign: 5%")
	case document.Text:
		w.Share = d.percent(at, n, "more than 0% and at most 100%", func(p float64) bool { return p > 0 && p <= 100 })
	case document.Object:
		var of struct {
			Labels map[string]string `json:"labels" jsonschema:"required"`
		}
		found := n.Decode(&of, at)
		d.report(found)
		w.Labels = of.Labels
		if len(found) == 0 {
			d.waveLabels(at+".labels", w.Labels)
		}
	default:
		d.Problem(at, "{labels: {tier: canary}}, 1 or 5%", "%s, needs labels, a count or a share", n.Kind)
	}
	return w, len(d.problems) == before
}

func (d *Doc) waveLabels(at string, labels map[string]string) {
	switch {
	case len(labels) == 0:
		d.Problem(at, "name one at least: {tier: canary}; everyone is 100%", "is empty")
	case len(labels) > maxLabels:
		d.Problem(at, "", "%d labels, %d at most", len(labels), maxLabels)
	}
	for _, key := range slices.Sorted(maps.Keys(labels)) {
		if key == "" || len(key)+len(labels[key]) > 1000 {
			d.Problem(at, "", "%.60q: %.60q can't be a label", key, labels[key])
		}
	}
	d.Labels(at, labels)
}

// grows reports a wave that is certain to add no Envoys to those of the waves
// before it.
func (d *Doc) grows(at string, before []Wave, w Wave) {
	for _, b := range slices.Backward(before) {
		switch {
		case b.Share == 1:
			d.Problem(at, "100% is the last wave", "comes after 100%%, which is everyone")
		case w.Count > 0 && b.Count >= w.Count:
			d.Problem(at, "waves grow: each has the Envoys of those before it", "%d after %d reaches no further Envoy", w.Count, b.Count)
		case w.Share > 0 && b.Share >= w.Share:
			d.Problem(at, "waves grow: each has the Envoys of those before it", "%s after %s reaches no further Envoy", percentOf(w.Share), percentOf(b.Share))
		case len(b.Labels) > 0 && len(w.Labels) > 0 && within(b.Labels, w.Labels):
			d.Problem(at, "waves grow: each has the Envoys of those before it", "Envoys with these labels are in an earlier wave")
		default:
			continue
		}
		return
	}
}

func (d *Doc) count(at string, n *document.Node, hint string) int {
	count, err := strconv.Atoi(n.Text)
	if n.Kind != document.Number || err != nil || count < 1 || count > maxCount {
		d.Problem(at, hint, "%s, needs a whole number from 1 to %d", shown(n), maxCount)
		return 0
	}
	return count
}
