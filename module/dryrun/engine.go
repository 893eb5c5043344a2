package dryrun

import (
	"context"
	"fmt"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/experimental"
)

// engine runs modules in one of the two ways that wazero has.
type engine struct {
	runtime wazero.Runtime
	modules cache
}

func newEngine(ctx context.Context, config wazero.RuntimeConfig, cost cost, memory int64) (*engine, error) {
	const pageSize = 64 << 10
	e := &engine{runtime: wazero.NewRuntimeWithConfig(ctx, config.
		WithCloseOnContextDone(true).
		WithDebugInfoEnabled(false). // DWARF may be large
		WithMemoryLimitPages(uint32(memory/pageSize)).
		WithCoreFeatures(api.CoreFeaturesV2|
			experimental.CoreFeaturesThreads|
			experimental.CoreFeaturesTailCall|
			experimental.CoreFeaturesExtendedConst|
			experimental.CoreFeaturesExceptionHandling|
			experimental.CoreFeaturesTypedFunctionReferences))}
	e.modules = cache{runtime: e.runtime, cost: cost}
	if err := provide(ctx, e.runtime); err != nil {
		return nil, fmt.Errorf("make dry runs: %w", err)
	}
	return e, nil
}
