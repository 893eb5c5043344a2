package swap_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	wasmloggerv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/access_loggers/wasm/v3"
	luav3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/lua/v3"
	wasmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/wasm/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"

	"wasmxds/resource"
	"wasmxds/xds/swap"
)

// model is an Envoy as far as the protocol can tell: what its code does with
// responses, in the order in which they come. It breaks, with a reason, when
// a request would have failed or passed without its filter.
type model struct {
	delta bool
	bad   func(sha string) bool // a module that Envoy refuses to start
	rng   *rand.Rand            // for the order in which Envoy takes up what came in one response

	clusters  map[string]string
	listeners map[string]*modelListener // that take requests
	warming   map[string]*modelListener
	draining  []*modelListener              // with the connections that were opened before they were replaced
	slots     map[string]*modelSlot         // by ECDS name
	cache     map[string]*modelCode         // by SHA-256
	routes    map[string]string             // → what was taken
	decoded   map[string]modelRoutes        // the same, as it says what runs for whom
	layers    []string                      // of its runtime that it asks for; it starts when it has them
	runtime   map[string]string             // → what was taken, as a version
	have      [swap.Types]map[string]string // versions, for a reconnect in delta
	version   [swap.Types]string            // version_info, for one in state of the world
	nonce     [swap.Types]string            // newest received on this stream
	asked     [swap.Types]bool              // subscribed to on this stream
	names     [swap.Types][]string          // as told on this stream
	live      bool                          // it has become ready

	// meets is called with what a request to a listener would meet: filters in
	// their order, and routes.
	meets func(listener string, filters []string, routes string)
	logs  func(listener string, loggers []modelLogger) // what logs it
	// meetsBy is called with the slots that a request passes and the routes that say
	// which of them run for it, also of listeners that are drained.
	meetsBy func(listener string, slots []string, routes modelRoutes)

	moduleServer string // version of the cluster of the xds-server that there is

	inbox   []swap.Send
	outbox  []swap.Request
	fetches []string // begun and not told to the test yet
	refetch int      // fetches begun while one was under way
	broken  string
}

type modelListener struct {
	name    string
	value   string
	slots   []string            // those of network filters last
	network []string            // of them: those of network filters
	takes   map[string][]string // slot → types of what may be in it
	port    uint32
	rds     string // the route configuration that it asks for; "": none
	logs    []modelLogger

	unusable bool // since one of its extensions was refused, until it has all
}

// modelLogger is a Wasm access logger.
type modelLogger struct{ name, sha, content string }

// modelSlot is a FilterConfigSubscription of Envoy's.
type modelSlot struct {
	network bool   // it takes network filters
	last    string // typed_config of the newest content, refused or not
	active  string // ... of the one in use; "": none
	filter  string // the plugin's name in that; "": it does nothing
	waiting bool   // listeners that warm wait for it
	crashed bool   // its VM has trapped: requests fail, or pass without it, until other bytes come
	refused bool   // all that came for it was refused: whoever wrote it is told, and requests are answered 500
}

type modelCode struct{ fetching, here bool }

func newModel(delta bool, rng *rand.Rand, bad func(string) bool) *model {
	return &model{delta: delta, bad: bad, rng: rng, meets: func(string, []string, string) {}, logs: func(string, []modelLogger) {}, meetsBy: func(string, []string, modelRoutes) {},
		decoded:  map[string]modelRoutes{},
		clusters: map[string]string{}, listeners: map[string]*modelListener{}, warming: map[string]*modelListener{},
		slots: map[string]*modelSlot{}, cache: map[string]*modelCode{}, routes: map[string]string{}, runtime: map[string]string{}}
}

func (e *model) breaks(format string, args ...any) {
	if e.broken == "" {
		e.broken = fmt.Sprintf(format, args...)
	}
}

// connect begins a stream: what was in flight on an older one is lost.
func (e *model) connect() {
	e.inbox, e.outbox = nil, nil
	e.nonce, e.asked, e.names = [swap.Types]string{}, [swap.Types]bool{}, [swap.Types][]string{}
	e.subscribe(swap.Runtime)
	e.start()
	if len(e.clusters) > 0 {
		e.subscribe(swap.Listener)
	}
	e.askForSlots()
}

// start asks for what comes after its runtime.
func (e *model) start() {
	if len(e.runtime) == len(e.layers) {
		e.subscribe(swap.Cluster)
	}
}

