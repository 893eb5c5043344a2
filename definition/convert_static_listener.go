package definition

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"

	accesslogv3 "github.com/envoyproxy/go-control-plane/envoy/config/accesslog/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	filev3 "github.com/envoyproxy/go-control-plane/envoy/extensions/access_loggers/file/v3"
	streamv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/access_loggers/stream/v3"
	luav3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/lua/v3"
	tcpv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/tcp_proxy/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
)

// tcp fills a native listener from a TCP proxy.
func (s *staticConversion) tcp(made *Listener, proxy *tcpv3.TcpProxy) error {
	if err := only(proxy, "stat_prefix", "cluster", "weighted_clusters"); err != nil {
		return err
	}
	made.TCP = &TCP{}
	if name := proxy.GetCluster(); name != "" {
		if err := s.addUpstream(&made.TCP.Upstreams, name, 1); err != nil {
			return err
		}
	}
	for _, w := range proxy.GetWeightedClusters().GetClusters() {
		if err := only(w, "name", "weight"); err != nil {
			return err
		}
		if err := s.addUpstream(&made.TCP.Upstreams, w.GetName(), w.GetWeight()); err != nil {
			return err
		}
	}
	for _, u := range made.TCP.Upstreams {
		if u.Protocol != HTTP1 {
			return errors.New("an upstream of connections has no protocol")
		}
	}
	return nil
}

// tls fills a native listener with the certificate of a filter chain.
func (s *staticConversion) tls(made *Listener, socket *corev3.TransportSocket) error {
	if socket == nil {
		return nil
	}
	context := &tlsv3.DownstreamTlsContext{}
	if only(socket, "name", "typed_config") != nil || socket.GetTypedConfig().UnmarshalTo(context) != nil {
		return errors.New("a Listener's transport socket is TLS")
	}
	if err := only(context, "common_tls_context", "require_client_certificate"); err != nil {
		return err
	}
	common := context.GetCommonTlsContext()
	if err := only(common, "tls_certificates", "tls_certificate_sds_secret_configs", "alpn_protocols", "validation_context", "validation_context_sds_secret_config"); err != nil {
		return err
	}
	if offered := common.GetAlpnProtocols(); made.TCP == nil && !slices.Equal(offered, []string{"h2", "http/1.1"}) || made.TCP != nil && len(offered) > 0 {
		return errors.New("a Listener offers h2 and http/1.1 (alpn_protocols), or nothing where it is for connections")
	}
	if len(common.GetTlsCertificates())+len(common.GetTlsCertificateSdsSecretConfigs()) != 1 {
		return errors.New("a Listener has one certificate")
	}
	var pair *tlsv3.TlsCertificate
	if list := common.GetTlsCertificates(); len(list) == 1 {
		pair = list[0]
	} else if pair = s.secrets[common.GetTlsCertificateSdsSecretConfigs()[0].GetName()].GetTlsCertificate(); pair == nil {
		return errors.New("its certificate is not in the file")
	}
	if err := only(pair, "certificate_chain", "private_key"); err != nil {
		return err
	}
	trusted := common.GetValidationContext()
	if ref := common.GetValidationContextSdsSecretConfig(); ref != nil {
		if trusted = s.secrets[ref.GetName()].GetValidationContext(); trusted == nil {
			return errors.New("the authority of its clients is not in the file")
		}
	}
	if (trusted != nil) != context.GetRequireClientCertificate().GetValue() {
		return errors.New("a Listener requires a certificate of clients, or does not look at one")
	}
	made.TLS = &TLS{}
	files := map[*string]*corev3.DataSource{&made.TLS.Cert: pair.GetCertificateChain(), &made.TLS.Key: pair.GetPrivateKey()}
	if trusted != nil {
		if err := only(trusted, "trusted_ca"); err != nil {
			return err
		}
		files[&made.TLS.ClientCA] = trusted.GetTrustedCa()
	}
	for into, source := range files {
		if *into = source.GetFilename(); !filepath.IsAbs(*into) || only(source, "filename") != nil {
			return errors.New("a Listener's certificates are files, and relative ones are from another folder than Envoy's")
		}
	}
	return nil
}

// nativeLog returns the native form of a listener's access loggers.
func nativeLog(loggers []*accesslogv3.AccessLog) (AccessLog, error) {
	if len(loggers) == 0 {
		return LogOff, nil
	}
	other := errors.New("a Listener's access log is one line for each request to the standard output, in Envoy's format or as JSON")
	if len(loggers) > 1 || only(loggers[0], "name", "typed_config") != nil {
		return LogOff, other
	}
	var format *corev3.SubstitutionFormatString
	stdout, file := &streamv3.StdoutAccessLog{}, &filev3.FileAccessLog{}
	switch config := loggers[0].GetTypedConfig(); {
	case config.UnmarshalTo(stdout) == nil && only(stdout, "log_format") == nil:
		format = stdout.GetLogFormat()
	case config.UnmarshalTo(file) == nil && only(file, "path", "log_format") == nil && file.GetPath() == "/dev/stdout":
		format = file.GetLogFormat()
	default:
		return LogOff, other
	}
	if format == nil {
		return LogText, nil
	}
	fields := &structpb.Struct{Fields: map[string]*structpb.Value{}}
	for name, value := range LogFields() {
		fields.Fields[name] = structpb.NewStringValue(value)
	}
	if only(format, "json_format") != nil || !proto.Equal(format.GetJsonFormat(), fields) {
		return LogOff, other
	}
	return LogJSON, nil
}

// script returns a Lua filter of a listener as a LuaFilter, or nil if it is
// another filter.
func (s *staticConversion) script(listener, name string, config interface{ UnmarshalTo(proto.Message) error }) (*Filter, error) {
	lua := &luav3.Lua{}
	if config.UnmarshalTo(lua) != nil {
		return nil, nil
	}
	text := lua.GetDefaultSourceCode().GetInlineString()
	if only(lua, "default_source_code") != nil || only(lua.GetDefaultSourceCode(), "inline_string") != nil || text == "" {
		return nil, fmt.Errorf("a LuaFilter is a script that stands in the file, and %s is not", name)
	}
	f := &Filter{Kind: luaKind, Name: SlotName(listener, name), Lua: &Lua{Script: text}, Place: Place{At: Last}, OnFailure: Closed}
	if s.filters[f.Name] != nil {
		return nil, fmt.Errorf("another filter is called %s", f.Name)
	}
	return f, nil
}
