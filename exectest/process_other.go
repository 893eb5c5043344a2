//go:build !linux

package exectest

import "syscall"

func endWithParent() *syscall.SysProcAttr { return nil }
