package module

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"wasmxds/definition"
)

func TestInspect(t *testing.T) {
	whole := filter("x")
	tests := map[string]struct {
		content string
		abi     string
		err     string // contained
	}{
		"0.2.1":            {content: string(whole), abi: "0.2.1"},
		"0.2.0":            {content: string(wasm("", "proxy_abi_version_0_2_0")), abi: "0.2.0"},
		"0.1.0":            {content: string(wasm("", "a", "proxy_abi_version_0_1_0")), abi: "0.1.0"},
		"empty":            {content: "", err: "is empty"},
		"magic in half":    {content: "\x00as", err: "truncated Wasm module: it ends at byte 3"},
		"no version":       {content: "\x00asm\x01", err: "truncated"},
		"header only":      {content: "\x00asm\x01\x00\x00\x00", err: "without the Proxy-Wasm ABI"},
		"component":        {content: "\x00asm\x0d\x00\x01\x00", err: "is a WebAssembly component"},
		"version 2":        {content: "\x00asm\x02\x00\x00\x00", err: "version 2"},
		"truncated":        {content: string(whole[:len(whole)-2]), err: "truncated"},
		"without its code": {content: string(whole[:bytes.LastIndexByte(whole, 10)]), err: "truncated Wasm module: 2 functions, 0 of them with code"},
		"core module":      {content: string(wasm("", "_start", "memory")), err: "without the Proxy-Wasm ABI"},
		"future ABI":       {content: string(wasm("", "proxy_abi_version_0_3_0")), err: "ABI 0.3.0, which Envoy doesn't know"},
		"HTML":             {content: "\n<!DOCTYPE html><html>", err: "is an HTML page"},
		"XML":              {content: "<?xml version='1.0'?><Error/>", err: "is XML"},
		"JSON":             {content: `{"message":"not found"}`, err: "is JSON"},
		"gzip":             {content: "\x1f\x8b\x08\x00", err: "is gzip-compressed"},
		"zip":              {content: "PK\x03\x04....", err: "is a zip archive"},
		"tar":              {content: strings.Repeat("\x00", 257) + "ustar\x0000", err: "is a tar archive"},
		"ELF":              {content: "\x7fELF\x02\x01", err: "is an ELF"},
		"LFS":              {content: "version https://git-lfs.github.com/spec/v1\n", err: "is a Git LFS pointer"},
		"text format":      {content: "(module)", err: "is WebAssembly text"},
		"text":             {content: "Not found\n", err: "is text, not a Wasm module"},
		"other bytes":      {content: "\x80\x00\x01\x02\x03", err: "is something else, not a Wasm module"},
		"unknown section":  {content: "\x00asm\x01\x00\x00\x00\x0e\x00", err: "unknown section 14 at byte 8"},
		"endless number":   {content: "\x00asm\x01\x00\x00\x00\x07\xff\xff\xff\xff\xff\xff", err: "number too long"},
		"many exports":     {content: "\x00asm\x01\x00\x00\x00\x07\x05\xff\xff\xff\xff\x0f", err: "entries"},
		"name too long":    {content: "\x00asm\x01\x00\x00\x00\x07\x03\x01\x7fa", err: "section 7 at byte 10: unexpected EOF"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			c, err := Inspect(strings.NewReader(test.content), int64(len(test.content)))
			if test.err != "" {
				if _, ok := errors.AsType[*ContentError](err); !ok || !strings.Contains(err.Error(), test.err) {
					t.Fatalf("got error %v, want a ContentError with %q", err, test.err)
				}
				return
			}
			if err != nil || c.ABI != test.abi {
				t.Fatalf("got %+v, %v, want ABI %s", c, err, test.abi)
			}
		})
	}
}

func TestInspectNames(t *testing.T) {
	imports := []byte("\x03" +
		"\x03env\x09proxy_log\x00\x01" + // function
		"\x03env\x06memory\x02\x01\x01\x10" + // memory with a maximum
		"\x01g\x01x\x03\x7f\x00") // global
	b := []byte("\x00asm\x01\x00\x00\x00\x02")
	b = append(append(b, byte(len(imports))), imports...)
	b = append(b, wasm("", "proxy_abi_version_0_2_0", "memory", "proxy_on_configure")[8:]...)
	got, err := Inspect(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	want := &Contents{
		ABI:     "0.2.0",
		Exports: []string{"proxy_abi_version_0_2_0", "memory", "proxy_on_configure"},
		Imports: []string{"env.proxy_log", "env.memory", "g.x"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func FuzzInspect(f *testing.F) {
	f.Add(filter("x"))
	f.Add([]byte("\x00asm\x0d\x00\x01\x00"))
	f.Add([]byte("<html>"))
	f.Add([]byte("\x00asm\x01\x00\x00\x00\x02\x0f\x01\x03env\x06memory\x02\x01\x01\x10"))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := Inspect(bytes.NewReader(b), int64(len(b)))
		if err != nil {
			if _, ok := errors.AsType[*ContentError](err); !ok {
				t.Fatalf("no ContentError: %v", err)
			}
			return
		}
		if !strings.HasPrefix(c.ABI, "0.") || len(c.Exports) > maxNames || len(c.Imports) > maxNames {
			t.Fatalf("%+v", c)
		}
		if n := len(c.Wants().All()); n > len(definition.HostCalls)+len(definition.WASICalls)+len(definition.Callbacks) {
			t.Fatalf("it wants %d things", n)
		}
	})
}
