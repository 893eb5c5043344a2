package dryrun

import (
	"crypto/rand"
	"encoding/binary"
	"maps"
	"slices"
	"strings"

	"github.com/tetratelabs/wazero/api"
)

// errno is a result of WASI (snapshot preview 1).
type errno uint32

const (
	success       errno = 0
	badFile       errno = 8
	fault         errno = 21
	invalid       errno = 28
	noEntry       errno = 44
	notSupported  errno = 52 // ENOSYS
	notADirectory errno = 20
	noOperation   errno = 58 // ENOTSUP
)

// wasiCalls are the functions of WASI as Envoy implements them: there are no files and no
// sockets, and output is logged.
func wasiCalls(module string) []function {
	call := func(called, params string, do func(*host, api.Module, args) errno) function {
		return function{module: module, name: called, params: params, early: true, do: func(h *host, m api.Module, a args) uint32 {
			return uint32(do(h, m, a))
		}}
	}
	late := func(f function) function { f.early = false; return f }
	fixed := func(e errno) func(*host, api.Module, args) errno {
		return func(*host, api.Module, args) errno { return e }
	}
	output := func(_ *host, _ api.Module, a args) errno { return outputOnly(a) }
	exit := late(call("proc_exit", "i", func(h *host, _ api.Module, a args) errno {
		h.write(warning, "proc_exit was called") // Envoy ignores it
		return success
	}))
	exit.void = true
	return []function{
		call("fd_write", "iiii", (*host).fdWrite),
		call("environ_get", "ii", (*host).environGet),
		call("environ_sizes_get", "ii", (*host).environSizesGet),
		call("args_get", "ii", fixed(success)),
		call("args_sizes_get", "ii", func(_ *host, m api.Module, a args) errno {
			return stored(put32(m, a.u32(0), 0) && put32(m, a.u32(1), 0))
		}),
		call("clock_time_get", "iIi", clockTime),
		call("clock_res_get", "ii", clockResolution),
		call("random_get", "ii", randomGet),
		call("poll_oneoff", "iiii", func(_ *host, m api.Module, a args) errno { return stored(put32(m, a.u32(3), 0)) }),
		late(call("sched_yield", "", fixed(success))),
		exit,

		call("fd_fdstat_get", "ii", fdStat),
		call("fd_fdstat_set_flags", "ii", fixed(notSupported)),
		call("fd_fdstat_set_rights", "iII", output),
		call("fd_prestat_get", "ii", fixed(badFile)),
		call("fd_prestat_dir_name", "iii", fixed(notSupported)),
		call("fd_filestat_get", "ii", fixed(badFile)),
		call("fd_filestat_set_size", "iI", output),
		call("fd_filestat_set_times", "iIIi", output),
		call("fd_advise", "iIIi", fixed(success)),
		call("fd_allocate", "iII", output),
		call("fd_datasync", "i", output),
		call("fd_sync", "i", output),
		late(call("fd_read", "iiii", fixed(notSupported))),
		late(call("fd_seek", "iIii", fixed(success))),
		late(call("fd_close", "i", fixed(success))),
		call("fd_pread", "iiiIi", fixed(notSupported)),
		call("fd_pwrite", "iiiIi", func(h *host, m api.Module, a args) errno {
			return h.fdWrite(m, args{a[0], a[1], a[2], a[4]})
		}),
		call("fd_readdir", "iiiIi", fixed(notADirectory)),
		call("fd_renumber", "ii", func(_ *host, _ api.Module, a args) errno {
			return max(outputOnly(a), noOperation)
		}),
		call("fd_tell", "ii", func(_ *host, m api.Module, a args) errno {
			if e := outputOnly(a); e != success {
				return e
			}
			return stored(put64(m, a.u32(1), 0))
		}),

		late(call("path_open", "iiiiiIIii", fixed(noEntry))),
		call("path_filestat_get", "iiiii", fixed(noOperation)),
		call("path_filestat_set_times", "iiiiIIi", fixed(noOperation)),
		call("path_create_directory", "iii", fixed(noOperation)),
		call("path_remove_directory", "iii", fixed(noOperation)),
		call("path_unlink_file", "iii", fixed(noOperation)),
		call("path_link", "iiiiii", fixed(noOperation)),
		call("path_readlink", "iiiiii", fixed(noOperation)),
		call("path_rename", "iiiiii", fixed(noOperation)),
		call("path_symlink", "iiii", fixed(noOperation)),
		call("sock_accept", "iii", fixed(noOperation)),
		call("sock_recv", "iiiiii", fixed(noOperation)),
		call("sock_send", "iiiii", fixed(noOperation)),
		call("sock_shutdown", "ii", fixed(noOperation)),
	}
}

