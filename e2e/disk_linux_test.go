package e2e

import (
	"fmt"
	"syscall"
	"testing"
)

// mountDisk makes dir a file system of its own with so many bytes, where this
// process may do that.
func mountDisk(t *testing.T, dir string, size int) bool {
	t.Helper()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%d", size)); err != nil {
		t.Logf("no small file system here: %v", err)
		return false
	}
	t.Cleanup(func() { must(t, syscall.Unmount(dir, syscall.MNT_DETACH)) })
	return true
}
