//go:build !linux

package dryrun

import "syscall"

// limitMemory does nothing here, because there is no such limit; watchMemory replaces it.
func limitMemory(uint64) {}

// attributes keep signals of a terminal away. The process ends when its input ends.
func attributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
