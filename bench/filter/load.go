package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

// load keeps a request under way on each connection for a time, and gives how
// long each took, in order of time. HTTP/1.1 is spoken by hand: net/http's
// client would cost more than Envoy.
func load(ctx context.Context, address string, connections int, length time.Duration) ([]time.Duration, error) {
	end := time.Now().Add(length)
	var mu sync.Mutex
	var all []time.Duration
	g, ctx := errgroup.WithContext(ctx)
	for range connections {
		g.Go(func() error {
			times, err := requests(ctx, address, end)
			mu.Lock()
			defer mu.Unlock()
			all = append(all, times...)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	slices.Sort(all)
	return all, nil
}

// requests is one connection's part.
func requests(ctx context.Context, address string, end time.Time) (times []time.Duration, err error) {
	var d net.Dialer
	nc, err := d.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	defer nc.Close()
	defer context.AfterFunc(ctx, func() { nc.Close() })()
	if err := nc.SetDeadline(end.Add(10 * time.Second)); err != nil {
		return nil, err
	}
	request := []byte("GET / HTTP/1.1\r\nHost: " + address + "\r\nUser-Agent: bench\r\nAccept: */*\r\n\r\n")
	r := bufio.NewReader(nc)
	for began := time.Now(); began.Before(end); {
		if _, err := nc.Write(request); err != nil {
			return nil, err
		}
		if err := answer(r); err != nil {
			return nil, err
		}
		now := time.Now()
		times = append(times, now.Sub(began))
		began = now
	}
	return times, nil
}

var (
	ok     = []byte("HTTP/1.1 200 ")
	length = []byte("content-length:")
)

// answer reads a response, which must be a good one.
func answer(r *bufio.Reader) error {
	size := -1
	for first := true; ; first = false {
		line, err := r.ReadSlice('\n')
		if err != nil {
			return err
		}
		if first && !bytes.HasPrefix(line, ok) {
			return fmt.Errorf("answered %q", line)
		}
		if len(line) == 2 {
			break
		}
		if value, found := bytes.CutPrefix(line, length); found {
			if size, err = strconv.Atoi(string(bytes.TrimSpace(value))); err != nil {
				return err
			}
		}
	}
	if size < 0 {
		return fmt.Errorf("an answer without its length: %w", io.ErrUnexpectedEOF)
	}
	_, err := r.Discard(size)
	return err
}

// processorTime is that of all threads of a process (CPUCLOCK_SCHED, see
// clock_getcpuclockid(3)).
func processorTime(pid int) (time.Duration, error) {
	var t unix.Timespec
	if err := unix.ClockGettime(^int32(pid)<<3|2, &t); err != nil {
		return 0, fmt.Errorf("read the processor time of process %d: %w", pid, err)
	}
	return time.Duration(t.Nano()), nil
}