func stored(done bool) errno {
	if !done {
		return fault
	}
	return success
}

// outputOnly reports whether the first argument is stdout or stderr.
func outputOnly(a args) errno {
	if fd := a.u32(0); fd != 1 && fd != 2 {
		return badFile
	}
	return success
}

// fdWrite logs: stdout as info, stderr as error.
func (h *host) fdWrite(m api.Module, a args) errno {
	if e := outputOnly(a); e != success {
		return e
	}
	const maxText, maxVectors = 64 << 10, 1024
	var text strings.Builder
	var written uint32
	for i := range min(a.u32(2), maxVectors) {
		vector, found := in(m, a.u32(1)+i*8, 8)
		if !found {
			return fault
		}
		part, found := in(m, binary.LittleEndian.Uint32(vector), binary.LittleEndian.Uint32(vector[4:]))
		if !found {
			return fault
		}
		written += uint32(len(part))
		text.Write(part[:min(len(part), maxText-min(text.Len(), maxText))])
	}
	h.writeOutput(a.u32(0) == 2, text.String())
	return stored(put32(m, a.u32(3), written))
}

func (h *host) environ() (entries []string, size uint32) {
	for _, name := range slices.Sorted(maps.Keys(h.vm.Env)) {
		entry := name + "=" + string(h.vm.Env[name]) + "\x00"
		entries = append(entries, entry)
		size += uint32(len(entry))
	}
	return entries, size
}

func (h *host) environGet(m api.Module, a args) errno {
	entries, _ := h.environ()
	pointers, buffer := a.u32(0), a.u32(1)
	for _, entry := range entries {
		if !put32(m, pointers, buffer) || !m.Memory().WriteString(buffer, entry) {
			return fault
		}
		pointers += 4
		buffer += uint32(len(entry))
	}
	return success
}

func (h *host) environSizesGet(m api.Module, a args) errno {
	entries, size := h.environ()
	return stored(put32(m, a.u32(0), uint32(len(entries))) && put32(m, a.u32(1), size))
}

const (
	realtime  = 0
	monotonic = 1
)

func clockTime(h *host, m api.Module, a args) errno {
	if a.u32(0) > monotonic {
		return noOperation
	}
	return stored(put64(m, a.u32(2), uint64(h.now().UnixNano())))
}

func clockResolution(_ *host, m api.Module, a args) errno {
	if a.u32(0) > monotonic {
		return noOperation
	}
	return stored(put64(m, a.u32(1), 1))
}

func randomGet(_ *host, m api.Module, a args) errno {
	const limit = 64 << 10
	if a.u32(1) > limit {
		return invalid
	}
	b, found := in(m, a.u32(0), a.u32(1))
	if !found {
		return fault
	}
	rand.Read(b)
	return success
}

func fdStat(_ *host, m api.Module, a args) errno {
	if e := outputOnly(a); e != success {
		return e
	}
	const mayWrite = 64
	at := a.u32(1)
	return stored(put64(m, at, 0) && put64(m, at+8, mayWrite) && put64(m, at+16, 0))
}
