package definition

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"strconv"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routerv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/router/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	tcpv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/tcp_proxy/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"

	"wasmxds/definition/internal/document"
)

// staticConversion writes the contents of a bootstrap in the native kinds,
// where these express exactly the same, except for names in statistics and
// logs.
type staticConversion struct {
	file     *File
	clusters map[string]*clusterv3.Cluster
	secrets  map[string]*tlsv3.Secret
	filters  map[string]*Filter

	native   map[*Resource]*Listener // listeners
	scripts  map[*Resource][]*Filter // Lua filters of these
	attached map[*Filter]*Filter     // Wasm filters of these, as they are then
	why      map[*Resource]error     // why a listener stays raw
	dropped  map[*Resource]bool      // clusters and secrets that only native listeners use
}

func convertStatic(f *File) *staticConversion {
	s := &staticConversion{
		file: f, clusters: map[string]*clusterv3.Cluster{}, secrets: map[string]*tlsv3.Secret{}, filters: map[string]*Filter{},
		native: map[*Resource]*Listener{}, scripts: map[*Resource][]*Filter{}, attached: map[*Filter]*Filter{}, why: map[*Resource]error{}, dropped: map[*Resource]bool{},
	}
	for _, r := range f.Resources {
		switch m := r.Message.(type) {
		case *clusterv3.Cluster:
			s.clusters[r.Name] = m
		case *tlsv3.Secret:
			s.secrets[r.Name] = m
		}
	}
	for _, filter := range f.Filters {
		s.filters[filter.Name] = filter
	}
	for _, r := range f.Resources {
		if l, ok := r.Message.(*listenerv3.Listener); ok && f.origins[r].within != "" {
			s.listener(r, l)
		}
	}
	for _, r := range f.Resources {
		if (r.TypeURL == clusterType || r.TypeURL == secretType) && len(s.native) > 0 {
			s.dropped[r] = !s.needed(r)
		}
	}
	return s
}

// needed reports whether a cluster or a secret is used outside the listeners
// that are now native. A resource that contains the name may be a user.
func (s *staticConversion) needed(r *Resource) bool {
	used := false
	mentions := func(m proto.Message) bool {
		b, err := proto.Marshal(m)
		return err != nil || bytes.Contains(b, []byte(r.Name))
	}
	for _, other := range s.file.Resources {
		native := s.native[other]
		if native == nil && other != r && mentions(other.Message) {
			return true
		}
		used = used || native != nil && mentions(other.Message)
	}
	for _, f := range s.file.Filters {
		if f.Wasm != nil && mentions(f.Wasm) {
			return true
		}
	}
	return !used
}

func (s *staticConversion) listener(r *Resource, l *listenerv3.Listener) {
	made := &Listener{Name: r.Name, Pos: r.Pos}
	filters, err := s.fill(made, l)
	if err == nil {
		err = s.readable(made, filters)
	}
	if err != nil {
		s.why[r] = err
		return
	}
	s.native[r] = made
	for i, f := range filters {
		attached := *f
		attached.Order, attached.Attach = i, Attach{Listeners: []ListenerMatch{{Direction: Any, Names: []string{r.Name}}}}
		if f.Lua != nil {
			s.scripts[r] = append(s.scripts[r], &attached)
			continue
		}
		s.attached[f] = &attached
	}
}

// readable returns an error if the parser would not accept the listener as it
// is written: Envoy accepts names, regular expressions and so on that a
// Listener does not.
func (s *staticConversion) readable(l *Listener, filters []*Filter) error {
	c := &conversion{file: s.file, dir: filepath.Dir(s.file.Name)}
	w, err := convertListener(l)
	if err != nil {
		return err
	}
	c.add("", w)
	for _, f := range filters {
		if f.Lua == nil {
			continue
		}
		script, err := c.convertLua(f)
		if err != nil {
			return err
		}
		c.add("", script)
	}
	written, err := document.Write("", c.docs)
	if err != nil {
		return err
	}
	read := Parser{}.Read(s.file.Name+".yaml", written)
	for _, p := range read.Problems {
		if !p.Warning {
			return fmt.Errorf("a Listener can't have it: %s: %s", p.Field, p.Message)
		}
	}
	return nil
}

// fill fills a native listener from an Envoy listener and returns its filters
// in their order. It returns an error if a native listener can't express l.
func (s *staticConversion) fill(made *Listener, l *listenerv3.Listener) ([]*Filter, error) {
	if err := only(l, "name", "address", "traffic_direction", "filter_chains"); err != nil {
		return nil, err
	}
	var err error
	if made.Address, err = nativeAddress(l.GetAddress()); err != nil {
		return nil, err
	}
	if _, err := netip.ParseAddrPort(made.Address); err != nil {
		return nil, errors.New("a Listener listens at an IP address")
	}
	target, _ := (&Resource{Message: l}).Target()
	made.Direction = target.Direction
	if len(l.GetFilterChains()) != 1 {
		return nil, errors.New("a Listener has one filter chain")
	}
	chain := l.GetFilterChains()[0]
	if err := only(chain, "filters", "transport_socket"); err != nil {
		return nil, err
	}
	if len(chain.GetFilters()) != 1 {
		return nil, errors.New("a Listener has one network filter")
	}
	hcm, proxy := &hcmv3.HttpConnectionManager{}, &tcpv3.TcpProxy{}
	var filters []*Filter
	switch config := chain.GetFilters()[0].GetTypedConfig(); {
	case config.UnmarshalTo(hcm) == nil:
		filters, err = s.manager(made, hcm)
	case config.UnmarshalTo(proxy) == nil:
		err = s.tcp(made, proxy)
	default:
		err = errors.New("a Listener has an HTTP connection manager or a TCP proxy")
	}
	if err == nil {
		err = s.tls(made, chain.GetTransportSocket())
	}
	return filters, err
}

