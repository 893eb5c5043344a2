//go:build !linux

package e2e

import "testing"

// mountDisk is not known here.
func mountDisk(*testing.T, string, int) bool { return false }