// subscribe sends the first request of a type on this stream.
func (e *model) subscribe(t swap.Type) {
	if e.asked[t] || t == swap.Runtime && len(e.layers) == 0 {
		return
	}
	e.asked[t] = true
	r := swap.Request{Type: t, Names: e.wanted(t), Subscribe: e.wanted(t)}
	if e.delta {
		r.Initial = maps.Clone(e.have[t])
		r.Names = nil
	} else {
		r.Version, r.Subscribe = e.version[t], nil
	}
	e.names[t] = e.wanted(t)
	e.outbox = append(e.outbox, r)
}

// wanted are the names that Envoy subscribes to.
func (e *model) wanted(t swap.Type) []string {
	switch t {
	case swap.Runtime:
		return e.layers
	case swap.Extension:
		return slices.Sorted(maps.Keys(e.slots))
	case swap.Route:
		names := map[string]bool{}
		for _, l := range e.all() {
			names[l.rds] = l.rds != ""
		}
		maps.DeleteFunc(names, func(_ string, is bool) bool { return !is })
		return slices.Sorted(maps.Keys(names))
	}
	return nil
}

// askForSlots tells the server of changed names.
func (e *model) askForSlots() {
	for _, t := range []swap.Type{swap.Route, swap.Extension} {
		want := e.wanted(t)
		if !e.asked[t] {
			if len(want) > 0 {
				e.subscribe(t)
			}
			continue
		}
		if slices.Equal(want, e.names[t]) {
			continue
		}
		r := swap.Request{Type: t}
		if e.delta {
			for _, n := range want {
				if !slices.Contains(e.names[t], n) {
					r.Subscribe = append(r.Subscribe, n)
				}
			}
			for _, n := range e.names[t] {
				if !slices.Contains(want, n) {
					r.Unsubscribe = append(r.Unsubscribe, n)
					delete(e.have[t], n)
				}
			}
		} else {
			r.Names, r.Nonce, r.Version = want, e.nonce[t], e.version[t]
		}
		e.names[t] = want
		e.outbox = append(e.outbox, r)
	}
}

// receive takes the next response and answers it.
func (e *model) receive() {
	send := e.inbox[0]
	e.inbox = e.inbox[1:]
	t := send.Type
	e.nonce[t] = swap.FormatNonce(send.Nonce)
	var err string
	switch t {
	case swap.Cluster:
		for _, r := range send.Resources {
			e.clusters[r.Name] = r.Version
		}
	case swap.Listener:
		err = e.setListeners(send)
	case swap.Route:
		for _, r := range send.Resources {
			e.routes[r.Name] = r.Version
			e.decoded[r.Name] = decodeRoutes(r)
		}
	case swap.Runtime:
		for _, r := range send.Resources {
			e.runtime[r.Name] = r.Version
		}
	case swap.Extension:
		err = e.setSlots(send.Resources)
	}
	r := swap.Request{Type: t, Nonce: e.nonce[t]}
	if err != "" {
		r.Failed, r.Error = true, err
	} else {
		e.version[t] = send.Version()
		if e.have[t] == nil {
			e.have[t] = map[string]string{}
		}
		for _, res := range send.Resources {
			e.have[t][res.Name] = res.Version
		}
		for _, n := range send.Removed {
			delete(e.have[t], n)
		}
	}
	if !e.delta {
		r.Version, r.Names = e.version[t], e.names[t]
	}
	e.outbox = append(e.outbox, r)
	switch t {
	case swap.Runtime:
		e.start()
	case swap.Cluster:
		e.subscribe(swap.Listener)
	}
	e.settle()
}

