package module_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"

	"wasmxds/definition"
	"wasmxds/module"
	"wasmxds/module/serve"
)

// A Resolver finds the modules of a set of definitions; a serve.Server serves
// them to Envoys.
func Example() {
	dir, err := os.MkdirTemp("", "modules")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	store, err := module.Open(dir)
	if err != nil {
		panic(err)
	}
	modules := httptest.NewServer(serve.New(serve.Options{Store: store}))
	defer modules.Close()

	// An origin that has something other than a module.
	origin := httptest.NewServer(http.NotFoundHandler())
	defer origin.Close()
	fetcher := module.NewHTTP()
	defer fetcher.Close()

	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	updates := make(chan *definition.Set, 1)
	updates <- &definition.Set{Filters: []*definition.Filter{{
		Name:   "hello",
		Pos:    definition.Position{File: "hello.yaml", Line: 1},
		Module: definition.Module{URL: origin.URL + "/hello.wasm", Fetch: definition.Mirror},
	}}}
	resolver := module.New(module.Options{Store: store, Fetchers: map[string]module.Fetcher{"http": fetcher}})
	err = resolver.Run(ctx, updates, func(set *module.Set) {
		for _, f := range set.Filters {
			if f.State == module.Failed {
				fmt.Println(f.Definition.Name, "is", f.State)
				cancel()
			}
		}
	})
	fmt.Println(err)
	// Output:
	// hello is failed
	// <nil>
}