// manager fills a native listener from an HTTP connection manager.
func (s *staticConversion) manager(made *Listener, hcm *hcmv3.HttpConnectionManager) ([]*Filter, error) {
	if err := only(hcm, "stat_prefix", "codec_type", "use_remote_address", "normalize_path", "route_config", "http_filters", "access_log"); err != nil {
		return nil, err
	}
	if hcm.GetCodecType() != hcmv3.HttpConnectionManager_AUTO || !hcm.GetUseRemoteAddress().GetValue() || !hcm.GetNormalizePath().GetValue() {
		return nil, errors.New("a Listener has codec_type AUTO, use_remote_address and normalize_path")
	}
	var err error
	if made.AccessLog, err = nativeLog(hcm.GetAccessLog()); err != nil {
		return nil, err
	}
	if err := s.routes(made, hcm.GetRouteConfig()); err != nil {
		return nil, err
	}
	return s.httpFilters(made.Name, hcm.GetHttpFilters())
}

func (s *staticConversion) httpFilters(listener string, list []*hcmv3.HttpFilter) ([]*Filter, error) {
	var filters []*Filter
	for i, h := range list {
		if i == len(list)-1 {
			router := &routerv3.Router{}
			if err := only(h, "name", "typed_config"); err != nil || h.GetTypedConfig().UnmarshalTo(router) != nil || !proto.Equal(router, &routerv3.Router{}) {
				return nil, errors.New("a Listener has a router without settings")
			}
			continue
		}
		if only(h, "name", "typed_config") == nil {
			f, err := s.script(listener, h.GetName(), h.GetTypedConfig())
			if err != nil {
				return nil, err
			}
			if f != nil && !slices.ContainsFunc(filters, func(other *Filter) bool { return other.Name == f.Name }) {
				filters = append(filters, f)
				continue
			}
		}
		f := s.filters[h.GetName()]
		if f == nil || only(h, "name", "config_discovery") != nil || slices.Contains(filters, f) {
			return nil, fmt.Errorf("a Listener has no HTTP filters but those that are attached to it, and no %s", h.GetName())
		}
		if err := exactly(f); err != nil {
			return nil, err
		}
		filters = append(filters, f)
	}
	return filters, nil
}

// only returns an error that names a field of m that is set and is not in
// fields.
func only(m proto.Message, fields ...string) error {
	other := ""
	m.ProtoReflect().Range(func(fd protoreflect.FieldDescriptor, _ protoreflect.Value) bool {
		if name := fd.TextName(); !slices.Contains(fields, name) && (other == "" || name < other) {
			other = name // Range has no defined order
		}
		return true
	})
	if other != "" {
		return fmt.Errorf("the native kinds have no word for %s", other)
	}
	return nil
}

// nativeAddress returns a socket address as host:port.
func nativeAddress(a *corev3.Address) (string, error) {
	socket := a.GetSocketAddress()
	if socket == nil || only(socket, "address", "port_value") != nil || socket.GetAddress() == "" {
		return "", errors.New("a Listener has addresses of a host and a port")
	}
	return net.JoinHostPort(socket.GetAddress(), strconv.FormatUint(uint64(socket.GetPortValue()), 10)), nil
}

// exactly returns why a filter that is written as an Envoy message is not the
// same as a WasmFilter. It ignores the plugin's name, which a WasmFilter sets
// itself.
func exactly(f *Filter) error {
	if err := expressible(f); err != nil {
		return err
	}
	plugin := f.Wasm.GetConfig()
	vm := plugin.GetVmConfig()
	for _, m := range []struct {
		message proto.Message
		fields  []string
	}{
		{f.Wasm, []string{"config"}},
		{plugin, []string{"name", "root_id", "vm_config", "configuration", "fail_open", "failure_policy", "capability_restriction_config"}},
		{vm, []string{"vm_id", "runtime", "code", "configuration", "environment_variables", "capability_restriction_config", "nack_on_code_cache_miss"}},
	} {
		if err := only(m.message, m.fields...); err != nil {
			return err
		}
	}
	//lint:ignore SA1019 what Envoy 1.36 reads
	own, ofVM := plugin.GetCapabilityRestrictionConfig(), vm.GetCapabilityRestrictionConfig()
	switch {
	case f.OnFailure == Reload:
		return errors.New("a WasmFilter that reloads has a back-off of its own")
	case own != nil && ofVM != nil && !proto.Equal(own, ofVM):
		return errors.New("a WasmFilter has one capability_restriction_config")
	}
	return nil
}
