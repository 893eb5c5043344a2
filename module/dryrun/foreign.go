package dryrun

import (
	"bytes"
	"compress/zlib"
	"errors"
	"io"
	"slices"

	"github.com/tetratelabs/wazero/api"
	"google.golang.org/protobuf/encoding/protowire"

	"wasmxds/module/dryrun/abi"
)

// foreign are the functions that Envoy offers to modules by name, in addition to the ABI.
var foreign = map[string]func(h *host, arguments []byte) (result []byte, s status){
	"compress":               compress,
	"uncompress":             uncompress,
	"declare_property":       declareProperty,
	"set_envoy_filter_state": setFilterState,
	"verify_signature":       verifySignature,
	"sign":                   sign,
	"clear_route_cache":      func(*host, []byte) ([]byte, status) { return nil, ok },
	"expr_create":            createExpression,
	"expr_evaluate":          evaluateExpression,
	"expr_delete":            deleteExpression,
}

func (h *host) callForeignFunction(m api.Module, a args) status {
	name, hasName := in(m, a.u32(0), a.u32(1))
	arguments, hasArguments := in(m, a.u32(2), a.u32(3))
	if !hasName || !hasArguments {
		return invalidMemory
	}
	call := foreign[string(name)]
	if call == nil {
		return notFound
	}
	result, s := call(h, slices.Clone(arguments))
	var address uint32
	if a.u32(4) != 0 {
		if len(result) > 0 {
			var found bool
			if address, found = h.allocate(m, result); !found {
				return invalidMemory
			}
		}
		if !put32(m, a.u32(4), address) {
			return invalidMemory
		}
	}
	if a.u32(5) != 0 && !put32(m, a.u32(5), uint32(len(result))) {
		return invalidMemory
	}
	return s
}

func compress(_ *host, arguments []byte) ([]byte, status) {
	var out bytes.Buffer
	w := zlib.NewWriter(&out)
	if _, err := w.Write(arguments); err != nil || w.Close() != nil {
		return nil, abi.SerializationFailure
	}
	return out.Bytes(), ok
}

func uncompress(_ *host, arguments []byte) ([]byte, status) {
	r, err := zlib.NewReader(bytes.NewReader(arguments))
	if err != nil {
		return nil, abi.SerializationFailure
	}
	defer r.Close()
	out, err := io.ReadAll(io.LimitReader(r, maxBody+1))
	if err != nil {
		return nil, abi.SerializationFailure
	}
	if len(out) > maxBody {
		panic(&excess{"uncompress gives more than 32 MiB"})
	}
	return out, ok
}

// The life span of a property does not matter for a single stream.
const (
	propertyName     = 1
	propertyReadonly = 2
	propertyType     = 3
	typeText         = 1 // text; all others are bytes, or need an Envoy to be read
	statePath        = 1
	stateValue       = 2
)

// declareProperty declares the type of a property that the module sets, and whether it may
// be set more than once.
func declareProperty(h *host, arguments []byte) ([]byte, status) {
	m, err := fields(arguments)
	name := string(m.bytes[propertyName])
	if err != nil || h.declared[name] {
		return nil, badArgument
	}
	if !h.room(len(name)) || len(h.declared) >= maxEntries {
		return nil, internalFailure
	}
	if h.declared == nil {
		h.declared, h.readonly, h.textual = map[string]bool{}, map[string]bool{}, map[string]bool{}
	}
	h.declared[name] = true
	if s := h.running; s == nil || s.stream == nil && s.tcp == nil { // Envoy ignores declarations for streams
		h.readonly[name], h.textual[name] = m.numbers[propertyReadonly] != 0, m.numbers[propertyType] == typeText
	}
	return nil, ok
}

// setFilterState depends on the factories that an Envoy has for its keys.
func setFilterState(h *host, arguments []byte) ([]byte, status) {
	m, err := fields(arguments)
	if err != nil {
		return nil, badArgument
	}
	key := string(m.bytes[statePath])
	if !slices.Contains(filterStates, key) {
		return nil, notFound
	}
	s := h.scope()
	if s.stream == nil && s.tcp == nil || !h.room(len(key)+len(m.bytes[stateValue])) {
		return nil, notFound
	}
	if s.states == nil {
		s.states = map[string][]byte{}
	}
	s.states[key] = m.bytes[stateValue]
	return nil, ok
}

// filterStates are the keys for which Envoy creates objects from plain text.
var filterStates = []string{
	"envoy.hashable_string", "envoy.string", "envoy.network.application_protocols", "envoy.network.upstream_server_name",
	"envoy.network.upstream_subject_alt_names", "envoy.tcp_proxy.cluster", "envoy.upstream.dynamic_host", "envoy.upstream.dynamic_port",
}

// message contains the fields of a message by number. Of repeated fields, it has the last.
type message struct {
	numbers map[protowire.Number]uint64
	bytes   map[protowire.Number][]byte
}

// fields decodes a message, of which only numbers and bytes are needed.
func fields(b []byte) (message, error) {
	m := message{map[protowire.Number]uint64{}, map[protowire.Number][]byte{}}
	for len(b) > 0 {
		number, kind, n := protowire.ConsumeTag(b)
		if n < 0 {
			return m, protowire.ParseError(n)
		}
		b = b[n:]
		switch kind {
		case protowire.VarintType:
			m.numbers[number], n = protowire.ConsumeVarint(b)
		case protowire.BytesType:
			m.bytes[number], n = protowire.ConsumeBytes(b)
		case protowire.StartGroupType, protowire.EndGroupType:
			return m, errors.New("a group")
		default:
			n = protowire.ConsumeFieldValue(number, kind, b)
		}
		if n < 0 {
			return m, protowire.ParseError(n)
		}
		b = b[n:]
	}
	return m, nil
}
