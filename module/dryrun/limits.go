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

// Room is the memory, in bytes, that a process which tries modules may take
// besides what it begins with: enough for a module's own memory while it
// grows, and for its compiled code.
const Room = 1 << 30

// Exit codes of a process that took too much: of memory, where the system
// doesn't limit it, or of CPU time.
const (
	exitMemory = 70
	exitCPU    = 71
)

// limits are those of this process.
type limits struct {
	stop func()
}

// limitProcess limits memory and files. Where the system can't, a goroutine
// looks after the memory.
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

// taken gives the bytes of memory that the process has of the system.
func taken() int64 {
	sample := []metrics.Sample{{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}}
	metrics.Read(sample)
	return int64(sample[0].Value.Uint64() - sample[1].Value.Uint64())
}

// crowded says whether the process has grown so much that the next module
// might find too little room.
func (l limits) crowded() bool { return taken() > Room/3 }

// allow limits the CPU time of what is to come.
func (l limits) allow(more time.Duration) {
	lower(unix.RLIMIT_CPU, uint64((cpuTime()+more)/time.Second)+1)
}

// lower sets a limit that may be raised again, except that of files and cores.
func lower(resource int, to uint64) {
	var now unix.Rlimit
	if unix.Getrlimit(resource, &now) != nil {
		return
	}
	now.Cur = min(to, now.Max)
	_ = unix.Setrlimit(resource, &now) // watchMemory and the other side's deadline are there as well
}

// cpuTime is what this process has used.
func cpuTime() time.Duration {
	var used unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &used) != nil {
		return 0
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}

// closeInherited closes what the process that started this one had from
// whoever started it: its own files are closed already, by their flag.
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
