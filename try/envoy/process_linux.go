package envoy

import "syscall"

// attributes have Envoy killed when the thread that starts it ends. In a group of its own
// it is not told of Ctrl-C before who started it.
func attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
}
