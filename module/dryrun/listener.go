package dryrun

import (
	"cmp"
	"context"
	"fmt"

	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/experimental"

	"wasmxds/module/dryrun/profile"
)

// listeners makes wazero report the calls of a module's functions, for its
// profile.
type listeners struct{}

func (listeners) NewFunctionListener(f api.FunctionDefinition) experimental.FunctionListener {
	if f.GoFunction() != nil {
		return nil // a host function
	}
	return listener{nameOf(f)}
}

// nameOf returns the name of a function in the module. If the names were
// stripped, exported functions still have the name of their export; all others
// get their number.
func nameOf(f api.FunctionDefinition) string {
	exported := ""
	if names := f.ExportNames(); len(names) > 0 {
		exported = names[0]
	}
	return cmp.Or(f.Name(), exported, fmt.Sprintf("function %d", f.Index()))
}

type listener struct{ name string }

func (l listener) Before(ctx context.Context, _ api.Module, _ api.FunctionDefinition, _ []uint64, _ experimental.StackIterator) {
	if h, p := profiled(ctx); p != nil {
		p.Enter(l.name, h.count())
	}
}

func (l listener) After(ctx context.Context, _ api.Module, _ api.FunctionDefinition, _ []uint64) {
	if h, p := profiled(ctx); p != nil {
		p.Leave(h.count())
	}
}

func (l listener) Abort(ctx context.Context, m api.Module, f api.FunctionDefinition, _ error) {
	l.After(ctx, m, f, nil)
}

func profiled(ctx context.Context) (*host, *profile.Recorder) {
	h, is := ctx.Value(hostKey{}).(*host)
	if !is {
		return nil, nil
	}
	return h, h.profile
}
