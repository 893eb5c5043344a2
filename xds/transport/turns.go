package transport

import (
	"net/netip"
	"sync"
)

// turns are a limited resource that is granted to addresses in rotation. Within an address,
// the newest request comes first: when more come than can be served, most that have waited
// long have given up, and serving them in order would serve nobody in time.
type turns struct {
	mu      sync.Mutex
	free    int
	waiting map[netip.Addr][]chan struct{}
	round   []netip.Addr // keys of waiting; the first is next
}

func newTurns(n int) *turns { return &turns{free: n, waiting: map[netip.Addr][]chan struct{}{}} }

// take waits for a turn. It returns false if closed was closed before there was one.
func (t *turns) take(addr netip.Addr, closed <-chan struct{}) bool {
	t.mu.Lock()
	if t.free > 0 {
		t.free--
		t.mu.Unlock()
		return true
	}
	mine := make(chan struct{}, 1)
	if len(t.waiting[addr]) == 0 {
		t.round = append(t.round, addr)
	}
	t.waiting[addr] = append(t.waiting[addr], mine)
	t.mu.Unlock()
	select {
	case <-mine:
		return true
	case <-closed:
	}
	t.mu.Lock()
	gone := t.forget(addr, mine)
	t.mu.Unlock()
	if !gone { // it was granted just now
		t.give()
	}
	return false
}

// give grants a turn to the next waiting request.
func (t *turns) give() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.round) == 0 {
		t.free++
		return
	}
	addr := t.round[0]
	t.round = t.round[1:]
	line := t.waiting[addr]
	next := line[len(line)-1]
	if line = line[:len(line)-1]; len(line) > 0 {
		t.waiting[addr] = line
		t.round = append(t.round, addr)
	} else {
		delete(t.waiting, addr)
	}
	next <- struct{}{}
}

// forget removes a waiting request, and reports whether it was waiting. The caller holds
// t.mu.
func (t *turns) forget(addr netip.Addr, mine chan struct{}) bool {
	line := t.waiting[addr]
	for i := range line {
		if line[i] != mine {
			continue
		}
		if line = append(line[:i], line[i+1:]...); len(line) > 0 {
			t.waiting[addr] = line
			return true
		}
		delete(t.waiting, addr)
		for i := range t.round {
			if t.round[i] == addr {
				t.round = append(t.round[:i], t.round[i+1:]...)
				break
			}
		}
		return true
	}
	return false
}
