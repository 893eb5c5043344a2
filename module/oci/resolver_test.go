package oci

import (
	"context"
	"os"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/static"

	"wasmxds/definition"
	"wasmxds/module"
)

// TestResolver checks that a tag that moves is followed, with a new module each
// time.
func TestResolver(t *testing.T) {
	h := newHub(t, false, nil)
	publish := func(path string) string {
		t.Helper()
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		image, err := mutate.Append(empty.Image, mutate.Addendum{
			Layer: static.NewLayer(b, wasmTypes()[0]), MediaType: wasmTypes()[0],
		})
		if err != nil {
			t.Fatal(err)
		}
		return h.push(t, "filters/hello:v1", image)
	}
	url := publish("../dryrun/testdata/filter.wasm")

	store, err := module.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	updates := make(chan *definition.Set, 1)
	updates <- &definition.Set{Filters: []*definition.Filter{{
		Name: "hello", Module: definition.Module{URL: url, Fetch: definition.Mirror},
	}}}
	good := make(chan module.Info, 100)
	ended := make(chan error)
	go func() {
		ended <- module.New(module.Options{
			Store:    store,
			Fetchers: map[string]module.Fetcher{"oci": newFetcher(t, Options{})},
			Poll:     5 * time.Millisecond,
		}).Run(ctx, updates, func(s *module.Set) {
			if f := s.Filters[0]; f.State == module.Good {
				good <- f.Module
			}
		})
	}()
	next := func() module.Info {
		t.Helper()
		select {
		case m := <-good:
			return m
		case <-time.After(time.Minute):
			t.Fatal("no module came")
			return module.Info{}
		}
	}
	first := next()
	publish("../dryrun/testdata/start.wasm")
	if second := next(); second.SHA256 == first.SHA256 || second.ABI != "0.2.1" {
		t.Errorf("first %+v, then %+v", first, second)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
