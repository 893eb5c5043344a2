//go:build unix

package h2

import (
	"errors"

	"golang.org/x/sys/unix"
)

const canTry = true

// tryWrite writes what the kernel accepts now.
func tryWrite(fd uintptr, parts [][]byte) (n int, err error) {
	for {
		if len(parts) == 1 {
			n, err = unix.Write(int(fd), parts[0])
		} else {
			n, err = unix.SendmsgBuffers(int(fd), parts, nil, nil, 0)
		}
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case errors.Is(err, unix.EAGAIN):
			return 0, nil
		}
		return max(n, 0), err
	}
}

// tryRead reads what is available now. again means that there is nothing yet.
func tryRead(fd uintptr, b []byte) (n int, again bool, err error) {
	for {
		n, err = unix.Read(int(fd), b)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case errors.Is(err, unix.EAGAIN):
			return 0, true, nil
		}
		return max(n, 0), false, err
	}
}
