//go:build otherbuild

package resource

import "time"

const (
	fetchTimeout = 61 * time.Second
	primerPort   = 2
)
