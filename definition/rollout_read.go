package definition

import (
	"regexp"
	"strings"
	"time"

	"wasmxds/definition/internal/document"
	"wasmxds/misspelt"
	"wasmxds/printable"
)

const rolloutKind = "Rollout"

// rollout is a document of kind Rollout. Fields that accept several types, or
// that are neither text nor integers, are nodes.
type rollout struct {
	Kind  string           `json:"kind" jsonschema:"required,enum=Rollout"`
	Name  string           `json:"name" jsonschema:"required,maxLength=253" jsonschema_description:"Name of the policy; unique among Rollouts. Of several that match a change, the first by name counts."`
	Match *rolloutMatch    `json:"match,omitempty" jsonschema_description:"Changes that the policy is for. Default: all."`
	Waves []*document.Node `json:"waves" jsonschema:"required,minItems=1,maxItems=100" jsonschema_description:"Who gets a change, in turn: Envoys with labels, a count of them, or a share. Where the last is not 100%, all the others follow it."`
	Bake  *document.Node   `json:"bake,omitempty" jsonschema_description:"For how long each wave must be good: like 90s or 2m (default)."`
	Stop  *rolloutStop     `json:"stop,omitempty" jsonschema_description:"What ends a change."`
	Then  Then             `json:"then,omitempty" jsonschema:"enum=rollback,enum=pause" jsonschema_description:"What follows when a change is stopped: rollback (default) gives its Envoys what they had before, pause leaves it where it is."`
	Ask   []rolloutJudge   `json:"ask,omitempty" jsonschema:"maxItems=16" jsonschema_description:"Judges of your own, each asked every few seconds while a change is on its way."`
}

type rolloutMatch struct {
	Definitions []string `json:"definitions" jsonschema:"required,minItems=1,maxItems=1000" jsonschema_description:"Names of definitions of every kind; * ? and [a-z] are wildcards."`
}

type rolloutJudge struct {
	Prometheus *prometheusJudge `json:"prometheus,omitempty" jsonschema_description:"A change is bad while a query has a value above a limit."`
	Webhook    *webhookJudge    `json:"webhook,omitempty" jsonschema_description:"A server that says what it thinks of a change."`
}

type prometheusJudge struct {
	URL   string         `json:"url" jsonschema:"required,maxLength=2048" jsonschema_description:"http:// or https:// URL of the server, without /api/v1/query."`
	Query string         `json:"query" jsonschema:"required,minLength=1,maxLength=10000" jsonschema_description:"PromQL."`
	Max   *document.Node `json:"max" jsonschema:"required" jsonschema_description:"The highest value that is good."`
}

type webhookJudge struct {
	URL string `json:"url" jsonschema:"required,maxLength=2048" jsonschema_description:"http:// or https:// URL that a change is sent to by POST."`
}

// Bounds of a Rollout, which limit what is stored for it and how often judges
// are asked.
const (
	maxWaves    = 100
	maxLabels   = 20
	maxGlobs    = 1000
	maxJudges   = 16
	maxCount    = 1_000_000
	defaultBake = 2 * time.Minute
	maxBake     = 30 * 24 * time.Hour
	maxQuery    = 10_000
	maxURL      = 2048
)

func readRollout(d *Doc) {
	if at := d.root.Get("apiVersion"); at != nil {
		d.Problem("apiVersion", "apiVersion: "+APIVersion+"; or write name, and what is in spec, beside kind", "%s is not known", document.TextOf(at))
		return
	}
	var w rollout
	ok := d.Decode(&w)
	before := len(d.problems)
	r := &Rollout{
		Name: w.Name, Pos: d.Pos(), Definitions: d.rolloutMatch(w.Match),
		Waves: d.waves(w.Waves), Bake: d.bake(w.Bake), Stop: d.stop(w.Stop), Then: w.Then,
	}
	if r.Then == "" {
		r.Then = Rollback
	}
	d.name("name", r.Name)
	if len(w.Ask) > maxJudges {
		d.Problem("ask", "", "%d judges, %d at most", len(w.Ask), maxJudges)
		w.Ask = nil
	}
	for i, j := range w.Ask {
		r.Ask = append(r.Ask, d.judge(document.Index("ask", i), j))
	}
	if ok && len(d.problems) == before {
		d.addRollout(r)
	}
}

func (d *Doc) rolloutMatch(m *rolloutMatch) []string {
	if m == nil {
		return []string{"*"}
	}
	const at = "match.definitions"
	switch n := len(m.Definitions); {
	case m.Definitions != nil && n == 0:
		d.Problem(at, "leave match out for all definitions", "is empty, which matches none")
	case n > maxGlobs:
		d.Problem(at, "", "%d names, %d at most", n, maxGlobs)
		return nil
	}
	d.globs(at, m.Definitions)
	for i, glob := range m.Definitions {
		if written := d.at(document.Index(at, i)); written == nil || written.Kind != document.Text {
			continue // Decode has reported that it is not text
		}
		if glob == "" || len(glob) > 1000 || !printable.Is(glob) {
			d.Problem(document.Index(at, i), "", "%.60q can't be the name of a definition", glob)
		}
	}
	return m.Definitions
}

func (d *Doc) bake(n *document.Node) time.Duration {
	if n == nil {
		return defaultBake
	}
	t, err := time.ParseDuration(n.Text)
	switch {
	case n.Kind == document.Number:
		d.Problem("bake", "with a unit: "+shown(n)+"s", "%s is not a duration like 2m or 90s", shown(n))
	case n.Kind != document.Text || err != nil:
		d.Problem("bake", "", "%s is not a duration like 2m or 90s", shown(n))
	case t < 0:
		d.Problem("bake", "0s: the next wave begins as soon as nothing speaks against it", "%s is less than nothing", n.Text)
	case t > maxBake:
		d.Problem("bake", "", "%s, 720h at most", n.Text)
	}
	return t
}

// othersRollout reports whether an object is of another project's kind Rollout,
// such as those of Argo and OpenKruise. Only ours has waves.
func (d *Doc) othersRollout() bool {
	group, _, ok := strings.Cut(document.TextOf(d.root.Get("apiVersion")), "/")
	switch {
	case !ok || !strings.Contains(group, ".") || group == Group:
		return false
	case group == "argoproj.io" || group == "rollouts.kruise.io":
		return true
	}
	return d.root.Get("waves") == nil && d.root.Get("spec").Get("waves") == nil
}

// rolloutHole reads which definitions a Rollout with errors may apply to.
func (d *Doc) rolloutHole(h *Hole) {
	h.Kind, h.Attach = rolloutKind, Attach{}
	var m rolloutMatch
	if n := d.root.Get("match"); n != nil && n.Exact(&m) && len(m.Definitions) > 0 && d.Try(func(d *Doc) { d.rolloutMatch(&m) }) {
		h.Definitions = m.Definitions
	}
}

// mentionsRollout matches the kind in a file that can't be read.
var mentionsRollout = regexp.MustCompile(`(?i)\bkind["']?\s*:\s*["']?rollo?ut`)

// looksLikeRollout reports whether a document of an unknown kind was probably
// meant to be a Rollout.
func looksLikeRollout(root *document.Node, kind string) bool {
	if root.Get("module") != nil || root.Get("routes") != nil {
		return false
	}
	return misspelt.Nearest(kind, []string{rolloutKind}) != "" || root.Get("waves") != nil
}
