package dryrun

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"syscall"
)

// Sandbox is the main function of a process that tries modules for a [Runner]. It reads
// requests from in, one after the other, and writes replies to out. It limits the process
// before it reads anything, and ends the process when in is closed, whatever is running
// then. It returns the exit code.
func Sandbox(in io.Reader, out io.Writer) int {
	// Terminals and service managers send signals to all processes of a service. This one
	// ends together with its parent instead.
	signal.Ignore(os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	closeInherited()
	runtime.GOMAXPROCS(min(2, runtime.GOMAXPROCS(0)))
	limits := limitProcess()
	defer limits.stop()
	endWhenSpent()
	requests, modules := make(chan request), make(chan []byte)
	go func() {
		if err := receive(in, requests, modules); !errors.Is(err, io.EOF) {
			fmt.Fprintln(os.Stderr, "read what to try:", err)
			os.Exit(1)
		}
		os.Exit(0)
	}()
	var s sandbox
	for r := range requests {
		limits.allow(r.CPU)
		answer := s.try(context.Background(), r, func() ([]byte, error) {
			if err := writeFrame(out, reply{Need: true}); err != nil {
				return nil, err
			}
			return <-modules, nil
		})
		answer.Crowded = limits.crowded()
		if err := writeReply(out, answer); err != nil {
			return 1
		}
	}
	return 0
}

// endWhenSpent ends the process when it has used up its CPU time. By default, Go's runtime
// would ignore the signal.
func endWhenSpent() {
	spent := make(chan os.Signal, 1)
	signal.Notify(spent, syscall.SIGXCPU)
	go func() {
		<-spent
		os.Exit(exitCPU)
	}()
}

// receive keeps reading while a module is tried, and so learns when the parent has ended.
func receive(in io.Reader, requests chan<- request, modules chan<- []byte) error {
	buffered := bufio.NewReader(in)
	for {
		kind, err := buffered.ReadByte()
		switch {
		case err != nil:
			return err
		case kind == askTrial:
			var r request
			if err := readFrame(buffered, maxRequest, &r); err != nil {
				return err
			}
			requests <- r
		case kind == giveModule:
			var head [8]byte
			if _, err := io.ReadFull(buffered, head[:]); err != nil {
				return err
			}
			size := binary.LittleEndian.Uint64(head[:])
			if size > maxModule {
				return fmt.Errorf("module of %d bytes, at most %d are read", size, maxModule)
			}
			b := make([]byte, size)
			if _, err := io.ReadFull(buffered, b); err != nil {
				return err
			}
			modules <- b
		default:
			return fmt.Errorf("message of unknown kind %q", kind)
		}
	}
}
