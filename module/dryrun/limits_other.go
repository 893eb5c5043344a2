//go:build !linux

package dryrun

import "syscall"

// limitMemory has nothing to limit it by: watchMemory looks after it.
func limitMemory(uint64) {}

// attributes keep a terminal's signals away. The process ends when its input
// does.
func attributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
