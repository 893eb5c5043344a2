//go:build unix

package main

import "golang.org/x/sys/unix"

// openFiles is how many files the process may have open: Go has raised the limit
// as far as it goes when it started.
func openFiles() int {
	var l unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &l); err != nil {
		return unknownOpen
	}
	return int(min(uint64(l.Cur), unknownOpen))
}
