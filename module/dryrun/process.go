package dryrun

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"
)

// process is a process in which [Sandbox] tries modules. It has one user at a time.
type process struct {
	pid    int
	in     io.WriteCloser
	out    io.ReadCloser
	stderr head
	kill   func()
	ended  chan struct{} // closed when it has ended and state is set
	state  *os.ProcessState
	trials int
	retire *time.Timer // runs while the process is idle
}

// startProcess starts a process. It calls onEnd when that has ended.
func startProcess(command []string, onEnd func(*process)) (*process, error) {
	p := &process{ended: make(chan struct{})}
	started := make(chan error)
	go func() {
		defer onEnd(p)
		defer close(p.ended)
		// Linux kills the process when the thread that started it ends.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		cmd, err := p.start(command)
		started <- err
		if err == nil {
			_ = cmd.Wait() // the state has the result
			p.state = cmd.ProcessState
		}
	}()
	if err := <-started; err != nil {
		<-p.ended
		return nil, fmt.Errorf("start a process for dry runs: %w", err)
	}
	return p, nil
}

func (p *process) start(command []string) (*exec.Cmd, error) {
	cmd := exec.Command(command[0])
	cmd.Args = command[1:]
	cmd.Env = []string{}
	cmd.Dir = "/"
	cmd.SysProcAttr = attributes()
	cmd.Stderr = &p.stderr
	var errs [3]error
	p.in, errs[0] = cmd.StdinPipe()
	p.out, errs[1] = cmd.StdoutPipe()
	if errs[2] = errors.Join(errs[:]...); errs[2] != nil {
		return nil, errs[2]
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	p.pid = cmd.Process.Pid
	p.kill = sync.OnceFunc(func() { _ = cmd.Process.Kill() })
	return cmd, nil
}

func (p *process) alive() bool {
	select {
	case <-p.ended:
		return false
	default:
		return true
	}
}

// end closes the input of the process, so that it ends by itself.
func (p *process) end() { _ = p.in.Close() }

// died is the error of a process that ended during a trial.
type died struct {
	*process
	late bool  // the deadline had passed
	err  error // error of the communication with it
}

func (d *died) Error() string {
	return fmt.Sprintf("dry run: its process ended: %v (%v)", d.state, d.err)
}

// try sends a trial to the process. After an error, the process has ended. The error is a
// [died] unless the module can't be read.
func (p *process) try(ctx context.Context, r request, open func() (io.ReadCloser, int64, error)) (reply, error) {
	p.trials++
	stop := context.AfterFunc(ctx, p.kill)
	defer stop()
	answer, err := p.converse(r, open)
	if err == nil {
		return answer, nil
	}
	p.kill()
	p.end()
	<-p.ended
	if unread, ok := errors.AsType[*unreadable](err); ok {
		return reply{}, unread.error
	}
	return reply{}, &died{p, ctx.Err() != nil, err}
}

// unreadable is the error of a module that can't be read.
type unreadable struct{ error }

func (p *process) converse(r request, open func() (io.ReadCloser, int64, error)) (answer reply, err error) {
	if _, err = p.in.Write([]byte{askTrial}); err == nil {
		err = writeFrame(p.in, r)
	}
	if err == nil {
		err = readFrame(p.out, r.maxReply(), &answer)
	}
	if err != nil || !answer.Need {
		return answer, err
	}
	content, size, err := open()
	if err != nil {
		return answer, &unreadable{err}
	}
	defer content.Close()
	if _, err := p.in.Write(binary.LittleEndian.AppendUint64([]byte{giveModule}, uint64(size))); err != nil {
		return answer, err
	}
	if _, err := io.CopyN(p.in, content, size); err != nil {
		return answer, err
	}
	answer = reply{}
	return answer, readFrame(p.out, r.maxReply(), &answer)
}

// used returns the CPU time of a process that has ended.
func (p *process) used() time.Duration {
	if p.state == nil {
		return 0
	}
	return p.state.UserTime() + p.state.SystemTime()
}

// signal returns the signal that killed a process; 0: it exited.
func (p *process) signal() syscall.Signal {
	if status, ok := p.state.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return status.Signal()
	}
	return 0
}

// head keeps the beginning of what is written to it.
type head struct {
	mu sync.Mutex
	b  []byte
}

func (h *head) Write(b []byte) (int, error) {
	const most = 4 << 10
	h.mu.Lock()
	defer h.mu.Unlock()
	h.b = append(h.b, b[:min(len(b), most-len(h.b))]...)
	return len(b), nil
}

// line returns the first line, quoted.
func (h *head) line() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	first, _, _ := strings.Cut(string(h.b), "\n")
	return fmt.Sprintf("%.200q", first)
}

func (h *head) contains(text string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return strings.Contains(string(h.b), text)
}
