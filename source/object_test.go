package source

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"wasmxds/definition"
)

// cluster returns a source of objects.
func cluster(d Discoverer) Source {
	return Source{Name: "kube", Discoverer: d, Object: func(name string) (string, definition.Scope) {
		namespace, rest, _ := strings.Cut(name, "/")
		kind, of, _ := strings.Cut(rest, "/")
		return kind + " " + namespace + "/" + of, definition.Scope{Namespace: namespace, Everywhere: namespace == "infra"}
	}}
}

// objects returns a table of the objects of a cluster.
func objects(t *testing.T, take ...Document) *table {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	table := newTable([]Source{cluster(nil)}, newLastGood(nil, log), log)
	table.take(Batch{Source: "kube", Whole: true, Docs: take})
	table.join()
	return table
}

func objectOf(kind, namespace, name, spec string) Document {
	text := `{"apiVersion":"wasmxds.dev/v1alpha1","kind":"` + kind + `","metadata":{"name":"` + name + `","namespace":"` + namespace + `"},"spec":` + spec + `}`
	return Document{Key: Key{"kube", namespace + "/" + kind + "/" + name}, Data: []byte(text)}
}

// TestObjects checks that objects of different namespaces have different names,
// and are described as in Kubernetes.
func TestObjects(t *testing.T) {
	table := objects(t,
		objectOf("WasmFilter", "shop", "auth", `{"module":{"url":"https://a/b"}}`),
		objectOf("WasmFilter", "other", "auth", `{"module":{"url":"https://a/b"}}`),
		objectOf("WasmFilter", "other", "bad", `{"module":{"url":"b.wasm"}}`))
	u := Update{Set: table.set, Problems: table.problems}
	const want = "WasmFilter other/bad: spec.module.url: is a path, but there is no folder that it could be in"
	if filterNames(u) != "other.auth shop.auth" || told(u) != want {
		t.Errorf("filters %q, problems %q, want %q", filterNames(u), told(u), want)
	}
}

// TestObjectsAreTold checks that the state of each revision of an object is
// reported, even if definitions and problems stay the same and nothing is
// emitted.
func TestObjectsAreTold(t *testing.T) {
	docs, updates, told := make(scripted), make(chan Update, 10), make(chan map[Key]Object, 10)
	j := &Join{Sources: []Source{cluster(docs)}, Log: slog.New(slog.DiscardHandler), Objects: func(all map[Key]Object) { told <- all }}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- j.Run(ctx, func(u Update) { updates <- u }) }()
	bad := func(revision string) {
		t.Helper()
		d := objectOf("WasmFilter", "shop", "bad", `{"module":{"url":"b.wasm"},"rootID":"`+revision+`"}`)
		d.Revision = revision
		docs <- Batch{Source: "kube", Whole: revision == "1", Docs: []Document{d}}
		select {
		case all := <-told:
			if o := all[d.Key]; len(all) != 1 || o.Revision != revision || o.Good || len(o.Problems) != 1 {
				t.Errorf("revision %s: told %+v", revision, all)
			}
		case <-time.After(time.Minute):
			t.Fatal("nothing is told")
		}
	}
	bad("1")
	bad("2")
	if len(updates) != 1 {
		t.Errorf("%d updates", len(updates))
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// TestRevisionOfSameContent checks that, if an object has earlier content
// again, as after a restart or a reverted change, its newest revision is
// reported.
func TestRevisionOfSameContent(t *testing.T) {
	table := objects(t)
	key := Key{}
	take := func(revision, url string) {
		d := objectOf("WasmFilter", "shop", "auth", `{"module":{"url":"`+url+`"}}`)
		key, d.Revision = d.Key, revision
		table.take(Batch{Source: "kube", Docs: []Document{d}})
		table.join()
	}
	for i, url := range []string{"https://a/b", "b.wasm", "https://a/b", "https://a/b"} {
		revision := fmt.Sprint(i + 1)
		take(revision, url)
		if o := table.objects()[key]; o.Revision != revision || o.Good != (url != "b.wasm") {
			t.Errorf("revision %s: told %+v", revision, o)
		}
	}
}

// TestUnknownKind checks that only a kind that can't be read stays unchanged.
func TestUnknownKind(t *testing.T) {
	table := objects(t,
		objectOf("WasmFilter", "shop", "a", `{"module":{"url":"https://a/b"}}`),
		objectOf("WasmFilter", "other", "b", `{"module":{"url":"https://a/b"}}`),
		objectOf("Listener", "shop", "web", `{"address":"0.0.0.0:80","routes":[{"prefix":"/","upstream":"a:1"}]}`))
	unknown := func(like string) {
		table.take(Batch{Source: "kube", Whole: true, Unknown: []Unknown{{Like: like, Problem: definition.Problem{File: "Kubernetes", Message: like}}}})
		table.join()
	}
	unknown("*/WasmFilter/*")
	if got := filterNames(Update{Set: table.set}); got != "other.b shop.a" || len(table.set.Listeners) != 0 {
		t.Errorf("filters %q, %d listeners", got, len(table.set.Listeners))
	}
	unknown("shop/WasmFilter/*")
	if got := filterNames(Update{Set: table.set}); got != "shop.a" {
		t.Errorf("filters %q", got)
	}
}

// TestHoleOfANamespace checks that an object with errors blocks no change for
// the Envoys of other namespaces.
func TestHoleOfANamespace(t *testing.T) {
	web := func(upstream string) Document {
		return objectOf("Listener", "infra", "web", `{"address":"0.0.0.0:80","routes":[{"prefix":"/","upstream":"`+upstream+`"}]}`)
	}
	table := objects(t, web("a:1"))
	bad := objectOf("WasmFilter", "shop", "auth", `{"module":{"url":"b.wasm"}}`)
	table.take(Batch{Source: "kube", Docs: []Document{bad, web("b:1")}})
	table.join()
	set := table.set
	if set.Listeners[0].Routes[0].Upstreams[0].Address != "b:1" {
		t.Error("the listener of all waits for an object of one namespace")
	}
	if len(set.Withheld) != 1 || set.Withheld[0].By[0].Attach.Nodes.Labels[definition.NamespaceLabel] != "shop" {
		t.Errorf("withheld: %+v", set.Withheld)
	}
	table.take(Batch{Source: "kube", Docs: []Document{objectOf("WasmFilter", "infra", "auth", `{"module":{"url":"b.wasm"}}`), web("c:1")}})
	table.join()
	if set := table.set; len(set.Withheld) == 0 && set.Listeners[0].Routes[0].Upstreams[0].Address == "c:1" {
		t.Error("the listener does not wait for an object of the root namespace")
	}
}
