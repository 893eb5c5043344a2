package dryrun

import (
	"bytes"

	"github.com/tetratelabs/wazero/api"
)

// shared is what modules with the same VM id share. Here, one module has it for itself.
type shared struct {
	size   int // size of keys, values and names of metrics, in bytes
	data   map[string]datum
	cas    uint32 // CAS number of the last change
	queues []queue
}

type datum struct {
	value []byte
	cas   uint32
}

type queue struct {
	name  string
	items [][]byte
}

const (
	maxShared  = 16 << 20 // bytes
	maxEntries = 10_000
)

// room reports whether there is room for n more bytes.
func (h *host) room(n int) bool { return h.shared.room(n) }

func (s *shared) room(n int) bool {
	if s.size+n > maxShared {
		return false
	}
	s.size += n
	return true
}

// set stores a value. It counts only the growth over the value that it replaces.
func (s *shared) set(key string, value []byte, cas uint32) status {
	d, there := s.data[key]
	if there && cas != 0 && cas != d.cas {
		return casMismatch
	}
	more := len(value) - len(d.value)
	if !there {
		more += len(key)
	}
	if !there && len(s.data) >= maxEntries || !s.room(more) {
		return internalFailure
	}
	if s.data == nil {
		s.data = map[string]datum{}
	}
	s.cas++
	s.data[key] = datum{bytes.Clone(value), s.cas}
	return ok
}

func (h *host) getSharedData(m api.Module, a args) status {
	key, found := in(m, a.u32(0), a.u32(1))
	if !found {
		return invalidMemory
	}
	d, found := h.shared.data[string(key)]
	if !found {
		return notFound
	}
	if s := h.out(m, d.value, a.u32(2), a.u32(3)); s != ok {
		return s
	}
	return wrote(put32(m, a.u32(4), d.cas))
}

func (h *host) setSharedData(m api.Module, a args) status {
	key, hasKey := in(m, a.u32(0), a.u32(1))
	value, hasValue := in(m, a.u32(2), a.u32(3))
	if !hasKey || !hasValue {
		return invalidMemory
	}
	return h.shared.set(string(key), value, a.u32(4))
}

func (h *host) registerQueue(m api.Module, a args) status {
	name, found := in(m, a.u32(0), a.u32(1))
	if !found {
		return invalidMemory
	}
	token := h.queue(string(name))
	if token == 0 {
		if !h.room(len(name)) || len(h.shared.queues) >= maxEntries {
			return internalFailure
		}
		h.shared.queues = append(h.shared.queues, queue{name: string(name)})
		token = uint32(len(h.shared.queues))
	}
	return wrote(put32(m, a.u32(2), token))
}

// queue returns the token of a queue; 0: there is no queue with that name.
func (h *host) queue(name string) uint32 {
	for i, q := range h.shared.queues {
		if q.name == name {
			return uint32(i + 1)
		}
	}
	return 0
}

func (h *host) resolveQueue(m api.Module, a args) status {
	vmID, hasID := in(m, a.u32(0), a.u32(1))
	name, hasName := in(m, a.u32(2), a.u32(3))
	if !hasID || !hasName {
		return invalidMemory
	}
	if id := string(vmID); id != "" && id != h.vm.VMID {
		h.unserved("queue of VM " + id)
		return notFound
	}
	token := h.queue(string(name))
	if token == 0 {
		h.unserved("queue " + string(name)) // another plugin of the VM may have created it
		return notFound
	}
	return wrote(put32(m, a.u32(4), token))
}

func (h *host) enqueue(m api.Module, a args) status {
	item, found := in(m, a.u32(1), a.u32(2))
	token := a.u32(0)
	switch {
	case !found:
		return invalidMemory
	case token == 0 || int(token) > len(h.shared.queues):
		return notFound
	case !h.room(len(item)) || len(h.shared.queues[token-1].items) >= maxEntries:
		return internalFailure
	}
	q := &h.shared.queues[token-1]
	q.items = append(q.items, bytes.Clone(item))
	h.afterTime(0, func() { h.callRoot("proxy_on_queue_ready", uint64(token)) })
	return ok
}

func (h *host) dequeue(m api.Module, a args) status {
	token := a.u32(0)
	if token == 0 || int(token) > len(h.shared.queues) {
		return notFound
	}
	q := &h.shared.queues[token-1]
	if len(q.items) == 0 {
		return empty
	}
	item := q.items[0]
	q.items = q.items[1:]
	h.shared.size -= len(item)
	return h.out(m, item, a.u32(1), a.u32(2))
}
