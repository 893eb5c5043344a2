package exectest

import "syscall"

// endWithParent has the system kill a child whose parent died without ending
// it, as a test that ran into its timeout does.
func endWithParent() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}
