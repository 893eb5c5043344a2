// Package steadyclock puts the steady clock of a process ahead while it runs, so that what
// Envoy does after a day can be tested in seconds.
//
// [New] writes a shared library for LD_PRELOAD with a clock_gettime of its own. It needs no
// compiler: the library is a few bytes of code and the tables by which the dynamic linker finds
// them. The library reads the offset from its own file, which the process has mapped, so a
// write to that file takes effect at once. Timers that the kernel keeps, and the coarse
// clock of event loops, are not changed.
package steadyclock

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"fmt"
	"os"
	"runtime"
	"time"
)

// Clock is the steady clock of the processes that were started with its Env.
type Clock struct {
	path  string
	ahead time.Duration
}

// New writes the library to a file.
func New(path string) (*Clock, error) {
	b, err := library(runtime.GOARCH)
	if err != nil {
		return nil, err
	}
	return &Clock{path: path}, os.WriteFile(path, b, 0o755)
}

// Env is what a process is started with.
func (c *Clock) Env() string { return "LD_PRELOAD=" + c.path }

// Advance puts the clock ahead by whole seconds.
func (c *Clock) Advance(d time.Duration) error {
	file, err := os.OpenFile(c.path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer file.Close()
	c.ahead += d
	if _, err := file.WriteAt(binary.LittleEndian.AppendUint64(nil, uint64(c.ahead/time.Second)), offsetAt); err != nil {
		return err
	}
	return file.Close()
}

// machine is a processor's clock_gettime: it makes the system call and, if the clock is
// CLOCK_MONOTONIC, adds the eight bytes at offsetAt to the seconds. It has no relocations.
type machine struct {
	elf  elf.Machine
	code []byte // at codeAt
}

func machineOf(arch string) (machine, error) {
	switch arch {
	case "amd64":
		return machine{elf.EM_X86_64, []byte{
			0xb8, 0xe4, 0x00, 0x00, 0x00, //             mov eax, 228
			0x0f, 0x05, //                               syscall
			0x83, 0xff, 0x01, //                         cmp edi, CLOCK_MONOTONIC
			0x75, 0x0a, //                               jne end
			0x48, 0x8b, 0x0d, 0x2d, 0x00, 0x00, 0x00, // mov rcx, [offsetAt]
			0x48, 0x01, 0x0e, //                         add [rsi], rcx
			0xc3, //                                     end: ret
		}}, nil
	case "arm64":
		var code []byte
		for _, instruction := range []uint32{
			0x2a0003e2, // mov w2, w0
			0xd2800e28, // mov x8, #113
			0xd4000001, // svc #0
			0x7100045f, // cmp w2, #CLOCK_MONOTONIC
			0x540000a1, // b.ne end
			0x58000163, // ldr x3, offsetAt
			0xf9400024, // ldr x4, [x1]
			0x8b030084, // add x4, x4, x3
			0xf9000024, // str x4, [x1]
			0xd65f03c0, // end: ret
		} {
			code = binary.LittleEndian.AppendUint32(code, instruction)
		}
		return machine{elf.EM_AARCH64, code}, nil
	}
	return machine{}, fmt.Errorf("no clock_gettime for %s is written here", arch)
}

// Where the parts are in the file. The file is mapped at 0, and once more at writable,
// because older dynamic linkers write into their tables.
const (
	headersAt = 64 // of the program: four of 56 bytes
	codeAt    = 0x140
	offsetAt  = 0x180
	symbolsAt = 0x1c0 // none, and clock_gettime: two of 24 bytes
	namesAt   = 0x1f0
	hashAt    = 0x200 // a table of one bucket
	dynamicAt = 0x220 // six entries of 16 bytes
	size      = 0x280
	writable  = 0x10000
)

const names = "\x00clock_gettime\x00"

// library is the content of the file.
func library(arch string) ([]byte, error) {
	m, err := machineOf(arch)
	if err != nil {
		return nil, err
	}
	file := make([]byte, size)
	put := func(at int, parts ...any) {
		var b bytes.Buffer
		for _, part := range parts {
			_ = binary.Write(&b, binary.LittleEndian, part) // can't fail: they are of fixed size
		}
		copy(file[at:], b.Bytes())
	}
	header := elf.Header64{Type: uint16(elf.ET_DYN), Machine: uint16(m.elf), Version: uint32(elf.EV_CURRENT),
		Phoff: headersAt, Ehsize: headersAt, Phentsize: 56, Phnum: 4}
	copy(header.Ident[:], elf.ELFMAG)
	header.Ident[elf.EI_CLASS], header.Ident[elf.EI_DATA], header.Ident[elf.EI_VERSION] = byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), byte(elf.EV_CURRENT)
	put(0, header)
	all := elf.Prog64{Type: uint32(elf.PT_LOAD), Flags: uint32(elf.PF_R | elf.PF_X), Filesz: size, Memsz: size, Align: writable}
	again := all
	again.Flags, again.Vaddr, again.Paddr = uint32(elf.PF_R|elf.PF_W), writable, writable
	put(headersAt, all, again,
		elf.Prog64{Type: uint32(elf.PT_DYNAMIC), Flags: uint32(elf.PF_R | elf.PF_W), Off: dynamicAt,
			Vaddr: writable + dynamicAt, Paddr: writable + dynamicAt, Filesz: 6 * 16, Memsz: 6 * 16, Align: 8},
		elf.Prog64{Type: uint32(elf.PT_GNU_STACK), Flags: uint32(elf.PF_R | elf.PF_W), Align: 16})
	put(codeAt, m.code)
	put(symbolsAt, elf.Sym64{}, elf.Sym64{Name: 1, Info: byte(elf.STB_GLOBAL)<<4 | byte(elf.STT_FUNC), Shndx: 1, Value: codeAt, Size: uint64(len(m.code))})
	put(namesAt, []byte(names))
	put(hashAt, []uint32{1, 2, 1, 0, 0}) // buckets, symbols; the bucket's first; what follows each symbol
	put(dynamicAt,
		elf.Dyn64{Tag: int64(elf.DT_HASH), Val: hashAt},
		elf.Dyn64{Tag: int64(elf.DT_STRTAB), Val: namesAt},
		elf.Dyn64{Tag: int64(elf.DT_STRSZ), Val: uint64(len(names))},
		elf.Dyn64{Tag: int64(elf.DT_SYMTAB), Val: symbolsAt},
		elf.Dyn64{Tag: int64(elf.DT_SYMENT), Val: 24},
		elf.Dyn64{Tag: int64(elf.DT_NULL)})
	return file, nil
}
