package exectest

import "syscall"

// endWithParent makes the system kill a child whose parent died without ending it, like a
// test that ran into its timeout.
func endWithParent() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}
