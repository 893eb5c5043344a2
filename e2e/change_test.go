package e2e

import (
	"fmt"
	"net/http"
	"strconv"
	"testing"
	"time"

	"wasmxds/e2e/harness"
	"wasmxds/e2e/wasmtest"
)

// TestSuperseded: a swap is overtaken by the next before it is primed, again
// and again; the last one wins.
func TestSuperseded(t *testing.T) {
	eachCombination(t, func(t *testing.T, c combination) {
		s := newSlowFleet(t)
		e := s.edge(c)
		l := e.load("web", "x-hello")
		s.seen(l, e.Started, "x-hello", "0")
		n := 4 * rounds()
		for i := 1; i <= n; i++ {
			start := s.hello(strconv.Itoa(i))
			if i < n {
				time.Sleep(time.Until(start.Add(time.Duration(i*37%200) * time.Millisecond))) // the moment is the scene
			} else {
				t.Logf("the last: %v", s.seen(l, start, "x-hello", strconv.Itoa(i)))
			}
		}
		e.runs("hello")
		at := time.Now()
		s.eventually(func() error { return after(l.LastSeen("x-hello", strconv.Itoa(n)), at.Add(100*time.Millisecond)) })
		s.good(l)
	})
}

func after(got, want time.Time) error {
	if got.Before(want) {
		return fmt.Errorf("%v is before %v", got, want)
	}
	return nil
}

// reaches is nil when a request arrives at an upstream.
func reaches(t *testing.T, url string, u *harness.Upstream) error {
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	headers, err := harness.Request(t.Context(), client, "http://"+url, nil)
	if err == nil && headers.Get("Upstream") != u.Address() {
		err = fmt.Errorf("the request went to %s", headers.Get("Upstream"))
	}
	return err
}

// TestAddAndRemove: filters, listeners and routes come and go beside one that
// serves.
func TestAddAndRemove(t *testing.T) {
	eachCombination(t, func(t *testing.T, c combination) {
		f := newFleet(t)
		f.write("web.yaml", f.listener("web"))
		f.hello("there")
		second, err := harness.StartUpstream()
		must(t, err)
		t.Cleanup(func() { must(t, second.Close()) })
		f.serve()
		e := f.envoy(c, "edge-1")
		l := e.load("web", "x-hello")
		f.seen(l, e.Started, "x-hello", "there")
		for i := range rounds() {
			name := "extra-" + strconv.Itoa(i)
			start := f.write("extra.yaml", filter(name, f.module(wasmtest.Filter{Header: "x-extra", Value: name}))+
				"---\n"+f.listener("other-"+name))
			f.seen(l, start, "x-extra", name)
			other := e.load("other-"+name, "x-hello", "x-extra")
			f.seen(other, start, "x-extra", name)

			f.good(other)
			f.write("web.yaml", f.listener("web", fmt.Sprintf("- {prefix: /%s, upstream: %q}", name, second.Address())))
			f.eventually(func() error { return reaches(t, e.address("web")+"/"+name, second) })
			f.remove("extra.yaml")
			f.eventually(func() error {
				if _, err := e.Listener(t.Context(), "other-"+name); err == nil {
					return fmt.Errorf("listener other-%s is still there", name)
				}
				return nil
			})
			f.eventually(func() error { return after(time.Now(), l.LastSeen("x-extra", name).Add(50*time.Millisecond)) })
			e.runs("hello")
		}
		f.good(l)
	})
}

// TestStreams: requests that are answered for half a second, across swaps.
func TestStreams(t *testing.T) {
	eachOnce(t, func(t *testing.T, c combination) {
		f := newFleet(t)
		f.write("web.yaml", f.listener("web"))
		set := func(i int) time.Time {
			return f.write("hello.yaml", filter("hello", f.module(wasmtest.Filter{Header: "x-hello", Value: strconv.Itoa(i), Response: true})))
		}
		set(0)
		f.serve()
		e := f.envoy(c, "edge-1")
		l := harness.StartLoad(f.ctx, harness.LoadConfig{
			Address: e.address("web"), Headers: []string{"x-hello"}, Path: "/?stream=50", Workers: 12})
		t.Cleanup(func() { l.Stop() })
		f.seen(l, e.Started, "x-hello", "0")
		for i := 1; i <= rounds(); i++ {
			f.seen(l, set(i), "x-hello", strconv.Itoa(i))
		}
		t.Log(f.good(l))
	})
}

