package envoy

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// process is a running Envoy.
type process struct {
	cmd    *exec.Cmd
	dir    string
	admin  string        // address of the admin interface
	ended  chan struct{} // closed when the process has ended
	output output
}

// Limits of what is read from an Envoy.
const (
	maxOutput = 16 << 20 // output, in bytes
	maxAdmin  = 8 << 20  // a response of the admin interface, in bytes
)

// start starts an Envoy in a folder. It is killed when ctx ends.
func start(ctx context.Context, program, dir string, config any, env []string) (*process, error) {
	file := filepath.Join(dir, "bootstrap.json")
	b, err := json.Marshal(config)
	if err == nil {
		err = os.WriteFile(file, b, 0o600)
	}
	if err != nil {
		return nil, fmt.Errorf("write Envoy's configuration: %w", err)
	}
	ctx, cancel := context.WithCancel(ctx)
	p := &process{dir: dir, ended: make(chan struct{})}
	p.output.full = cancel
	args := append([]string{"--config-path", file, "--use-dynamic-base-id", "--concurrency", "1", "--admin-address-path", p.adminFile(), "--log-level", "warning"}, LogArgs("debug")...)
	p.cmd = exec.CommandContext(ctx, program, args...)
	p.cmd.Dir = dir
	p.cmd.Env = append([]string{}, env...)            // never nil: a filter could read all variables of xds-server
	p.cmd.Stdout, p.cmd.Stderr = &p.output, &p.output // a single pipe keeps lines in order
	p.cmd.SysProcAttr = attributes()
	p.cmd.WaitDelay = time.Second
	started := make(chan error, 1)
	go func() {
		defer close(p.ended)
		defer cancel()
		// Linux kills the process when the thread that started it ends.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := p.cmd.Start()
		started <- err
		if err == nil {
			_ = p.cmd.Wait() // ProcessState has the result
		}
	}()
	if err := <-started; err != nil {
		<-p.ended
		return nil, fmt.Errorf("start Envoy: %w", err)
	}
	return p, nil
}

func (p *process) adminFile() string { return filepath.Join(p.dir, "admin") }

// kill kills the process.
func (p *process) kill() {
	_ = p.cmd.Process.Kill() // it may have ended already
	<-p.ended
}

func (p *process) alive() bool {
	select {
	case <-p.ended:
		return false
	default:
		return true
	}
}

// listening waits until the Envoy serves requests, and returns its address.
func (p *process) listening(ctx context.Context) (string, error) {
	var address string
	err := p.poll(ctx, func() error {
		b, err := os.ReadFile(p.adminFile())
		if err != nil {
			return err
		}
		p.admin = string(b)
		if _, err := p.get(ctx, "/ready"); err != nil {
			return err
		}
		if b, err = p.get(ctx, "/listeners"); err != nil {
			return err
		}
		for line := range strings.Lines(string(b)) {
			if name, at, found := strings.Cut(strings.TrimSpace(line), "::"); found && name == listenerName {
				address = at
			}
		}
		if _, port, err := net.SplitHostPort(address); err != nil || port == "0" {
			return errors.New("its listener is not bound")
		}
		return nil
	})
	return address, err
}

// poll calls a function until it succeeds.
func (p *process) poll(ctx context.Context, do func() error) error {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		err := do()
		if err == nil {
			return nil
		}
		select {
		case <-p.ended:
			return p.fate()
		case <-ctx.Done():
			return fmt.Errorf("wait for Envoy: %w (%w)", ctx.Err(), err)
		case <-tick.C:
		}
	}
}

// fate returns how the process ended.
func (p *process) fate() error {
	if p.output.over() {
		return &Ended{fmt.Sprintf("it wrote more than %d MiB of log", maxOutput>>20)}
	}
	return &Ended{p.cmd.ProcessState.String()}
}

// Ended is the error of an Envoy that ended by itself.
type Ended struct{ How string }

func (e *Ended) Error() string { return "Envoy ended: " + e.How }

// get sends a request to the admin interface.
func (p *process) get(ctx context.Context, path string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+p.admin+path, nil)
	if err != nil {
		return nil, err
	}
	req.Close = true // so that no idle connection remains
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxAdmin))
	if err == nil && resp.StatusCode != http.StatusOK {
		err = errors.New(path + ": " + strconv.Itoa(resp.StatusCode))
	}
	return b, err
}

// output is what Envoy has written, up to a limit.
type output struct {
	full func() // called when the limit is exceeded

	mu      sync.Mutex
	b       []byte
	tooMuch bool
}

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.b)+len(b) > maxOutput {
		if !o.tooMuch {
			o.tooMuch = true
			o.full()
		}
		return len(b), nil
	}
	o.b = append(o.b, b...)
	return len(b), nil
}

func (o *output) over() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.tooMuch
}

// lines returns the complete lines from a position on.
func (o *output) lines(from int) []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	to := bytes.LastIndexByte(o.b, '\n') + 1
	if to <= from {
		return nil
	}
	return slices.Collect(strings.Lines(string(o.b[from:to])))
}
