//go:build !unix

package module

import "io/fs"

// inode returns "" on this system: size and modification time must suffice.
func inode(fs.FileInfo) string { return "" }
