package swap_test

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"

	"wasmxds/resource"
	"wasmxds/xds/swap"
)

// TestScripts plays testdata/*.txt: what Envoy said, what is sent. The
// commands:
//
//	envoy PROTOCOL [spares=N]  a new stream; below it what is wanted
//	publish                   what is wanted from now on
//	cut                       the stream ends, and the same Envoy begins another
//	TYPE subscribe NAME...    Envoy asks for resources ("*": all)
//	TYPE unsubscribe NAME...  it asks for them no more
//	TYPE has NAME=LABEL...    ... on a reconnect: and has these; "wanted": as
//	                          they are wanted, "+LAYOUT": a listener in that
//	                          layout, anything else is a version
//	TYPE hash NAME...         ... on a reconnect: and has contents that it does not tell
//	TYPE ack | nack MESSAGE   its answer to the newest response of that type ("\n": a new line)
//	sample N                  of a million requests it is to tell of
//	download MODULE started|done|aborted
//	crash NAME                an alarm: of a filter, a slot, or anything else
//	wait DURATION
//	status
//	changes                   what has changed for filters that run since the last of these
func TestScripts(t *testing.T) {
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		s := &script{}
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			return s.run(t, d)
		})
	})
}

type script struct {
	world
	space *swap.Interner
	m     *swap.Machine
	ready swap.Ready
	now   time.Time
	delta bool
	names map[swap.Type][]string
	nonce map[swap.Type]string

	listens bool // the Envoy has asked for listeners
	changes []swap.Change
}

func (s *script) run(t *testing.T, d *datadriven.TestData) string {
	switch d.Cmd {
	case "envoy":
		if s.labels == nil {
			s.world = newWorld()
			s.now = time.Unix(0, 0)
		}
		s.delta, s.listens = d.CmdArgs[0].Key == "delta", false
		s.spares = resource.Spares{}
		if d.HasArg("spares") {
			d.ScanArgs(t, "spares", &s.spares.Around)
		}
		s.space = swap.NewInterner()
		s.connect(t, d.Pos, s.define(t, d.Input), swap.Left{})
		return ""
	case "cut":
		s.listens = false
		s.connect(t, d.Pos, s.snapshot(), s.m.Left())
		return ""
	case "publish":
		return s.step(swap.Publish{Snapshot: s.define(t, d.Input)})
	case "sample":
		var n uint32
		if _, err := fmt.Sscan(d.CmdArgs[0].Key, &n); err != nil {
			t.Fatalf("%s: %v", d.Pos, err)
		}
		return s.step(swap.Sample{PerMillion: n})
	case "download":
		progress := map[string]swap.Progress{"started": swap.DownloadStarted, "done": swap.DownloadDone, "aborted": swap.DownloadAborted}[d.CmdArgs[1].Key]
		for sha, name := range s.modules {
			if name == d.CmdArgs[0].Key {
				if !s.m.Awaits(sha) {
					return "nothing" // the server tells only those who wait
				}
				return s.step(swap.Download{SHA256: sha, Progress: progress, Size: 1000, Shared: d.HasArg("shared")})
			}
		}
		t.Fatalf("%s: no module %q", d.Pos, d.CmdArgs[0].Key)
	case "crash":
		return s.step(swap.Crash{Filter: s.resourceNamed(d.CmdArgs[0].Key)})
	case "wait":
		return s.wait(t, d)
	case "status":
		return s.status()
	case "changes":
		return s.told()
	}
	return s.request(t, d)
}

// connect begins a stream.
func (s *script) connect(t *testing.T, pos string, snap *resource.Snapshot, left swap.Left) {
	s.names, s.nonce = map[swap.Type][]string{}, map[swap.Type]string{}
	s.m = swap.New(swap.Options{Interner: s.space, Snapshot: snap, Left: left, Delta: s.delta, Salt: 7, Broken: func(err error) { t.Errorf("%s: %v", pos, err) }})
}

