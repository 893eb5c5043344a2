package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"wasmxds/definition"
	"wasmxds/e2e/harness"
	"wasmxds/e2e/wasmtest"
	"wasmxds/module"
	"wasmxds/module/serve"
	"wasmxds/resource"
	"wasmxds/xds"
	"wasmxds/xds/swap"
)

// chooser is xds-server from its modules on, in this process: the scene itself says
// which node has which changes.
type chooser struct {
	f       *fleet
	xds     *xds.Server
	modules *module.Store
	options resource.Options
	catalog *resource.Catalog
	streams *harness.Proxy // in between

	mu       sync.Mutex
	observed []string
}

func newChooser(f *fleet) *chooser {
	f.t.Helper()
	c := &chooser{f: f}
	var err error
	c.modules, err = module.Open(filepath.Join(f.dir, "modules"))
	must(f.t, err)
	downloads := serve.New(serve.Options{Store: c.modules, OnDownload: func(peer netip.Addr, sha256 string, size int64, e serve.Event) {
		c.xds.Downloaded(peer, swap.Download{SHA256: sha256, Size: size, Progress: []swap.Progress{
			serve.Started: swap.DownloadStarted, serve.Done: swap.DownloadDone, serve.Aborted: swap.DownloadAborted}[e]})
	}})
	moduleListener, err := net.Listen("tcp", "127.0.0.1:0")
	must(f.t, err)
	c.options = resource.Options{ModulesURL: "http://" + moduleListener.Addr().String()}
	c.xds = xds.New(xds.Options{Resources: c.options, Observe: c.observe, CheckInvariants: true, Log: slog.New(slog.DiscardHandler)})
	web := &http.Server{Handler: downloads, ConnContext: serve.ConnContext}
	done := make(chan error, 1)
	go func() { done <- web.Serve(moduleListener) }()
	f.t.Cleanup(func() {
		must(f.t, web.Close())
		if err := <-done; !errors.Is(err, http.ErrServerClosed) {
			f.t.Error(err)
		}
	})
	c.streams, err = harness.StartProxy(f.serveStreams(c.xds))
	must(f.t, err)
	f.t.Cleanup(func() { must(f.t, c.streams.Close()) })
	return c
}

