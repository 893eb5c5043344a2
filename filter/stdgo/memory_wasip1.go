//go:build !tinygo

package stdgo

import "unsafe"

// handedOut holds the memory that the host asked for and that no Go pointer
// refers to yet: the host writes into it, then returns its address as a
// number, which the collector doesn't follow. It is a variable because an
// exported function has no receiver; a Wasm VM runs one call at a time.
var handedOut [][]byte

// allocate gives the host size bytes (at least one: it takes address 0 for
// "no memory").
//
//go:wasmexport proxy_on_memory_allocate
func allocate(size uint32) uint32 {
	memory := make([]byte, max(size, 1))
	handedOut = append(handedOut, memory)
	return uint32(uintptr(unsafe.Pointer(&memory[0])))
}

// returned is what the host fills in where it returns bytes. Pointers are 8
// bytes wide in Go's wasm and 4 bytes in the ABI, so that the SDK's own
// variables can't be handed to it. It lives on the heap: a stack may move
// while the host calls back.
type returned struct {
	data uint32
	size uint32
}

// take turns what the host returned into Go's own pointer and size. From then
// on the caller owns the memory.
func (r *returned) take(data **byte, size *int) {
	for i, memory := range handedOut {
		if at := &memory[0]; uint32(uintptr(unsafe.Pointer(at))) == r.data {
			*data, *size = at, int(r.size)
			last := len(handedOut) - 1
			handedOut[i], handedOut[last] = handedOut[last], nil
			handedOut = handedOut[:last]
			return
		}
	}
	// The host returns no memory for nothing: an empty body, an empty value.
	*data, *size = nil, 0
}