// request is "TYPE subscribe ...", "TYPE ack" and "TYPE nack ...".
func (s *script) request(t *testing.T, d *datadriven.TestData) string {
	typ, ok := typeOf(d.Cmd)
	if !ok || len(d.CmdArgs) == 0 {
		t.Fatalf("%s: unknown command %q", d.Pos, d.Cmd)
	}
	r := swap.Request{Type: typ, Nonce: s.nonce[typ]}
	s.listens = s.listens || typ == swap.Listener
	var args []string
	for _, a := range d.CmdArgs[1:] {
		args = append(args, a.String())
	}
	switch d.CmdArgs[0].Key {
	case "subscribe":
		names := strings.Fields(strings.ReplaceAll(strings.Join(args, " "), "*", ""))
		names = s.resources(typ, names)
		r.Subscribe = names
		s.names[typ] = append(s.names[typ], names...)
	case "hash":
		s.names[typ] = s.resources(typ, args)
		r.Version = "sha256:00"
	case "unsubscribe":
		args = s.resources(typ, args)
		r.Unsubscribe = args
		s.names[typ] = slices.DeleteFunc(s.names[typ], func(n string) bool { return slices.Contains(args, n) })
	case "has":
		r.Initial = map[string]string{}
		for _, a := range d.CmdArgs[1:] {
			for _, name := range s.resources(typ, []string{a.Key}) {
				label := a.Vals[0]
				if name != a.Key && typ == swap.Extension && !strings.Contains(a.Key, "#") {
					label = a.Key + ":" + label
				}
				r.Initial[name] = s.versionOf(typ, name, label)
				if typ != swap.Listener && typ != swap.Cluster {
					s.names[typ] = append(s.names[typ], name)
					r.Subscribe = append(r.Subscribe, name)
				}
			}
		}
		for name, v := range r.Initial {
			r.Version += " " + name + "@" + v
		}
	case "ack":
	case "nack":
		r.Failed, r.Error = true, strings.ReplaceAll(strings.Join(args, " "), `\n`, "\n")
	}
	r.Names = s.names[typ]
	return s.step(r)
}

// versionOf is the version that a filter had under a label; for other
// resources the wanted one.
func (s *script) versionOf(typ swap.Type, name, label string) string {
	if _, _, own := resource.SlotOf(name); own {
		if label == "nothing" {
			return resource.EmptyVersion
		}
		filter, label, _ := strings.Cut(label, ":")
		return s.named[filter+" "+label] + "-" + s.catalog.Filter(filter).ID
	}
	if typ == swap.Extension {
		filter := strings.TrimPrefix(strings.TrimPrefix(name, resource.TwinPrefix), resource.StandbyPrefix)
		return cmp.Or(s.named[filter+" "+label], label) // of another xds-server, say
	}
	snap := s.snapshot()
	if strings.HasPrefix(label, "+") {
		return s.inLayout(snap, name, label)
	}
	if label != "wanted" {
		return label // of another xds-server, say
	}
	all := map[string]string{resource.PrimerListener: snap.Primer.Version, resource.GateRoute: snap.Gate.Version}
	for _, l := range snap.Listeners {
		all[l.Name] = l.Version
	}
	if of, _, own := resource.RoutesOf(name); own {
		for _, l := range snap.Listeners {
			if l.Name == of {
				return l.RouteConfig(name, nil).Version
			}
		}
	}
	for _, r := range slices.Concat(snap.Clusters, snap.Routes) {
		all[r.Name] = r.Version
	}
	return all[name]
}

func (s *script) step(e swap.Event) string {
	var b strings.Builder
	s.ready = s.m.Step(s.now, e)
	for _, send := range s.ready.Sends {
		s.nonce[send.Type] = swap.FormatNonce(send.Nonce)
		fmt.Fprintf(&b, "send %s:", send.Type)
		for _, r := range send.Resources {
			s.seen(r)
			fmt.Fprintf(&b, " %s%s%s", s.shown(r.Name), s.filterIn(r), s.labelOf(r))
		}
		for _, name := range send.Removed {
			fmt.Fprintf(&b, " -%s", name)
		}
		b.WriteByte('\n')
	}
	s.changes = append(s.changes, s.ready.Changes...)
	for _, r := range s.ready.Refused {
		what := "rejected"
		if r.Unfetched {
			what = "rejected, or not fetched"
		}
		fmt.Fprintf(&b, "%s %s is reported as %s\n", r.Type, s.shown(r.Name), what)
	}
	for _, version := range s.ready.Crashing {
		fmt.Fprintf(&b, "%s crashes too often\n", s.label(version)[1:])
	}
	if b.Len() == 0 {
		return "nothing\n"
	}
	return b.String()
}

// labelOf is what the script calls a resource's version; that of a runtime layer is
// the rate of sampling, of a million.
func (s *script) labelOf(r *resource.Resource) string {
	if r.TypeURL == resource.RuntimeType {
		return "=" + r.Version
	}
	if _, _, own := resource.RoutesOf(r.Name); own {
		return s.mentioned(r.Version)
	}
	return s.label(r.Version)
}

// mentioned are the slots that routes speak of, and the filters that they take them for.
func (s *script) mentioned(version string) string {
	_, mentions := resource.CutMentions(version)
	var words []string
	for _, m := range mentions {
		words = append(words, fmt.Sprintf("#%d:%s", m.Slot, s.byID[m.Filter]))
	}
	if len(words) == 0 {
		return ""
	}
	return "(" + strings.Join(words, " ") + ")"
}