func (e *model) setListeners(send swap.Send) string {
	var refused []string
	keep := map[string]bool{}
	for _, r := range send.Resources {
		keep[r.Name] = true
		now := e.warming[r.Name]
		if now == nil {
			now = e.listeners[r.Name]
		}
		if now != nil && now.value == string(r.Value) {
			continue
		}
		l := decodeListener(r)
		if l.port >= refusedPorts {
			refused = append(refused, r.Name)
			continue
		}
		if slices.ContainsFunc(l.slots, func(n string) bool { s := e.slots[n]; return s != nil && s.last != s.active }) {
			// A listener is built from the newest content of each slot, and
			// one that was refused is refused again.
			refused = append(refused, r.Name)
			continue
		}
		if i := slices.IndexFunc(l.logs, func(log modelLogger) bool { return !e.load(log.name, log.sha) }); i >= 0 {
			e.breaks("listener %s was given the access logger %s, which this Envoy does not take", r.Name, l.logs[i].name)
			refused = append(refused, r.Name)
			continue
		}
		for _, n := range l.slots {
			if e.slots[n] == nil {
				e.slots[n] = &modelSlot{waiting: true, network: slices.Contains(l.network, n)}
			}
		}
		e.warming[r.Name] = l
	}
	gone := send.Removed
	if !e.delta {
		for n := range e.listeners {
			if !keep[n] {
				gone = append(gone, n)
			}
		}
		for n := range e.warming {
			if !keep[n] {
				gone = append(gone, n)
			}
		}
	}
	for _, n := range gone {
		delete(e.listeners, n)
		delete(e.warming, n)
	}
	if len(refused) > 0 {
		return "Error adding/updating listener(s) " + strings.Join(refused, ": no\n") + ": no\n"
	}
	return ""
}

// setSlots takes contents up in any order, and none after one that it refuses.
func (e *model) setSlots(resources []*resource.Resource) string {
	resources = slices.Clone(resources)
	e.rng.Shuffle(len(resources), func(i, j int) { resources[i], resources[j] = resources[j], resources[i] })
	for _, r := range resources {
		s := e.slots[r.Name]
		if s == nil {
			continue
		}
		content, sha := decodeExtension(r)
		if content == s.last {
			continue // taken for what it has, refused or not
		}
		s.last = content
		refused := ""
		if network := strings.Contains(content, ".filters.network."); network != s.network {
			e.breaks("the slot %s was given %.60s", r.Name, content)
		}
		switch {
		case !e.takes(r.Name, content):
			refused = "filter config has a type URL that is not one of those of " + r.Name
			e.breaks("slot %s was given what it does not take: %.60q", r.Name, content)
		case strings.Contains(content, badScript):
			refused = "script load error: [string \"-- \"]:2: '<eof>' expected near 'end'"
			if !strings.HasPrefix(r.Name, "primer/") && e.asked[swap.Listener] {
				e.breaks("the serving slot %s was given what this Envoy refuses", r.Name)
			}
		case sha != "" && !e.load(r.Name, sha):
			refused = "Unable to create Wasm plugin " + strings.TrimPrefix(r.Name, "primer/")
			if !strings.HasPrefix(r.Name, "primer/") && e.asked[swap.Listener] {
				e.breaks("the serving slot %s was given what this Envoy refuses", r.Name)
			}
		case strings.Contains(content, refusedStatic):
			refused = "Protobuf message (type google.protobuf.StringValue) has unknown fields"
			s.refused = s.active == ""
		}
		if refused != "" {
			for _, s := range e.slots {
				s.waiting = false // one NACK ends all waits
			}
			return refused
		}
		s.active, s.waiting, s.refused, s.crashed, s.filter = content, false, false, false, pluginOf(r)
		e.serve() // a request may come between any two
	}
	return ""
}

// takes tells whether a content is of a type that every listener takes that has the
// slot, those that are drained as well.
func (e *model) takes(slot, content string) bool {
	return !slices.ContainsFunc(e.all(), func(l *modelListener) bool {
		types, has := l.takes[slot]
		return has && !slices.ContainsFunc(types, func(url string) bool { return strings.HasPrefix(content, url) })
	})
}

// statics are the names of extensions that are sent as they are written.
var statics = []string{"rules", "limit"}

// refusedStatic is in what Envoy refuses though it needs no module.
const refusedStatic = "refused"

// refusedPorts is where the ports begin at which Envoy refuses a listener.
const refusedPorts = 60000

// modulesCluster is what modules are fetched from.
const modulesCluster = "wasmxds-modules"

// load is createWasm with nack_on_code_cache_miss.
func (e *model) load(name, sha string) bool {
	c := e.cache[sha]
	if c == nil {
		c = &modelCode{}
		e.cache[sha] = c
	}
	if c.here {
		return !e.bad(sha)
	}
	if c.fetching {
		e.refetch++
	}
	if at := e.clusters[modulesCluster]; at != e.moduleServer {
		e.breaks("it fetches a module from another xds-server")
	}
	c.fetching = true
	e.fetches = append(e.fetches, sha)
	return false
}

// fetched ends a fetch.
func (e *model) fetched(sha string, ok bool) {
	c := e.cache[sha]
	c.fetching = false
	c.here = c.here || ok
}