func (c *chooser) observe(o xds.Observed) {
	if o.What == xds.Fresh { // there is no other server
		return
	}
	line := o.Node.ID + " " + []string{"connected", "gone", "restarted", "refused", "settled"}[o.What]
	if o.What == xds.Settled {
		line += fmt.Sprintf(" %q", o.Choice)
	}
	if o.What == xds.Refused {
		line += fmt.Sprintf(" %v", *o.Refusal)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.observed = append(c.observed, line)
}

// tells waits until what was observed of a node is what is wanted, and forgets it.
func (c *chooser) tells(node string, want ...string) {
	c.f.t.Helper()
	c.f.eventually(func() error {
		c.mu.Lock()
		defer c.mu.Unlock()
		var got []string
		for _, line := range c.observed {
			if what, ok := strings.CutPrefix(line, node+" "); ok {
				got = append(got, what)
			}
		}
		if !slices.Equal(got, want) {
			return fmt.Errorf("of %s it was told %q, want %q", node, got, want)
		}
		c.observed = slices.DeleteFunc(c.observed, func(line string) bool { return strings.HasPrefix(line, node+" ") })
		return nil
	})
}

// set is a listener with the filter hello, whose header has a value: one module for
// each value.
func (c *chooser) set(value string) *module.Set {
	c.f.t.Helper()
	info, err := c.modules.Put(bytes.NewReader(wasmtest.Filter{Header: "x-hello", Value: value}.Module()), 1<<20)
	must(c.f.t, err)
	file, problems := definition.Parser{}.Parse("definitions.yaml", []byte(c.f.listener("web")+"---\n"+filter("hello", "https://example.com/"+value)))
	if len(problems) > 0 {
		c.f.t.Fatal(problems)
	}
	merged, problems := definition.Merge([]*definition.File{file})
	if len(problems) > 0 {
		c.f.t.Fatal(problems)
	}
	set := &module.Set{Listeners: merged.Listeners}
	for _, d := range merged.Filters {
		set.Filters = append(set.Filters, &module.Filter{Definition: d, Wanted: d, Module: info, State: module.Good})
	}
	return set
}

// publish publishes a base, and a change that those of the nodes have whose ids are
// given.
func (c *chooser) publish(base, change *module.Set, nodes ...string) {
	c.f.t.Helper()
	sets := resource.Sets{Base: base}
	if change != nil {
		sets.Choices = map[resource.Choice]*module.Set{"change": change}
	}
	catalog, problems := resource.Compile(c.catalog, sets, c.options)
	if len(problems.Base)+len(problems.Choices) > 0 {
		c.f.t.Fatal(problems)
	}
	c.catalog = catalog
	c.xds.Publish(xds.Publication{Catalog: catalog, Choose: func(n definition.Node) resource.Choice {
		if slices.Contains(nodes, n.ID) {
			return "change"
		}
		return ""
	}})
}

func (c *chooser) envoy(with combination, id string) *edge {
	c.f.t.Helper()
	return c.f.envoyAt(with, id, c.streams.Address())
}

// updates are how often an Envoy was sent anything, by what.
func updates(e *edge) map[string]int64 {
	e.f.t.Helper()
	stats, err := e.Stats(e.f.t.Context(), "(update_success|update_rejected|config_reload)$")
	must(e.f.t, err)
	return stats
}

// TestChoice: a change reaches the Envoy that has it, and not the other; when it
// joins the base, the other gets it, and the first is sent nothing. What was
// observed of both meanwhile is what they did.
func TestChoice(t *testing.T) {
	eachCombination(t, func(t *testing.T, with combination) {
		f := newFleet(t)
		c := newChooser(f)
		v1, v2 := c.set("1"), c.set("2")
		c.publish(v1, nil)
		first, other := c.envoy(with, "first"), c.envoy(with, "other")
		onFirst, onOther := first.load("web", "x-hello"), other.load("web", "x-hello")
		f.seen(onFirst, first.Started, "x-hello", "1")
		f.seen(onOther, other.Started, "x-hello", "1")
		c.tells("first", "connected", `settled ""`)
		c.tells("other", "connected", `settled ""`)

		before, atOther := updates(first), updates(other)
		start := time.Now()
		c.publish(v1, v2, "first")
		f.seen(onFirst, start, "x-hello", "2")
		c.tells("first", `settled "change"`)
		if got := updates(other); !maps.Equal(got, atOther) {
			t.Errorf("the other Envoy was sent something: %v, before %v", got, atOther)
		}
		if _, err := onOther.Seen("x-hello", "2"); err == nil {
			t.Error("the other Envoy has the change")
		}

		atFirst := updates(first)
		if maps.Equal(before, atFirst) {
			t.Errorf("the Envoy that has the change does not tell that it was sent it: %v", atFirst)
		}
		start = time.Now()
		c.publish(v2, nil)
		f.seen(onOther, start, "x-hello", "2")
		c.tells("other", `settled ""`)
		c.tells("first", `settled ""`)
		if got := updates(first); !maps.Equal(got, atFirst) {
			t.Errorf("the change has joined, and the Envoy that had it was sent something: %v, before %v", got, atFirst)
		}
		f.good(onFirst)
		f.good(onOther)

		// Their connections break.
		c.streams.Cut()
		c.tells("first", "gone", "connected", `settled ""`)
		c.tells("other", "gone", "connected", `settled ""`)
		if got := updates(first); !maps.Equal(got, atFirst) {
			t.Errorf("the Envoy that had the change connects again, and was sent something: %v, before %v", got, atFirst)
		}

		// One Envoy is another process.
		first.Kill()
		c.tells("first", "gone")
		must(t, first.Start(f.ctx))
		c.tells("first", "connected", "restarted", `settled ""`)
		first.ready()
		c.tells("other")
	})
}
