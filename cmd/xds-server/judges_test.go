package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"

	"wasmxds/admin"
	"wasmxds/e2e/wasmtest"
	"wasmxds/resource"
	"wasmxds/rollout"
	"wasmxds/rollout/ask"
)

// judge is a webhook that says what it is told to say.
type judge struct {
	*httptest.Server
	mu   sync.Mutex
	says string // a verdict; its reason is "so it is VERDICT"
	told []ask.Change
}

func newJudge(t *testing.T) *judge {
	j := &judge{}
	j.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var c ask.Change
		if err := json.NewDecoder(r.Body).Decode(&c); err != nil {
			t.Error(err)
		}
		j.mu.Lock()
		defer j.mu.Unlock()
		j.told = append(j.told, c)
		fmt.Fprintf(w, `{"verdict": %q, "reason": "so it is %s"}`, j.says, j.says)
	}))
	t.Cleanup(j.Close)
	return j
}

func (j *judge) say(verdict string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.says, j.told = verdict, nil
}

// last is what it was told last; its ID is empty where it was not asked.
func (j *judge) last() ask.Change {
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(j.told) == 0 {
		return ask.Change{}
	}
	return j.told[len(j.told)-1]
}

// edge is an Envoy that takes whatever configuration of the filter hello it gets.
type edge struct {
	id  string
	mu  sync.Mutex
	has []byte
}

func newEdge(t *testing.T, r *running, id string, running *sync.WaitGroup) *edge {
	t.Helper()
	e := &edge{id: id}
	stream := r.ads(t)
	request := &discoveryv3.DiscoveryRequest{TypeUrl: resource.ExtensionType, ResourceNames: []string{"hello"}, Node: &corev3.Node{Id: id}}
	if err := stream.Send(request); err != nil {
		t.Fatal(err)
	}
	running.Go(func() {
		for {
			resp, err := stream.Recv()
			if err != nil {
				return // the server has ended
			}
			e.mu.Lock()
			e.has = resp.Resources[0].Value
			e.mu.Unlock()
			request.VersionInfo, request.ResponseNonce = resp.VersionInfo, resp.Nonce
			if stream.Send(request) != nil {
				return
			}
		}
	})
	return e
}

func (e *edge) runs(config string) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return bytes.Contains(e.has, []byte(config))
}

// TestWebhookJudges rolls changes out that a webhook judges: one that has no verdict
// keeps a change where it is, one that says bad stops it.
func TestWebhookJudges(t *testing.T) {
	const hello = `{"kind": "WasmFilter", "name": "hello", "module": {"url": "hello.wasm"}, "config": %q, "attach": {"direction": "any"}}`
	hook := newJudge(t)
	hook.say("none")
	r := startServe(t, map[string]string{
		"hello.json":   fmt.Sprintf(hello, "config-1"),
		"hello.wasm":   string(wasmtest.Filter{Header: "x-test", FromConfig: true}.Module()),
		"careful.json": fmt.Sprintf(`{"kind": "Rollout", "name": "careful", "waves": [1], "bake": "0s", "ask": [{"webhook": {"url": %q}}]}`, hook.URL),
	}, "--drain", "0s", "--signals=false")
	r.admin(t, "/readyz", http.StatusOK, "ready")
	var running sync.WaitGroup
	defer running.Wait()
	defer r.end(t)
	edges := []*edge{newEdge(t, r, "edge-1", &running), newEdge(t, r, "edge-2", &running)}
	until := func(what string, ok func(admin.Rollouts) bool) admin.Rollouts {
		t.Helper()
		var got admin.Rollouts
		err := poll(time.Minute, func() error {
			got = r.rollouts(t)
			if !ok(got) {
				return fmt.Errorf("not so: %s: %+v; the judge was told last %+v", what, got.Changes, hook.last())
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	run := func(config string) (all []string) {
		for _, e := range edges {
			if e.runs(config) {
				all = append(all, e.id)
			}
		}
		return all
	}
	until("both have the first configuration", func(admin.Rollouts) bool { return len(run("config-1")) == 2 })

	r.write(t, "hello.json", fmt.Sprintf(hello, "config-2"))
	until("it waits for a judge that has no verdict", func(all admin.Rollouts) bool {
		return len(all.Changes) > 0 && len(all.Changes[0].Judges) == 1 && all.Changes[0].Settled == 1 &&
			all.Changes[0].Judges[0] == rollout.VerdictStatus{Judge: "webhook 1", Verdict: rollout.NoTraffic, Words: "the webhook says none: so it is none"}
	})
	has := run("config-2")
	c := hook.last()
	if c.Policy != "careful" || c.Wave != 1 || c.Waves != 2 || c.Reached != 1 || len(has) != 1 || len(c.Nodes) != 1 || c.Nodes[0] != has[0] ||
		len(c.Definitions) != 1 || c.Definitions[0] != (ask.Definition{Kind: "filter", Name: "hello", What: "changed"}) {
		t.Errorf("told %+v of a change that %q have", c, has)
	}
	hook.say("good")
	until("it goes to all", func(all admin.Rollouts) bool {
		return all.Changes[0].State == rollout.Done && len(run("config-2")) == 2
	})
	if last := hook.last(); last.ID != c.ID || last.Wave != 2 || last.Reached != 2 {
		t.Errorf("told %+v last", last)
	}

	hook.say("bad")
	r.write(t, "hello.json", fmt.Sprintf(hello, "config-3"))
	stopped := until("it is stopped and taken back", func(all admin.Rollouts) bool {
		return all.Changes[0].State == rollout.Stopped && len(run("config-2")) == 2
	}).Changes[0]
	if stopped.Reason != "the webhook says bad: so it is bad" {
		t.Errorf("stopped because %q", stopped.Reason)
	}
	if last := hook.last(); last.ID != stopped.ID || last.Wave != 1 || last.Reached != 1 {
		t.Errorf("told %+v last", last)
	}
}

// rollouts are what the API tells of them.
func (r *running) rollouts(t *testing.T) (all admin.Rollouts) {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: time.Minute}
	resp, err := client.Get("http://" + r.Admin + "/api/v1/rollouts")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(&all); err != nil {
		t.Fatal(err)
	}
	return all
}
