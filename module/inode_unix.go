//go:build unix

package module

import (
	"fmt"
	"io/fs"
	"syscall"
)

// inode returns an identifier that distinguishes files of the same name.
func inode(stat fs.FileInfo) string {
	if s, ok := stat.Sys().(*syscall.Stat_t); ok {
		return fmt.Sprintf("%d-%d", s.Dev, s.Ino)
	}
	return ""
}
