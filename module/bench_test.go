package module

import (
	"bytes"
	"context"
	"fmt"
	"testing"

	"wasmxds/definition"
)

// BenchmarkConfigChange measures the time from a change of one definition among
// many to the Set that includes it.
func BenchmarkConfigChange(b *testing.B) {
	for _, filters := range []int{1, 100, 10_000} {
		b.Run(fmt.Sprint(filters), func(b *testing.B) {
			content := filter("x")
			store, err := Open(b.TempDir())
			if err != nil {
				b.Fatal(err)
			}
			info, err := store.Put(bytes.NewReader(content), limit)
			if err != nil {
				b.Fatal(err)
			}
			ctx, cancel := context.WithCancel(b.Context())
			updates, sets := make(chan *definition.Set), make(chan *Set, 1)
			ended := make(chan error)
			go func() { ended <- New(Options{Store: store}).Run(ctx, updates, func(s *Set) { sets <- s }) }()
			set := &definition.Set{}
			for i := range filters {
				f := wanted(fmt.Sprintf("f%05d", i), "https://origin.example/x.wasm")
				f.Module.SHA256 = info.SHA256
				set.Filters = append(set.Filters, f)
			}
			updates <- set
			for (<-sets).Filters[0].State != Good {
			}
			for b.Loop() {
				next := &definition.Set{Filters: append([]*definition.Filter(nil), set.Filters...)}
				changed := *next.Filters[0]
				changed.RootID += "x"
				if len(changed.RootID) > 10 {
					changed.RootID = ""
				}
				next.Filters[0] = &changed
				updates <- next
				if s := <-sets; s.Filters[0].Definition != &changed {
					b.Fatalf("%+v", s.Filters[0])
				}
				set = next
			}
			cancel()
			if err := <-ended; err != nil {
				b.Fatal(err)
			}
		})
	}
}
