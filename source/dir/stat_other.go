//go:build !linux

package dir

import (
	"io/fs"
	"os"
	"time"
)

// changed is when a file was last modified.
func changed(info fs.FileInfo) time.Time { return info.ModTime() }

// beingWritten can't be known here.
func beingWritten(*os.File) bool { return false }
