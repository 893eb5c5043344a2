package harness

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"syscall"
	"time"
)

// StartPaused starts a server again that was killed, and pauses it as soon as it has logged
// some words; "": at once. Continue ends that.
func (s *Server) StartPaused(ctx context.Context, words string) error {
	from := s.logged()
	if err := s.launch(ctx); err != nil {
		return err
	}
	return s.pauseAt(ctx, from, words)
}

// PauseAt pauses the server as soon as it has logged some words since do was called.
func (s *Server) PauseAt(ctx context.Context, words string, do func()) error {
	from := s.logged()
	do()
	return s.pauseAt(ctx, from, words)
}

// Continue has a paused server continue, and returns once it listens.
func (s *Server) Continue(ctx context.Context) error {
	if err := syscall.Kill(s.PID(), syscall.SIGCONT); err != nil {
		return err
	}
	return s.listens(ctx)
}

// logged is the size of the log.
func (s *Server) logged() int64 {
	info, err := os.Stat(s.Log())
	if err != nil {
		return 0 // there is none yet
	}
	return info.Size()
}

// pauseAt looks at the log more often than Poll does: the next step is soon.
func (s *Server) pauseAt(ctx context.Context, from int64, words string) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	tick := time.NewTicker(200 * time.Microsecond)
	defer tick.Stop()
	for {
		log, err := os.ReadFile(s.Log())
		if err != nil {
			return err
		}
		if bytes.Contains(log[min(from, int64(len(log))):], []byte(words)) {
			return syscall.Kill(s.PID(), syscall.SIGSTOP)
		}
		if err := s.proc.Running(); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("it has not logged %q: %w", words, ctx.Err())
		case <-tick.C:
		}
	}
}
