//go:build !otherbuild

package resource

import "time"

// Values that this build chooses where definitions leave them open. A test
// builds with other values, to verify that no version depends on them.
const (
	fetchTimeout = time.Minute // for a module, by an Envoy
	primerPort   = 1           // never opened
)
