package main

import (
	"context"
	"log/slog"
	"os"

	"go.opentelemetry.io/otel"

	"wasmxds/trace"
)

// newTracer makes the Tracer that the environment asks for; nil: none.
func newTracer(ctx context.Context, log *slog.Logger) (*trace.Tracer, error) {
	if wanted, err := trace.Configured(os.Getenv); !wanted {
		return nil, err
	}
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) { log.Warn("traces are lost", "error", err) }))
	return trace.New(ctx, trace.Options{Version: buildVersion()})
}
