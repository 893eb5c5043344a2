package rollout_test

import (
	"cmp"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"

	"wasmxds/definition"
	"wasmxds/module"
	"wasmxds/rollout"
)

// TestScripts plays testdata/*.txt: events of a rollout, and which Envoys then get what. The
// commands are:
//
//	policies                   sets the policies below it, one a line, in the form of policyOf
//	unreadable NAME            makes the policy of that name unreadable; "": any name
//	files                      sets the definitions below it, in the form of wantedOf
//	envoys NAME[@CLUSTER][:LABEL=VALUE]...  connects, or reconnects
//	gone | restarted NAME...
//	settled [NAME...]          these, or all, run what they should
//	late NAME CHANGE           it reports that it runs that, which it should have before
//	crash NAME FILTER [unsure]
//	refuse NAME KIND/NAME MESSAGE
//	before CHANGE WAVE WORDS   the samples of its Envoys from before the wave
//	judge CHANGE JUDGE good|bad|no-traffic|unable [WORDS]
//	ask CHANGE JUDGE           the same in two steps: this asks it,
//	answer good|bad|no-traffic|unable [WORDS]  and this is what the one asked last says
//	pause | resume | promote | stop | rollback [CHANGE] [once] [later]
//	wait DURATION
//	store away | back          while it is away, nothing is written
//	restart [DURATION]         starts another server, from what is written; its clock is behind by that
//	who                        prints who has what
//	status
//	options [signals] [before=DURATION]  for the machines from now on
func TestScripts(t *testing.T) {
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		s := newScript(t)
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			s.t = t
			return s.run(d)
		})
	})
}

type script struct {
	t       *testing.T
	o       rollout.Options
	m       *rollout.Machine
	now     time.Time
	wake    time.Time
	disk    disk
	away    bool // the store is
	queue   []*rollout.Batch
	watched map[string]rollout.Watch // during waves, by change

	files    []string
	known    map[string]any
	policies []*definition.Rollout
	holes    []*definition.Hole
	nodes    map[string]definition.Node
	there    map[string]bool // connected
	choices  map[string]rollout.Choice
	plan     *rollout.Plan
	asked    rollout.Look
	base     []string
	ids      map[string]string // of changes, → as the script calls them
}

func newScript(t *testing.T) *script {
	s := &script{watched: map[string]rollout.Watch{}, t: t, now: time.Unix(0, 0).UTC(), disk: disk{}, known: map[string]any{}, nodes: map[string]definition.Node{}, there: map[string]bool{},
		choices: map[string]rollout.Choice{}, ids: map[string]string{}, o: rollout.Options{Check: check}}
	s.start()
	return s
}

func (s *script) start() {
	s.o.Broken = func(err error) { s.t.Error(err) }
	m, errs := rollout.New(s.o, s.disk.copy())
	for _, err := range errs {
		s.t.Error(err)
	}
	s.m, s.queue = m, nil
}

