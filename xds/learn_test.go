package xds_test

import (
	"slices"
	"testing"

	"wasmxds/state/statetest"
	"wasmxds/xds"
)

// TestLearnsWhatRan checks that a running server learns which versions have run on Envoys
// of another, and needs their modules.
func TestLearnsWhatRan(t *testing.T) {
	process := statetest.Start(t, t.TempDir())
	one := start(t, xds.Options{State: process.Writer, Shared: process.Store})
	other := start(t, xds.Options{State: process.Writer, Shared: process.Store})
	one.publish(t, hello1)
	other.publish(t, hello1)
	a := one.up(t, "a", true)
	a.has(moduleOf("hello", "v2"))
	one.publish(t, hello2)
	a.expect("ECDS primer/hello", "ECDS web#0=hello")
	one.settled(t, "a")
	other.publish(t, hello2)
	eventually(t, "the other knows that v1 has run", func() bool {
		return slices.Contains(other.Needed(), moduleOf("hello", "v1"))
	})
}
