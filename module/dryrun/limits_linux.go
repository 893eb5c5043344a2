package dryrun

import (
	"bytes"
	"os"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// limitMemory limits the data segment and the address space, because Go maps far more than
// it uses.
func limitMemory(room uint64) {
	lower(unix.RLIMIT_DATA, memory("VmData")+room)
	lower(unix.RLIMIT_AS, memory("VmSize")+room+room/2)
	// If the machine runs out of memory, this process is to be killed rather than another.
	_ = os.WriteFile("/proc/self/oom_score_adj", []byte("1000"), 0)
}

// memory returns a field of /proc/self/status in bytes. If there is none, it returns more
// than any process has.
func memory(field string) uint64 {
	const most = 1 << 46
	b, err := os.ReadFile("/proc/self/status")
	_, rest, found := bytes.Cut(b, []byte("\n"+field+":"))
	if err != nil || !found {
		return most
	}
	kilobytes, _, _ := bytes.Cut(bytes.TrimSpace(rest), []byte(" "))
	n, err := strconv.ParseUint(string(kilobytes), 10, 46)
	if err != nil {
		return most
	}
	return n << 10
}

// attributes make the kernel kill the process when the thread that started it ends.
func attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
}