func (s *script) run(d *datadriven.TestData) string {
	var args []string
	for _, a := range d.CmdArgs {
		args = append(args, a.String())
	}
	arg := func(i int) string {
		if i < len(args) {
			return args[i]
		}
		return ""
	}
	switch d.Cmd {
	case "options":
		s.o.Signals = slices.Contains(args, "signals")
		for _, a := range args {
			if v, is := strings.CutPrefix(a, "before="); is {
				s.o.Before, _ = time.ParseDuration(v)
			}
		}
		s.start()
		return ""
	case "policies":
		s.policies, s.holes = nil, nil
		for _, line := range strings.Split(d.Input, "\n") {
			if words := strings.Fields(line); len(words) > 0 {
				s.policies = append(s.policies, policyOf(words))
			}
		}
		return s.want()
	case "unreadable":
		s.holes = []*definition.Hole{{Kind: "Rollout", Name: arg(0), Cause: definition.Problem{File: "rollout.yaml", Line: 3, Message: "what is that"}}}
		return s.want()
	case "files":
		s.files = strings.Fields(d.Input)
		return s.want()
	case "envoys":
		var out string
		for _, a := range args {
			n := s.node(a)
			s.nodes[n.ID], s.there[n.ID] = n, true
			out += s.step(rollout.Connected{Node: n})
		}
		return told(out)
	case "gone":
		return s.each(args, func(id string) rollout.Event { s.there[id] = false; return rollout.Gone{ID: id} })
	case "restarted":
		return s.each(args, func(id string) rollout.Event { return rollout.Restarted{ID: id} })
	case "settled":
		if len(args) == 0 {
			args = s.connected()
		}
		return s.each(args, func(id string) rollout.Event {
			return rollout.Settled{ID: id, Choice: s.plan.Choose(s.nodes[id])}
		})
	case "late":
		return told(s.step(rollout.Settled{ID: arg(0), Choice: rollout.Choice(s.id(arg(1)))}))
	case "crash":
		return told(s.step(rollout.Crashed{ID: arg(0), Filter: arg(1), Unsure: arg(2) == "unsure"}))
	case "refuse":
		kind, name, _ := strings.Cut(arg(1), "/")
		return told(s.step(rollout.Refused{ID: arg(0), Choice: s.plan.Choose(s.nodes[arg(0)]), Key: rollout.Key{Kind: kind, Name: name}, Message: strings.Join(args[2:], " ")}))
	case "before":
		wave, _ := strconv.Atoi(arg(1))
		w := s.watched[s.id(arg(0))]
		w.Wave = wave
		return told(s.step(rollout.ToldBefore{Watch: w, Told: []byte(strings.Join(args[2:], " "))}))
	case "ask":
		s.asked = lookOf(s.m, s.id(arg(0)), strings.ReplaceAll(arg(1), "-", " "))
		return ""
	case "judge", "answer":
		l := s.asked
		if d.Cmd == "judge" {
			l = lookOf(s.m, s.id(arg(0)), strings.ReplaceAll(arg(1), "-", " "))
			args = args[2:]
		}
		return told(s.step(l.Answer(rollout.Verdict(strings.ReplaceAll(arg(0), "-", " ")), strings.Join(args[min(1, len(args)):], " "))))
	case "pause", "resume", "promote", "stop", "rollback":
		c := rollout.Command{Verb: rollout.Verb(d.Cmd), By: "ann"}
		for _, a := range args {
			switch a {
			case "once":
				c.AtOnce = true
			case "later":
				c.Later = true
			default:
				c.ID = s.id(a)
			}
		}
		return told(s.step(c))
	case "wait":
		return s.wait(arg(0))
	case "store":
		s.away = arg(0) == "away"
		if s.away {
			return ""
		}
		return told(s.write())
	case "restart":
		behind, _ := time.ParseDuration(arg(0))
		s.now = s.now.Add(-behind)
		return s.restart()
	case "who":
		return s.who()
	case "status":
		return s.status()
	}
	s.t.Fatalf("%s: unknown command %q", d.Pos, d.Cmd)
	return ""
}

func told(out string) string {
	if out == "" {
		return "nothing\n"
	}
	return out
}

func (s *script) each(ids []string, event func(string) rollout.Event) string {
	var out string
	for _, id := range ids {
		out += s.step(event(id))
	}
	return told(out)
}

func (s *script) node(word string) definition.Node {
	word, label, _ := strings.Cut(word, ":")
	id, cluster, _ := strings.Cut(word, "@")
	n := definition.Node{ID: id, Cluster: cluster}
	if key, value, is := strings.Cut(label, "="); is {
		n.Labels = map[string]string{key: value}
	}
	if known, is := s.nodes[id]; is && cluster == "" && label == "" {
		return known
	}
	return n
}

func (s *script) connected() []string {
	var ids []string
	for _, id := range slices.Sorted(maps.Keys(s.there)) {
		if s.there[id] {
			ids = append(ids, id)
		}
	}
	return ids
}

func (s *script) want() string {
	if s.files == nil {
		return ""
	}
	return told(s.step(rollout.Wanted{Set: s.wanted(s.files)}))
}

// step steps, and returns what resulted.
func (s *script) step(e rollout.Event) string {
	ready := s.m.Step(s.now, e)
	var b strings.Builder
	for _, t := range ready.Told {
		if wrong := causeWrong(t); wrong != "" {
			fmt.Fprintf(&b, "wrong: %s\n", wrong)
		}
		if t.Change != "" {
			fmt.Fprintf(&b, "%s %s: %s\n", t.Change, t.Title, t.Words)
			continue
		}
		fmt.Fprintf(&b, "%s\n", t.Words)
	}
	if ready.Err != nil {
		fmt.Fprintf(&b, "error: %v\n", ready.Err)
	}
	for _, w := range ready.Watch {
		if w.Phase == rollout.During {
			s.watched[w.Change] = w
		}
		fmt.Fprintf(&b, "watch %s wave %d, %s: %s; control %s", w.Change, w.Wave, w.Phase, names(w.New), names(w.Control))
		if w.Told != nil {
			fmt.Fprintf(&b, "; before it they told %s", w.Told)
		}
		b.WriteByte('\n')
	}
	if ready.Plan != nil {
		s.plan = ready.Plan
		s.planned(&b)
	}
	s.wake = ready.Wake
	out := s.shown(b.String())
	if ready.Save != nil {
		s.queue = append(s.queue, ready.Save)
		if !s.away {
			out += s.write()
		}
	}
	return out
}

