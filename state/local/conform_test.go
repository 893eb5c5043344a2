package local_test

import (
	"log/slog"
	"path/filepath"
	"testing"

	"wasmxds/state"
	"wasmxds/state/local"
	"wasmxds/state/statetest"
)

func TestConform(t *testing.T) {
	statetest.Conform(t, func(t *testing.T) state.Store {
		s, err := local.Open(filepath.Join(t.TempDir(), "state.db"), slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		})
		return s
	})
}
