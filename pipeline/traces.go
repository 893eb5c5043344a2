package pipeline

import (
	"time"

	"wasmxds/module"
	"wasmxds/resource"
	"wasmxds/source"
	"wasmxds/trace"
	"wasmxds/xds"
)

// observe returns an Observer that reports to the tracer as well as to o.
func observe(t *trace.Tracer, o module.Observer) module.Observer {
	if t == nil {
		return o
	}
	return module.Observer{
		Fetched: func(f module.Fetch) {
			o.Fetched(f)
			if f.New || f.Err != nil {
				t.Fetched(f.URL, f.SHA256, f.Took, f.Err)
			}
		},
		DryRun: func(filter string, took time.Duration, err error) {
			o.DryRun(filter, took, err)
			t.DryRun(filter, took, err)
		},
	}
}

func traceSwap(t *trace.Tracer, w xds.Swap) {
	t.Swapped(trace.Swap{Node: w.Node, Filter: w.Filter, To: w.To, Stage: string(w.Stage), At: w.At})
}

func traceRead(t *trace.Tracer, u source.Update) {
	r := trace.Read{Changed: u.Changed, Began: u.Began, Ended: time.Now(), Files: u.Files}
	for _, p := range u.Problems {
		if !p.Warning {
			r.Errors++
		}
	}
	t.Read(r)
}

func tracePublished(t *trace.Tracer, set *module.Set, catalog *resource.Catalog, began, compiled time.Time) {
	if t == nil {
		return
	}
	p := trace.Published{Began: began, Compiled: compiled, Ended: time.Now(), Versions: make(map[string]string, len(set.Filters))}
	for _, f := range set.Filters {
		p.Coming = p.Coming || coming(f)
		if c := catalog.Filter(f.Definition.Name); c != nil {
			p.Versions[c.Name] = c.Version
		}
	}
	t.Published(p)
}
