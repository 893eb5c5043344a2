package module

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// Contents is the interface of a module.
type Contents struct {
	ABI     string   `json:"abi"` // Proxy-Wasm ABI: "0.1.0", "0.2.0" or "0.2.1"
	Exports []string `json:"exports"`
	Imports []string `json:"imports"` // "module.name"
}

// ContentError means that some content is not a module that Envoy can run. It
// describes what the content is, and what to do.
type ContentError struct {
	Message string
	Hint    string
}

func (e *ContentError) Error() string { return e.Message }

const abiPrefix = "proxy_abi_version_"

// Inspect parses the layout of a Wasm module. It checks that the module is
// complete, exports one of the Proxy-Wasm ABIs that Envoy supports, and exceeds
// no limit of V8. It doesn't validate code. Time and memory are bounded for any
// input. If the input is not such a module, Inspect returns a [*ContentError].
func Inspect(r io.ReaderAt, size int64) (*Contents, error) {
	if err := checkHeader(r, size); err != nil {
		return nil, err
	}
	var (
		c                 Contents
		functions, bodies uint32
		offset            = int64(8)
	)
	for n := 0; offset < size; n++ {
		if n == maxLayout {
			return nil, malformed("has more than %d sections", maxLayout)
		}
		id, body, err := readSection(r, offset, size)
		if err != nil {
			return nil, err
		}
		offset += int64(body.start) + int64(body.size)
		if err := checkLimits(r, id, body); err != nil {
			return nil, err
		}
		switch id {
		case sectionFunction, sectionCode, sectionImport, sectionExport:
			in, err := body.open(r, id)
			if err != nil {
				return nil, err
			}
			switch id {
			case sectionFunction:
				functions = in.u32()
			case sectionCode:
				bodies = in.u32()
			case sectionImport:
				c.Imports = in.imports()
			case sectionExport:
				c.Exports = in.exports()
			}
			if in.err != nil {
				return nil, malformed("section %d at byte %d: %v", id, offset-int64(body.size), in.err)
			}
		}
	}
	if functions != bodies {
		return nil, &ContentError{
			Message: fmt.Sprintf("is a truncated Wasm module: %d functions, %d of them with code", functions, bodies),
			Hint:    "it may have been copied while it was written",
		}
	}
	return c.withABI()
}

// withABI sets the ABI by the export that Envoy recognizes it by.
func (c *Contents) withABI() (*Contents, error) {
	var unknown string
	for _, name := range c.Exports {
		v, found := strings.CutPrefix(name, abiPrefix)
		if !found {
			continue
		}
		switch v = strings.ReplaceAll(v, "_", "."); v {
		case "0.1.0", "0.2.0", "0.2.1":
			c.ABI = v
			return c, nil
		}
		if unknown = v; strings.Trim(v, ".0123456789") != "" || len(v) > 20 {
			unknown = "of another kind"
		}
	}
	if unknown != "" {
		return nil, &ContentError{
			Message: fmt.Sprintf("is a Wasm module for Proxy-Wasm ABI %s, which Envoy doesn't know", unknown),
			Hint:    "build it for ABI 0.2.1 (Envoy also knows 0.1.0 and 0.2.0)",
		}
	}
	return nil, &ContentError{
		Message: "is a Wasm module without the Proxy-Wasm ABI: it exports no " + abiPrefix + "*",
		Hint:    "build it with a Proxy-Wasm SDK; a program for WASI alone is no Envoy filter",
	}
}

// checkHeader checks magic and version, and reports what the content is
// instead.
func checkHeader(r io.ReaderAt, size int64) error {
	head := make([]byte, min(size, 512))
	if n, err := r.ReadAt(head, 0); n < len(head) {
		return fmt.Errorf("read module: %w", err)
	}
	if size == 0 {
		return &ContentError{Message: "is empty", Hint: "another process may still be writing it"}
	}
	if !bytes.HasPrefix(head, []byte("\x00asm")) {
		if bytes.HasPrefix([]byte("\x00asm"), head) {
			return truncated(size)
		}
		return misnomer(head)
	}
	if size < 8 {
		return truncated(size)
	}
	version, layer := binary.LittleEndian.Uint16(head[4:]), binary.LittleEndian.Uint16(head[6:])
	switch {
	case version == 1 && layer == 0:
		return nil
	case layer == 1:
		return &ContentError{
			Message: "is a WebAssembly component; Envoy runs core modules",
			Hint:    "build for wasm32-wasip1 (not wasip2) with a Proxy-Wasm SDK",
		}
	}
	return &ContentError{Message: fmt.Sprintf("is WebAssembly of version %d, layer %d; Envoy runs version 1, layer 0", version, layer)}
}

func truncated(size int64) error {
	return &ContentError{
		Message: fmt.Sprintf("is a truncated Wasm module: it ends at byte %d", size),
		Hint:    "it may have been copied while it was written",
	}
}

func malformed(format string, args ...any) error {
	return &ContentError{Message: "is a malformed Wasm module: " + fmt.Sprintf(format, args...)}
}

// misnomer returns an error that describes content other than Wasm without
// revealing any of it: the author of a definition may not be allowed to read
// what a URL or path refers to.
func misnomer(head []byte) error {
	text := strings.ToLower(strings.TrimLeft(strings.TrimPrefix(string(head), "\ufeff"), " \t\r\n"))
	starts := func(prefixes ...string) bool {
		for _, p := range prefixes {
			if bytes.HasPrefix(head, []byte(p)) || strings.HasPrefix(text, p) {
				return true
			}
		}
		return false
	}
	is := func(what, hint string) error {
		return &ContentError{Message: "is " + what + ", not a Wasm module", Hint: hint}
	}
	switch {
	case starts("\x1f\x8b"):
		return is("gzip-compressed", "unpack it first; an OCI image has the scheme oci://")
	case starts("\x28\xb5\x2f\xfd", "\xfd7zXZ", "BZh"):
		return is("compressed", "unpack it first")
	case starts("PK\x03\x04"):
		return is("a zip archive", "unpack it first")
	case len(head) > 262 && string(head[257:262]) == "ustar":
		return is("a tar archive", "unpack it first; an OCI image has the scheme oci://")
	case starts("\x7fELF"):
		return is("an ELF object or program", "compile for wasm32-wasip1")
	case starts("<!doctype html", "<html", "<head", "<body"):
		return is("an HTML page", "open the URL in a browser: it may be a log-in or error page")
	case starts("version https://git-lfs"):
		return is("a Git LFS pointer", "run git lfs pull")
	case starts("(module"):
		return is("WebAssembly text", "compile it with wat2wasm")
	case starts("<"):
		return is("XML", "the origin may answer errors with status 200")
	case starts("{", "["):
		return is("JSON", "the origin may answer errors with status 200")
	case utf8.Valid(head) && !bytes.ContainsRune(head, 0):
		return is("text", "")
	}
	return is("something else", "")
}