// crash lets the VM of a slot that serves trap, and with it that of all that have
// the same code, and gives the slot's name; "": none serves.
func (e *model) crash() string {
	slots := e.serving(func(s *modelSlot) bool { return codeOf(s.active) != "" })
	if len(slots) == 0 {
		return ""
	}
	name := slots[e.rng.IntN(len(slots))]
	for _, s := range e.slots {
		s.crashed = s.crashed || codeOf(s.active) == codeOf(e.slots[name].active)
	}
	return name
}

// crashed are the slots whose VMs have trapped.
func (e *model) crashed() []string {
	return e.serving(func(s *modelSlot) bool { return s.crashed })
}

// serving are the slots of listeners that take new connections, of those that are so.
func (e *model) serving(are func(*modelSlot) bool) []string {
	var slots []string
	for name, l := range e.listeners {
		for _, slot := range l.slots {
			if name != resource.PrimerListener && are(e.slots[slot]) {
				slots = append(slots, slot)
			}
		}
	}
	slices.Sort(slots)
	return slots
}

// settle puts warm listeners in service, and asks for what is new.
func (e *model) settle() {
	for name, l := range e.warming {
		ready := !slices.ContainsFunc(l.slots, func(n string) bool { return e.slots[n].waiting })
		if l.rds != "" && e.routes[l.rds] == "" {
			ready = false
		}
		if ready {
			if old := e.listeners[name]; old != nil {
				e.draining = append(e.draining, old)
			}
			e.listeners[name] = l
			delete(e.warming, name)
		}
	}
	e.serve()
	e.forget()
	e.askForSlots()
}

// drained closes what is left of a listener that was replaced.
func (e *model) drained() {
	if len(e.draining) > 0 {
		e.draining = e.draining[1:]
		e.forget()
		e.askForSlots()
	}
}

// forget drops what no listener needs any more.
func (e *model) forget() {
	for n := range e.slots {
		if !e.named(n) {
			delete(e.slots, n)
		}
	}
	for name := range e.routes {
		if !slices.Contains(e.wanted(swap.Route), name) {
			delete(e.routes, name)
			delete(e.have[swap.Route], name)
		}
	}
}

// serve looks at what a request would meet. Workers start, once and for all,
// when nothing that came while Envoy started is waited for any more.
func (e *model) serve() {
	e.live = e.live || e.routes[resource.GateRoute] != "" || len(e.listeners) > 0 && len(e.warming) == 0
	if !e.live {
		return
	}
	for name, l := range e.listeners {
		if slices.ContainsFunc(l.slots, func(n string) bool { return e.slots[n].refused }) {
			l.unusable = true
		} else if !slices.ContainsFunc(l.slots, func(n string) bool { return e.slots[n].active == "" }) {
			l.unusable = false
		}
		var filters []string
		for _, n := range l.slots {
			if f := e.slots[n].filter; f != "" {
				filters = append(filters, f)
				if slices.ContainsFunc(l.network, func(o string) bool { return o < n && e.slots[o].filter == f && e.slots[n].network }) {
					e.breaks("a connection to listener %s would have filter %s twice for good", name, f)
				}
			}
			if l.unusable && slices.Contains(statics, n) {
				continue // it answers 500 in any case
			}
			if name != resource.PrimerListener && e.slots[n].active == "" {
				e.breaks("listener %s serves without filter %s", name, n)
			}
		}
		if name != resource.PrimerListener {
			e.logs(name, l.logs)
		}
		if name != resource.PrimerListener && !l.unusable {
			e.meets(name, filters, e.routes[l.rds])
		}
	}
	for _, l := range slices.Concat(slices.Collect(maps.Values(e.listeners)), e.draining) {
		if routes, ok := e.decoded[l.rds]; ok && e.routes[l.rds] != "" && l.name != resource.PrimerListener {
			e.meetsBy(l.name, l.slots, routes)
		}
	}
}

// waits tells whether a listener that is to take requests warms, or one that
// lacks the routes that it had once.
func (e *model) waits() bool {
	for name, l := range e.warming {
		if name != resource.PrimerListener || e.routes[l.rds] == "" {
			return true
		}
	}
	return false
}

func (e *model) named(slot string) bool {
	return slices.ContainsFunc(e.all(), func(l *modelListener) bool { return slices.Contains(l.slots, slot) })
}

