package dryrun

import (
	"os"
	"runtime/debug"
	"runtime/metrics"
	"strconv"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Room is how much memory, in bytes, a process that tries modules may take in addition to
// what it starts with. It is enough for the memory of a module while it grows, and for its
// compiled code.
const Room = 1 << 30

// Exit codes of a process that exceeds its limits: of memory, where the operating system
// does not limit it, or of CPU time.
const (
	exitMemory = 70
	exitCPU    = 71
)

// limits are the limits of this process.
type limits struct {
	stop func()
}

// limitProcess limits memory and files. A goroutine watches the memory, because not every
// operating system can limit it.
func limitProcess() limits {
	debug.SetMemoryLimit(Room * 3 / 4)
	lower(unix.RLIMIT_CORE, 0)
	lower(unix.RLIMIT_FSIZE, 0)
	limitMemory(Room)
	ended := make(chan struct{})
	go watchMemory(ended)
	return limits{sync.OnceFunc(func() { close(ended) })}
}

func watchMemory(ended <-chan struct{}) {
	look := time.NewTicker(20 * time.Millisecond)
	defer look.Stop()
	for {
		select {
		case <-ended:
			return
		case <-look.C:
			if taken() > Room {
				os.Exit(exitMemory)
			}
		}
	}
}

// taken returns the bytes of memory that the process has from the operating system.
func taken() int64 {
	sample := []metrics.Sample{{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}}
	metrics.Read(sample)
	return int64(sample[0].Value.Uint64() - sample[1].Value.Uint64())
}

// crowded reports whether the process has grown so much that there may be too little room
// for the next module.
func (l limits) crowded() bool { return taken() > Room/3 }

// allow limits the CPU time from now on.
func (l limits) allow(more time.Duration) {
	lower(unix.RLIMIT_CPU, uint64((cpuTime()+more)/time.Second)+1)
}

// lower sets a soft limit, which can be raised again except for files and core dumps.
func lower(resource int, to uint64) {
	var now unix.Rlimit
	if unix.Getrlimit(resource, &now) != nil {
		return
	}
	now.Cur = min(to, now.Max)
	_ = unix.Setrlimit(resource, &now) // on failure, watchMemory and the parent's deadline remain
}

// cpuTime returns the CPU time that this process has used.
func cpuTime() time.Duration {
	var used unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &used) != nil {
		return 0
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}

// closeInherited closes the files that the parent process has inherited itself. The
// parent's own files are closed already, because they are marked close-on-exec.
func closeInherited() {
	files, err := os.ReadDir("/dev/fd")
	if err != nil {
		return
	}
	for _, f := range files {
		fd, err := strconv.Atoi(f.Name())
		if err != nil || fd <= 2 {
			continue
		}
		if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err == nil && flags&unix.FD_CLOEXEC == 0 {
			_ = syscall.Close(fd)
		}
	}
}
