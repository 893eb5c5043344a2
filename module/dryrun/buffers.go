package dryrun

import (
	"fmt"

	"github.com/tetratelabs/wazero/api"

	"wasmxds/module/dryrun/abi"
	"wasmxds/module/dryrun/stream"
)

// maxBody is the largest body that a module may create, in bytes.
const maxBody = 32 << 20

// buffer returns the content of a buffer. The module may change it if mutable is not nil.
func (h *host) buffer(number uint32) (b []byte, mutable *stream.Buffer, s status) {
	if number > uint32(abi.LastBuffer) {
		return nil, nil, badArgument
	}
	switch abi.Buffer(number) {
	case abi.VMConfig:
		return h.vm.vmConfig, nil, ok
	case abi.PluginConfig:
		if h.plugin {
			return h.vm.config, nil, ok
		}
		return nil, nil, notFound
	case abi.CallBody:
		if !h.callouts.now.http {
			return nil, nil, notFound
		}
		return h.callouts.now.body, nil, ok
	case abi.GRPCMessage:
		mutable = h.callouts.now.message
	case abi.RequestBody, abi.ResponseBody:
		if s := h.scope().stream; s != nil {
			mutable = s.Body(abi.Buffer(number))
		}
	case abi.DownstreamData, abi.UpstreamData:
		if s := h.scope().tcp; s != nil {
			mutable = s.Data(abi.Buffer(number))
		}
	}
	return mutable.Bytes(), mutable, ok // a buffer that does not exist is empty
}

func (h *host) getBufferBytes(m api.Module, a args) status {
	b, _, s := h.buffer(a.u32(0))
	if s != ok {
		return s
	}
	start, length := uint64(a.u32(1)), uint64(a.u32(2))
	start = min(start, uint64(len(b)))
	length = min(length, uint64(len(b))-start)
	return h.out(m, b[start:start+length], a.u32(3), a.u32(4))
}

func (h *host) getBufferStatus(m api.Module, a args) status {
	b, _, s := h.buffer(a.u32(0))
	if s != ok {
		return s
	}
	return wrote(put32(m, a.u32(1), uint32(len(b))) && put32(m, a.u32(2), 0))
}

func (h *host) setBufferBytes(m api.Module, a args) status {
	b, mutable, s := h.buffer(a.u32(0))
	if s != ok {
		return s
	}
	data, found := in(m, a.u32(3), a.u32(4))
	if !found {
		return invalidMemory
	}
	if len(b)+len(data) > maxBody {
		panic(&excess{fmt.Sprintf("a body of more than %d MiB", maxBody>>20)})
	}
	h.spend(len(data))
	return mutable.Set(a.u32(1), a.u32(2), data)
}

func (h *host) getConfiguration(m api.Module, a args) status {
	b := h.vm.vmConfig
	if h.plugin {
		b = h.vm.config
	}
	return h.out(m, b, a.u32(0), a.u32(1))
}
