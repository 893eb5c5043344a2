package dryrun

import (
	"context"
	"errors"
	"fmt"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/experimental"
)

// engine starts modules in one of wazero's two ways.
type engine struct {
	runtime wazero.Runtime
	modules *cache
}

func newEngine(ctx context.Context, config wazero.RuntimeConfig, cost cost, o Options) (*engine, error) {
	const pageSize = 64 << 10
	e := &engine{runtime: wazero.NewRuntimeWithConfig(ctx, config.
		WithCloseOnContextDone(true).
		WithDebugInfoEnabled(false). // DWARF, which may be large
		WithMemoryLimitPages(uint32(o.Memory/pageSize)).
		WithCoreFeatures(api.CoreFeaturesV2|
			experimental.CoreFeaturesThreads|
			experimental.CoreFeaturesTailCall|
			experimental.CoreFeaturesExtendedConst|
			experimental.CoreFeaturesExceptionHandling|
			experimental.CoreFeaturesTypedFunctionReferences))}
	e.modules = newCache(e.runtime, o.Cached/2, cost)
	if err := provide(ctx, e.runtime); err != nil {
		return nil, errors.Join(fmt.Errorf("make dry runs: %w", err), e.close(ctx))
	}
	return e, nil
}

func (e *engine) close(ctx context.Context) error { return e.runtime.Close(ctx) }
