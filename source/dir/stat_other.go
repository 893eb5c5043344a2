//go:build !linux

package dir

import (
	"io/fs"
	"os"
	"time"
)

// changed returns when a file was last modified.
func changed(info fs.FileInfo) time.Time { return info.ModTime() }

// beingWritten returns false, since this system can't tell.
func beingWritten(*os.File) bool { return false }
