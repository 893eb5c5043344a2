package fleet

import (
	"bytes"
	"fmt"
	"hash/maphash"
	"slices"
	"strconv"
	"sync"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	wasmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/wasm/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	networkv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/wasm/v3"
	pluginv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/wasm/v3"
)

// content is what an Envoy knows of a resource. All Envoys that get the same bytes
// share one.
type content struct {
	name string

	slots, routes []string // of a listener

	says   map[string]bool // of a route configuration: whether a slot runs on a route that does not mention it
	routed []route

	revision int    // of an extension configuration; see [Mark]
	filter   string // the name of the plugin in it
	sha256   string // of its module; "": no Wasm filter
	url      string // of its module
	nack     bool   // nack_on_code_cache_miss
}

// Mark precedes the number of the revision in the bytes of a resource, so that the
// fleet can measure how long a revision takes. A resource without it has the
// revision 0.
func Mark(revision int) string { return fmt.Sprintf("<revision=%08d>", revision) }

var markStart = []byte("<revision=")

// contents decodes each resource once for all Envoys.
type contents struct {
	seed maphash.Seed
	mu   sync.RWMutex
	by   map[uint64]*content
	text map[string]string
}

func newContents() *contents {
	return &contents{seed: maphash.MakeSeed(), by: map[uint64]*content{}, text: map[string]string{}}
}

func (c *contents) get(k kind, value []byte) (*content, error) {
	key := maphash.Bytes(c.seed, value)<<2 | uint64(k)
	c.mu.RLock()
	got := c.by[key]
	c.mu.RUnlock()
	if got != nil {
		return got, nil
	}
	got, err := read(k, value)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if other := c.by[key]; other != nil {
		return other, nil
	}
	c.by[key] = got
	return got, nil
}

// string returns the same string for the same bytes.
func (c *contents) string(b []byte) string {
	c.mu.RLock()
	s, ok := c.text[string(b)]
	c.mu.RUnlock()
	if ok {
		return s
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if s, ok = c.text[string(b)]; !ok {
		s = string(b)
		c.text[s] = s
	}
	return s
}

func read(k kind, value []byte) (*content, error) {
	switch k {
	case clusters:
		var m clusterv3.Cluster
		err := proto.Unmarshal(value, &m)
		return &content{name: m.GetName()}, err
	case routes:
		return readRoutes(value)
	case listeners:
		return readListener(value)
	}
	return readExtension(value)
}

func readListener(value []byte) (*content, error) {
	var m listenerv3.Listener
	if err := proto.Unmarshal(value, &m); err != nil {
		return nil, err
	}
	c := &content{name: m.GetName()}
	for _, chain := range m.GetFilterChains() {
		for _, f := range chain.GetFilters() {
			if f.GetConfigDiscovery() != nil {
				c.slots = append(c.slots, f.GetName())
				continue
			}
			var hcm hcmv3.HttpConnectionManager
			if !f.GetTypedConfig().MessageIs(&hcm) {
				continue
			}
			if err := f.GetTypedConfig().UnmarshalTo(&hcm); err != nil {
				return nil, err
			}
			if name := hcm.GetRds().GetRouteConfigName(); name != "" {
				c.routes = append(c.routes, name)
			}
			for _, h := range hcm.GetHttpFilters() {
				if h.GetConfigDiscovery() != nil {
					c.slots = append(c.slots, h.GetName())
				}
			}
		}
	}
	slices.Sort(c.slots)
	return c, nil
}

func readExtension(value []byte) (*content, error) {
	var m corev3.TypedExtensionConfig
	if err := proto.Unmarshal(value, &m); err != nil {
		return nil, err
	}
	c := &content{name: m.GetName()}
	if i := bytes.Index(value, markStart); i >= 0 {
		digits, _, _ := bytes.Cut(value[i+len(markStart):], []byte(">"))
		var err error
		if c.revision, err = strconv.Atoi(string(digits)); err != nil {
			return nil, fmt.Errorf("revision of %s: %w", c.name, err)
		}
	}
	plugin, err := pluginIn(m.GetTypedConfig())
	if plugin == nil || err != nil {
		return c, err
	}
	vm := plugin.GetVmConfig()
	c.filter = plugin.GetName()
	c.nack = vm.GetNackOnCodeCacheMiss()
	c.sha256 = vm.GetCode().GetRemote().GetSha256()
	c.url = vm.GetCode().GetRemote().GetHttpUri().GetUri()
	return c, nil
}

// pluginIn returns the Wasm plugin of an HTTP or network filter, or nil for any
// other filter.
func pluginIn(a *anypb.Any) (*pluginv3.PluginConfig, error) {
	for _, m := range []interface {
		proto.Message
		GetConfig() *pluginv3.PluginConfig
	}{new(wasmv3.Wasm), new(networkv3.Wasm)} {
		if a.MessageIs(m) {
			err := a.UnmarshalTo(m)
			return m.GetConfig(), err
		}
	}
	return nil, nil
}
