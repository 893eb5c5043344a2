package wasmtest_test

import (
	"bytes"
	"context"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"

	"wasmxds/e2e/wasmtest"
)

// host is as much of a Proxy-Wasm host as the modules call.
type host struct {
	mod     api.Module
	config  map[uint64]string // of root contexts; the one being configured is root
	root    uint64
	headers map[string]string // of the request at hand
	added   []string          // type, name, value
	log     []string
	answers []uint32 // statuses that requests were answered with
}

func start(t *testing.T, f wasmtest.Filter) (*host, error) {
	t.Helper()
	ctx := t.Context()
	r := wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfig().WithCloseOnContextDone(true))
	t.Cleanup(func() {
		if err := r.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	h := &host{}
	env := r.NewHostModuleBuilder("env")
	env.NewFunctionBuilder().WithFunc(func(kind, k, kn, v, vn uint32) uint32 {
		h.added = append(h.added, []string{0: "request", 2: "response"}[kind], h.text(k, kn), h.text(v, vn))
		return 0
	}).Export("proxy_add_header_map_value")
	env.NewFunctionBuilder().WithFunc(func(kind, k, kn, at, length uint32) uint32 {
		v, ok := h.headers[h.text(k, kn)]
		if !ok {
			return 1 // not found
		}
		h.give(ctx, v, at, length)
		return 0
	}).Export("proxy_get_header_map_value")
	env.NewFunctionBuilder().WithFunc(func(kind, from, size, at, length uint32) uint32 {
		if kind != 7 || h.config[h.root] == "" {
			return 1
		}
		h.give(ctx, h.config[h.root], at, length)
		return 0
	}).Export("proxy_get_buffer_bytes")
	env.NewFunctionBuilder().WithFunc(func(level, at, n uint32) uint32 {
		h.log = append(h.log, h.text(at, n))
		return 0
	}).Export("proxy_log")
	env.NewFunctionBuilder().WithFunc(func(status, _, _, _, _, _, _, _ uint32) uint32 {
		h.answers = append(h.answers, status)
		return 0
	}).Export("proxy_send_local_response")
	if _, err := env.Instantiate(ctx); err != nil {
		t.Fatal(err)
	}
	var err error
	h.mod, err = r.InstantiateWithConfig(ctx, f.Module(), wazero.NewModuleConfig().WithStartFunctions("_initialize"))
	return h, err
}

func (h *host) text(at, n uint32) string {
	b, ok := h.mod.Memory().Read(at, n)
	if !ok {
		panic("out of the module's memory")
	}
	return string(b)
}

func (h *host) give(ctx context.Context, s string, at, length uint32) {
	res, err := h.mod.ExportedFunction("proxy_on_memory_allocate").Call(ctx, uint64(len(s)))
	if err != nil {
		panic(err)
	}
	m := h.mod.Memory()
	if !m.Write(uint32(res[0]), []byte(s)) || !m.WriteUint32Le(at, uint32(res[0])) || !m.WriteUint32Le(length, uint32(len(s))) {
		panic("out of the module's memory")
	}
}

func (h *host) call(ctx context.Context, name string, args ...uint64) (uint64, error) {
	res, err := h.mod.ExportedFunction(name).Call(ctx, args...)
	if err != nil || len(res) == 0 {
		return 0, err
	}
	return res[0], nil
}

// configure makes a root context and reports whether it took its configuration.
func (h *host) configure(ctx context.Context, root uint64, config string) (bool, error) {
	if h.config == nil {
		h.config = map[uint64]string{}
	}
	h.root, h.config[root] = root, config
	if _, err := h.call(ctx, "proxy_on_context_create", root, 0); err != nil {
		return false, err
	}
	ok, err := h.call(ctx, "proxy_on_configure", root, uint64(len(config)))
	return ok == 1, err
}

func (h *host) request(ctx context.Context, stream, root uint64) error {
	h.added = nil
	if _, err := h.call(ctx, "proxy_on_context_create", stream, root); err != nil {
		return err
	}
	_, err := h.call(ctx, "proxy_on_request_headers", stream, 0, 1)
	return err
}

func TestHeader(t *testing.T) {
	h, err := start(t, wasmtest.Filter{Header: "x-version", Value: "one", Response: true, Log: "ready"})
	if err != nil {
		t.Fatal(err)
	}
	if ok, err := h.configure(t.Context(), 1, ""); err != nil || !ok {
		t.Fatalf("configure: %v, %v", ok, err)
	}
	if err := h.request(t.Context(), 2, 1); err != nil {
		t.Fatal(err)
	}
	if _, err := h.call(t.Context(), "proxy_on_response_headers", 2, 0, 1); err != nil {
		t.Fatal(err)
	}
	want := []string{"request", "x-version", "one", "response", "x-version", "one"}
	if !slices.Equal(h.added, want) || !slices.Equal(h.log, []string{"ready"}) {
		t.Errorf("added %q, logged %q", h.added, h.log)
	}
}

// Plugins with one vm_id share a VM: each keeps its own configuration.
func TestFromConfig(t *testing.T) {
	h, err := start(t, wasmtest.Filter{Header: "x-version", FromConfig: true})
	if err != nil {
		t.Fatal(err)
	}
	configs := map[uint64]string{1: "one", 2: "two", 3: "", 70000: "seventy"}
	for _, root := range slices.Sorted(maps.Keys(configs)) {
		if ok, err := h.configure(t.Context(), root, configs[root]); err != nil || !ok {
			t.Fatalf("configure: %v, %v", ok, err)
		}
	}
	for root, value := range configs {
		if err := h.request(t.Context(), 100+root, root); err != nil {
			t.Fatal(err)
		}
		if want := []string{"request", "x-version", value}; !slices.Equal(h.added, want) {
			t.Errorf("root %d added %q", root, h.added)
		}
	}
}

func TestFaults(t *testing.T) {
	for name, c := range map[string]struct {
		fault   wasmtest.Fault
		export  string
		trap    bool
		refused bool
	}{
		"trap in vm start":  {fault: wasmtest.TrapInVMStart, export: "proxy_on_vm_start", trap: true},
		"trap in configure": {fault: wasmtest.TrapInConfigure, export: "proxy_on_configure", trap: true},
		"reject vm start":   {fault: wasmtest.RejectVMStart, export: "proxy_on_vm_start", refused: true},
		"reject configure":  {fault: wasmtest.RejectConfigure, export: "proxy_on_configure", refused: true},
		"none":              {export: "proxy_on_configure"},
	} {
		t.Run(name, func(t *testing.T) {
			h, err := start(t, wasmtest.Filter{Header: "x-version", Fault: c.fault})
			if err != nil {
				t.Fatal(err)
			}
			ok, err := h.call(t.Context(), c.export, 1, 0)
			if (err != nil) != c.trap || !c.trap && (ok == 0) != c.refused {
				t.Errorf("got %d, %v", ok, err)
			}
		})
	}
}

func TestTrapOnRequest(t *testing.T) {
	h, err := start(t, wasmtest.Filter{Header: "x-version", Value: "one", Fault: wasmtest.TrapOnRequest})
	if err != nil {
		t.Fatal(err)
	}
	if err := h.request(t.Context(), 2, 1); err != nil {
		t.Errorf("a request without the trap's header: %v", err)
	}
	h.headers = map[string]string{wasmtest.TrapHeader: "1"}
	if err := h.request(t.Context(), 3, 1); err == nil {
		t.Error("no trap")
	}
}

// TestFaultsOfRequests: of ten requests, these are traps, or answered, and the
// module has grown by so much.
func TestFaultsOfRequests(t *testing.T) {
	for name, c := range map[string]struct {
		fault   wasmtest.Fault
		at      int
		traps   []int
		answers []uint32
		grown   uint32
	}{
		"none":        {},
		"trap at":     {fault: wasmtest.TrapAt, at: 3, traps: []int{3}},
		"error every": {fault: wasmtest.ErrorEvery, at: 4, answers: []uint32{500, 500}},
		"deny every":  {fault: wasmtest.DenyEvery, at: 3, answers: []uint32{403, 403, 403}},
		"slow down":   {fault: wasmtest.SlowDown, at: 2},
		"leak":        {fault: wasmtest.Leak, at: 2, grown: 20 << 16},
	} {
		t.Run(name, func(t *testing.T) {
			h, err := start(t, wasmtest.Filter{Header: "x-version", Value: "one", Fault: c.fault, At: c.at})
			if err != nil {
				t.Fatal(err)
			}
			before := h.mod.Memory().Size()
			var traps []int
			passed := 0
			for i := range 10 {
				if err := h.request(t.Context(), uint64(i+2), 1); err != nil {
					traps = append(traps, i+1)
				}
				passed += len(h.added) / 3
			}
			if !slices.Equal(traps, c.traps) || !slices.Equal(h.answers, c.answers) {
				t.Errorf("traps %v, answers %v", traps, h.answers)
			}
			if want := 10 - len(c.traps) - len(c.answers); passed != want {
				t.Errorf("%d requests got the header, want %d", passed, want)
			}
			if grown := h.mod.Memory().Size() - before; grown != c.grown {
				t.Errorf("grown by %d bytes, want %d", grown, c.grown)
			}
		})
	}
}

func TestSpinAtRequest(t *testing.T) {
	h, err := start(t, wasmtest.Filter{Header: "x-version", Value: "one", Fault: wasmtest.SpinAt, At: 2})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := h.request(ctx, 2, 1); err != nil {
		t.Error(err)
	}
	if err := h.request(ctx, 3, 1); err == nil {
		t.Error("the second request returned")
	}
}

func TestSpin(t *testing.T) {
	h, err := start(t, wasmtest.Filter{Header: "x-version", Fault: wasmtest.SpinInConfigure})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := h.call(ctx, "proxy_on_configure", 1, 0); err == nil {
		t.Error("configure returned")
	}
}

func TestImport(t *testing.T) {
	if _, err := start(t, wasmtest.Filter{Header: "x-version", Import: "no_such_call"}); err == nil {
		t.Error("the module needs a function that the host has not, and started")
	}
}

func TestABI(t *testing.T) {
	for fault, want := range map[wasmtest.Fault]string{
		wasmtest.None:       "proxy_abi_version_0_2_1",
		wasmtest.UnknownABI: "proxy_abi_version_9_9_9",
		wasmtest.NoABI:      "",
	} {
		h, err := start(t, wasmtest.Filter{Header: "x-version", Fault: fault})
		if err != nil {
			t.Fatal(err)
		}
		var got string
		for name := range h.mod.ExportedFunctionDefinitions() {
			if len(name) > 18 && name[:18] == "proxy_abi_version_" {
				got = name
			}
		}
		if got != want {
			t.Errorf("fault %d: exports %q, want %q", fault, got, want)
		}
	}
}

func TestSize(t *testing.T) {
	for _, size := range []int{5_000, 3_000_000} {
		m := wasmtest.Filter{Header: "x-version", Value: "one", Size: size}.Module()
		if len(m) != size {
			t.Errorf("%d bytes, want %d", len(m), size)
		}
	}
	if _, err := start(t, wasmtest.Filter{Header: "x-version", Value: "one", Size: 5_000}); err != nil {
		t.Error(err)
	}
	if m := (wasmtest.Filter{Header: "x-version", Value: "one"}).Module(); len(m) > 1000 {
		t.Errorf("%d bytes without padding", len(m))
	}
}

func TestSameBytes(t *testing.T) {
	f := wasmtest.Filter{Header: "x-version", Value: "one"}
	if !bytes.Equal(f.Module(), f.Module()) {
		t.Error("the same filter gives different bytes")
	}
	g := f
	g.Value = "two"
	if bytes.Equal(f.Module(), g.Module()) {
		t.Error("different filters give the same bytes")
	}
}