// all are the listeners that there are in any state.
func (e *model) all() []*modelListener {
	return slices.Concat(slices.Collect(maps.Values(e.listeners)), slices.Collect(maps.Values(e.warming)), e.draining)
}

const wasmURL = "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm"

func decodeListener(r *resource.Resource) *modelListener {
	var m listenerv3.Listener
	must(proto.Unmarshal(r.Value, &m))
	out := &modelListener{name: r.Name, value: string(r.Value), port: m.Address.GetSocketAddress().GetPortValue(), takes: map[string][]string{}}
	for _, c := range m.FilterChains {
		for _, f := range c.Filters {
			var hcm hcmv3.HttpConnectionManager
			if f.GetConfigDiscovery() != nil {
				out.network = append(out.network, f.Name)
			}
			if f.GetTypedConfig().UnmarshalTo(&hcm) != nil {
				continue
			}
			out.rds = hcm.GetRds().GetRouteConfigName()
			for _, log := range hcm.AccessLog {
				var m wasmloggerv3.WasmAccessLog
				must(log.GetTypedConfig().UnmarshalTo(&m))
				content, err := proto.MarshalOptions{Deterministic: true}.Marshal(&wasmv3.Wasm{Config: m.Config})
				must(err)
				out.logs = append(out.logs, modelLogger{m.Config.Name, m.Config.GetVmConfig().Code.GetRemote().Sha256, wasmURL + string(content)})
			}
			for _, h := range hcm.HttpFilters {
				if h.GetConfigDiscovery() != nil {
					out.slots = append(out.slots, h.Name)
					out.takes[h.Name] = h.GetConfigDiscovery().GetTypeUrls()
				}
			}
		}
	}
	out.slots = append(out.slots, out.network...)
	return out
}

// decodeExtension gives what Envoy compares, and the module's SHA-256 where
// there is a module.
func decodeExtension(r *resource.Resource) (content, sha string) {
	var m corev3.TypedExtensionConfig
	must(proto.Unmarshal(r.Value, &m))
	if w := wasmIn(m.TypedConfig); w != nil {
		sha = w.Config.GetVmConfig().Code.GetRemote().Sha256
	}
	return m.TypedConfig.TypeUrl + string(m.TypedConfig.Value), sha
}

// pluginOf is the name of the filter in an extension configuration; "": it is
// none of ours.
func pluginOf(r *resource.Resource) string {
	var m corev3.TypedExtensionConfig
	must(proto.Unmarshal(r.Value, &m))
	if m.TypedConfig.MessageIs((*luav3.Lua)(nil)) {
		name, _, _ := strings.Cut(strings.TrimPrefix(scriptIn(m.TypedConfig.Value), "-- "), " ")
		return name
	}
	return wasmIn(m.TypedConfig).GetConfig().GetName()
}

// wasmIn is the Wasm filter in a message; nil: it is another.
func wasmIn(a *anypb.Any) *wasmv3.Wasm {
	var w wasmv3.Wasm
	if strings.HasSuffix(a.GetTypeUrl(), "v3.Wasm") { // a network filter's has the same fields
		must(proto.Unmarshal(a.Value, &w))
		return &w
	}
	return nil
}

// scriptIn is the script of a Lua filter.
func scriptIn(message []byte) string {
	var l luav3.Lua
	must(proto.Unmarshal(message, &l))
	return l.GetDefaultSourceCode().GetInlineString()
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

// codeOf is the SHA-256 of the module in a content; "": there is none.
func codeOf(content string) string {
	_, value, _ := strings.Cut(content, "v3.Wasm")
	var w wasmv3.Wasm
	if proto.Unmarshal([]byte(value), &w) != nil {
		return ""
	}
	return w.GetConfig().GetVmConfig().GetCode().GetRemote().GetSha256()
}

// stripAddress makes two attempts of one content equal, also of different
// xds-servers.
func stripAddress(content string) string {
	if url, message, lua := strings.Cut(content, "v3.Lua"); lua {
		script, _, _ := strings.Cut(scriptIn([]byte(message)), "\n-- attempt ")
		return url + script
	}
	url, value, _ := strings.Cut(content, "v3.Wasm")
	var w wasmv3.Wasm
	if proto.Unmarshal([]byte(value), &w) != nil || w.Config == nil {
		return url + value
	}
	w.Config.GetVmConfig().Code.GetRemote().HttpUri = nil
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(&w)
	must(err)
	return url + string(b)
}
