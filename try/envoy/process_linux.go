package envoy

import "syscall"

// attributes make the kernel kill Envoy when the thread that started it ends. Envoy gets a
// process group of its own, so that Ctrl-C does not reach it before its parent.
func attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
}