// resources are names as Envoy has them. The name of a filter stands for the slots
// that hold it in listeners without spares.
func (s *script) resources(typ swap.Type, names []string) []string {
	var out []string
	for _, name := range names {
		var slots []string
		if typ == swap.Extension && s.listens {
			slots = s.slotsOf(name)
		}
		if len(slots) == 0 {
			slots = []string{s.resourceNamed(name)}
		}
		out = append(out, slots...)
	}
	return out
}

func (s *script) slotsOf(filter string) []string {
	var slots []string
	for _, l := range s.snapshot().Listeners {
		layout := l.In(l.Version)
		for i, chain := range l.Chains {
			for j, w := range chain {
				if w.Filter == filter {
					slots = append(slots, layout.Chains[i][j].Name)
				}
			}
		}
	}
	return slots
}

// inLayout is the version of a listener in another layout than the default one.
func (s *script) inLayout(snap *resource.Snapshot, name, layout string) string {
	for _, l := range snap.Listeners {
		if l.Name != name {
			continue
		}
		other := l.In(l.Base + layout)
		s.shown(other.Routes)
		return other.Version
	}
	return layout
}

// filterIn names the filter in a listener's own slot.
func (s *script) filterIn(r *resource.Resource) string {
	if _, _, own := resource.SlotOf(r.Name); !own || r.Version == resource.EmptyVersion {
		return ""
	}
	return ":" + pluginOf(r)
}

// seen takes note of the layout of a listener that is sent.
func (s *script) seen(r *resource.Resource) {
	for _, l := range s.snapshot().Listeners {
		if r.TypeURL == resource.ListenerType && l.Name == r.Name {
			s.shown(resource.RoutesPrefix + l.Name + "/" + resource.IDOf(r.Version))
		}
	}
}

// told gives the changes that were not told yet.
func (s *script) told() string {
	var b strings.Builder
	for _, c := range s.changes {
		fmt.Fprintf(&b, "%s: %s %s for %s\n", c.Filter, c.Stage, s.label(c.To)[1:], s.label(c.From)[1:])
	}
	s.changes = nil
	if b.Len() == 0 {
		return "nothing\n"
	}
	return b.String()
}

// wait lets time pass, with a Tick whenever the machine asked for one.
func (s *script) wait(t *testing.T, d *datadriven.TestData) string {
	span, err := time.ParseDuration(d.CmdArgs[0].Key)
	if err != nil {
		t.Fatalf("%s: %v", d.Pos, err)
	}
	var b strings.Builder
	start := s.now
	for end := s.now.Add(span); ; {
		due := s.ready.Wake
		if !due.After(s.now) || due.After(end) {
			s.now = end
			break
		}
		s.now = due
		if out := s.step(swap.Tick{}); out != "nothing\n" {
			fmt.Fprintf(&b, "after %s: %s", s.now.Sub(start), out)
		}
	}
	if b.Len() == 0 {
		return "nothing\n"
	}
	return b.String()
}

func (s *script) status() string {
	var b strings.Builder
	for _, f := range s.m.Filters(s.now) {
		running := "nothing"
		if f.Running != "" {
			running = strings.TrimPrefix(s.label(f.Running), "=")
		}
		fmt.Fprintf(&b, "%s: %s, runs %s", f.Name, f.State, running)
		if f.Reason != "" {
			reason := f.Reason
			for v, l := range s.labels {
				reason = strings.ReplaceAll(reason, v, l)
			}
			for sha, name := range s.modules {
				reason = strings.ReplaceAll(reason, sha[:12], name)
			}
			fmt.Fprintf(&b, "\n  %s", reason)
		}
		b.WriteByte('\n')
		if c := f.Crashes; c != nil {
			fmt.Fprintf(&b, "  %s crashed %d times, last after %s", s.label(c.Version)[1:], c.Count, c.Last.Sub(time.Unix(0, 0)))
			if c.Unsure {
				b.WriteString(", or another filter")
			}
			if !c.Replaced.IsZero() {
				fmt.Fprintf(&b, ", replaced after %s", c.Replaced.Sub(time.Unix(0, 0)))
			}
			b.WriteByte('\n')
		}
		if f.Draining != nil {
			fmt.Fprintf(&b, "  older connections go without it, at most until %s after the beginning\n", f.Draining.Until.Sub(time.Unix(0, 0)))
		}
	}
	if !s.m.Settled() {
		b.WriteString("not all settled\n")
	}
	for _, l := range s.m.Listeners(s.now) {
		if l.Reason != "" {
			state := "withheld"
			if l.Running != "" {
				state = "as before"
			}
			fmt.Fprintf(&b, "listener %s: %s, %s\n", l.Name, state, l.Reason)
		}
	}
	return b.String()
}
