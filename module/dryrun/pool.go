package dryrun

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"
)

// pool owns the processes of a Runner, and keeps some of them idle. An idle process answers
// within a millisecond, while a new one needs some twenty to start.
type pool struct {
	command []string
	most    int // limit of idle processes
	stop    func() bool

	mu      sync.Mutex
	ended   bool
	running map[*process]bool
	idle    []*process
	group   sync.WaitGroup
}

const (
	// maxTrials is how many modules a process tries before it is replaced.
	maxTrials = 1000
	// idleTime is how long an idle process is kept.
	idleTime = time.Minute
)

var errEnded = errors.New("dry runs have ended")

// newPool returns a pool that ends all processes when ctx ends.
func newPool(ctx context.Context, command []string, most int) *pool {
	p := &pool{command: command, most: most, running: map[*process]bool{}}
	p.stop = context.AfterFunc(ctx, p.end)
	return p
}

// take returns a process to try a module in. It starts one if that is requested, or if none
// is idle.
func (p *pool) take(ctx context.Context, fresh bool) (*process, error) {
	p.mu.Lock()
	if p.ended {
		p.mu.Unlock()
		<-ctx.Done() // the caller is about to end as well
		return nil, errEnded
	}
	for !fresh && len(p.idle) > 0 {
		last := len(p.idle) - 1
		taken := p.idle[last]
		p.idle = p.idle[:last]
		taken.retire.Stop()
		if taken.alive() {
			p.mu.Unlock()
			return taken, nil
		}
	}
	p.group.Add(1)
	p.mu.Unlock()
	started, err := startProcess(p.command, p.forget)
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if started.alive() {
		p.running[started] = true
	}
	if p.ended {
		started.kill()
	}
	return started, nil
}

// forget is called when a process has ended.
func (p *pool) forget(ended *process) {
	p.mu.Lock()
	delete(p.running, ended)
	p.mu.Unlock()
	p.group.Done()
}

// hasEnded reports whether the pool has ended, so that its processes may have been killed
// because of that.
func (p *pool) hasEnded() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.ended
}

// give returns a process to the pool.
func (p *pool) give(given *process, spent bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if spent || p.ended || given.trials >= maxTrials || len(p.idle) >= p.most {
		given.end()
		return
	}
	given.retire = time.AfterFunc(idleTime, func() { p.drop(given) })
	p.idle = append(p.idle, given)
}

// drop ends a process if it is still idle.
func (p *pool) drop(old *process) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if i := slices.Index(p.idle, old); i >= 0 {
		p.idle = slices.Delete(p.idle, i, i+1)
		old.end()
	}
}

// end kills all processes.
func (p *pool) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ended = true
	for _, idle := range p.idle {
		idle.retire.Stop()
	}
	p.idle = nil
	for started := range p.running {
		started.kill()
		started.end()
	}
}

// close ends all processes and waits until they have ended.
func (p *pool) close() {
	p.stop()
	p.end()
	p.group.Wait()
}
