package dir

import (
	"errors"
	"io/fs"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// changed is when a file's content or attributes last changed. Unlike the
// modification time nobody can set it back.
func changed(info fs.FileInfo) time.Time {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return time.Unix(st.Ctim.Unix())
	}
	return info.ModTime()
}

// beingWritten says whether somebody has f open for writing, as far as that
// can be known: the kernel gives a read lease only on a file that nobody
// writes. It gives none at all to who doesn't own the file, and on some file
// systems.
func beingWritten(f *os.File) bool {
	raw, err := f.SyscallConn()
	if err != nil {
		return false
	}
	written := false
	err = raw.Control(func(fd uintptr) {
		_, err := unix.FcntlInt(fd, unix.F_SETLEASE, unix.F_RDLCK)
		written = errors.Is(err, unix.EAGAIN)
		if err == nil {
			// Given back at once: it would hold up whoever opens the file to write.
			_, _ = unix.FcntlInt(fd, unix.F_SETLEASE, unix.F_UNLCK)
		}
	})
	return err == nil && written
}