// TestOneVMID: two filters of one vmID whose modules differ each run their own
// code, through swaps of both.
func TestOneVMID(t *testing.T) {
	eachCombination(t, func(t *testing.T, c combination) {
		f := newFleet(t)
		f.write("web.yaml", f.listener("web"))
		set := func(i int) time.Time {
			var docs string
			for _, name := range []string{"left", "right"} {
				docs += filter(name, f.module(wasmtest.Filter{Header: "x-" + name, Value: strconv.Itoa(i)}), "vmID: shared") + "---\n"
			}
			return f.write("filters.yaml", docs)
		}
		set(0)
		f.serve()
		e := f.envoy(c, "edge-1")
		l := e.load("web", "x-left", "x-right")
		f.seen(l, e.Started, "x-left", "0")
		for i := 1; i <= rounds(); i++ {
			start := set(i)
			f.seen(l, start, "x-left", strconv.Itoa(i))
			f.seen(l, start, "x-right", strconv.Itoa(i))
		}
		f.good(l)
	})
}

// TestStatusAgreesWithEnvoy: what the status says that runs is what Envoy's
// own admin interface says.
func TestStatusAgreesWithEnvoy(t *testing.T) {
	eachCombination(t, func(t *testing.T, c combination) {
		f := newFleet(t)
		f.write("web.yaml", f.listener("web"))
		f.write("one.yaml", filter("one", f.module(wasmtest.Filter{Header: "x-one", Value: "0"})))
		f.write("two.yaml", filter("two", f.module(wasmtest.Filter{Header: "x-two", FromConfig: true}), "configFrom: {file: two.conf}"))
		f.write("two.conf", "first")
		f.serve()
		e := f.envoy(c, "edge-1")
		l := e.load("web", "x-two")
		for i := range rounds() {
			url := f.module(wasmtest.Filter{Header: "x-one", Value: strconv.Itoa(i)})
			f.write("one.yaml", filter("one", url))
			value := "config " + strconv.Itoa(i) // in a file of its own
			f.seen(l, f.write("two.conf", value), "x-two", value)
			f.eventually(func() error { return f.agrees(c, e, "one", "two") })
		}
		// One that Envoy refuses: both say that the good one runs.
		f.write("one.yaml", filter("one", f.module(wasmtest.Filter{Header: "x-one", Fault: wasmtest.RejectConfigure}), "verify: abi"))
		e.state("one", "failed")
		extensions, err := e.Extensions(t.Context())
		must(t, err)
		status, err := f.server.Status(t.Context())
		must(t, err)
		at, err := status.Filter("edge-1", "one")
		must(t, err)
		f.good(l)
		if c.protocol == "delta" && extensions["one"].Version != at.Running {
			t.Errorf("Envoy runs version %s, the status says %s", extensions["one"].Version, at.Running)
		}
	})
}

// agrees compares the filters that have come to rest.
func (f *fleet) agrees(c combination, e *edge, names ...string) error {
	status, err := f.server.Status(f.t.Context())
	if err != nil {
		return err
	}
	extensions, err := e.Extensions(f.t.Context())
	if err != nil {
		return err
	}
	for _, s := range status.Filters {
		at, err := status.Filter(e.id, s.Name)
		if err != nil {
			return err
		}
		got := extensions[s.Name]
		if at.State != "running" || at.Running != at.Wanted || s.Version != at.Wanted || got.SHA256 != s.SHA256 {
			return fmt.Errorf("filter %s: the status says %+v and %+v, Envoy %+v", s.Name, s, at, got)
		}
		if c.protocol == "delta" && got.Version != at.Running { // else it is the response's
			return fmt.Errorf("filter %s: the status says that %s runs, Envoy %s", s.Name, at.Running, got.Version)
		}
	}
	if len(status.Filters) != len(names) {
		return fmt.Errorf("want the filters %q, the status has %+v", names, status.Filters)
	}
	return nil
}

// TestMemory: many swaps leave no VM behind and cost Envoy no memory.
func TestMemory(t *testing.T) {
	play := func(t *testing.T, c combination) { memory(t, c, 4**swaps) }
	if report != nil {
		eachCombination(t, play)
	} else {
		play(t, newest())
	}
}

func memory(t *testing.T, c combination, n int) {
	s := swapScenes()[0]
	o := newOurs(t, c, s.all(0)...)
	e := o.envoy()
	e.runs("hello")
	m := memoryCount{c: c, swaps: n}
	var err error
	m.vms, err = e.VMs(t.Context())
	must(t, err)
	m.rss, err = e.Memory()
	must(t, err)
	m.Counts = s.play(t, n, o).counts
	e.runs("hello")
	e.f.eventually(func() error {
		m.vmsAfter, err = e.VMs(t.Context())
		if err == nil && m.vmsAfter != m.vms {
			err = fmt.Errorf("%d VMs, were %d", m.vmsAfter, m.vms)
		}
		return err
	})
	m.rssAfter, err = e.Memory()
	must(t, err)
	report.addMemory(m)
	t.Logf("%d swaps: %v; %d VMs; memory %.1f MiB, was %.1f", n, m.Counts, m.vmsAfter, mib(m.rssAfter), mib(m.rss))
	if m.rssAfter-m.rss > 20<<20 {
		t.Errorf("memory grew by %.1f MiB", mib(m.rssAfter-m.rss))
	}
	if m.Bad() > 0 {
		t.Error(m.Counts)
	}
}