// write writes pending batches.
func (s *script) write() string {
	var out string
	for len(s.queue) > 0 {
		b := s.queue[0]
		s.queue = s.queue[1:]
		s.disk.apply(b.Values)
		out += s.step(rollout.Saved{Seq: b.Seq})
	}
	return out
}

// planned reports what has changed in the base, and whose choice has.
func (s *script) planned(b *strings.Builder) {
	base := wordsOf(s.plan.Base)
	for _, w := range s.base {
		if !slices.Contains(base, w) {
			fmt.Fprintf(b, "base: -%s\n", w)
		}
	}
	for _, w := range base {
		if !slices.Contains(s.base, w) {
			fmt.Fprintf(b, "base: +%s\n", w)
		}
	}
	s.base = base
	moved := map[string][]string{}
	for _, id := range s.connected() {
		to := s.plan.Choose(s.nodes[id])
		if from := s.choices[id]; from != to {
			move := fmt.Sprintf("%s -> %s", cmp.Or(from, "base"), cmp.Or(to, "base"))
			moved[move] = append(moved[move], id)
		}
		s.choices[id] = to
	}
	for _, move := range slices.Sorted(maps.Keys(moved)) {
		fmt.Fprintf(b, "%s: %s\n", move, names(moved[move]))
	}
}

func names(ids []string) string {
	if len(ids) == 0 {
		return "none"
	}
	if len(ids) > 6 {
		return fmt.Sprintf("%s and %d more", strings.Join(ids[:3], " "), len(ids)-3)
	}
	return strings.Join(ids, " ")
}

var hexID = regexp.MustCompile(`\b[0-9a-f]{12}\b`)

// shown replaces IDs by c1, c2.
func (s *script) shown(text string) string {
	return hexID.ReplaceAllStringFunc(text, func(id string) string {
		if s.ids[id] == "" {
			s.ids[id] = fmt.Sprintf("c%d", len(s.ids)+1)
		}
		return s.ids[id]
	})
}

func (s *script) id(shown string) string {
	for id, as := range s.ids {
		if as == shown {
			return id
		}
	}
	return shown
}

func (s *script) wait(span string) string {
	d, err := time.ParseDuration(span)
	if err != nil {
		s.t.Fatal(err)
	}
	var out string
	start, end := s.now, s.now.Add(d)
	for s.wake.After(s.now) && !s.wake.After(end) {
		s.now = s.wake
		if told := s.step(rollout.Tick{}); told != "" {
			out += fmt.Sprintf("after %s:\n%s", s.now.Sub(start), told)
		}
	}
	s.now = end
	out += s.step(rollout.Tick{})
	return told(out)
}

// restart starts another server, which knows who was connected; all Envoys return with what
// they have.
func (s *script) restart() string {
	s.start()
	var out string
	for _, id := range s.connected() {
		out += s.step(rollout.Expected{Node: s.nodes[id]})
	}
	out += s.step(rollout.Wanted{Set: s.wanted(s.files)})
	for _, id := range s.connected() {
		out += s.step(rollout.Connected{Node: s.nodes[id]})
	}
	return told(out)
}

func (s *script) who() string {
	has := map[string][]string{}
	for _, id := range s.connected() {
		c := string(s.plan.Choose(s.nodes[id]))
		has[c] = append(has[c], id)
	}
	var b strings.Builder
	for _, c := range slices.Sorted(maps.Keys(has)) {
		set := s.plan.Base
		if c != "" {
			set = s.plan.Sets[rollout.Choice(c)]
		}
		fmt.Fprintf(&b, "%s: %s have %s\n", cmp.Or(c, "base"), names(has[c]), strings.Join(wordsOf(set), " "))
	}
	return s.shown(b.String())
}

func (s *script) status() string {
	var b strings.Builder
	st := s.m.Status(s.now)()
	for _, c := range st.Changes {
		fmt.Fprintf(&b, "%s %s, %s: %s\n", c.ID, c.Title, c.State, c.Words)
	}
	for _, h := range st.Held {
		fmt.Fprintf(&b, "held: %s %s, since %s was rolled back\n", h.Kind, h.Name, h.By)
	}
	return s.shown(told(b.String()))
}

func (s *script) wanted(files []string) *module.Set {
	return wantedOf(files, s.known, s.policies, s.holes)
}
