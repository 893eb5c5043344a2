//go:build !otherbuild

package resource

import "time"

// What this build chooses where no definition says anything. A test builds with
// other choices, to see that no version depends on them.
const (
	fetchTimeout = time.Minute // of a module, by an Envoy
	primerPort   = 1           // which is not opened
)
