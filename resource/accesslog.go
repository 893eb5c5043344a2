package resource

import (
	"google.golang.org/protobuf/types/known/structpb"

	accesslogv3 "github.com/envoyproxy/go-control-plane/envoy/config/accesslog/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	streamv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/access_loggers/stream/v3"

	"wasmxds/definition"
)

// accessLog returns an access logger that writes one line for each request to
// Envoy's standard output.
func accessLog(as definition.AccessLog) ([]*accesslogv3.AccessLog, error) {
	out := new(streamv3.StdoutAccessLog)
	switch as {
	case definition.LogText: // Envoy's default format
	case definition.LogJSON:
		fields := map[string]*structpb.Value{}
		for name, format := range definition.LogFields() {
			fields[name] = structpb.NewStringValue(format)
		}
		out.AccessLogFormat = &streamv3.StdoutAccessLog_LogFormat{LogFormat: &corev3.SubstitutionFormatString{
			Format: &corev3.SubstitutionFormatString_JsonFormat{JsonFormat: &structpb.Struct{Fields: fields}},
		}}
	default:
		return nil, nil
	}
	config, err := pack(out)
	if err != nil {
		return nil, err
	}
	return []*accesslogv3.AccessLog{{Name: "envoy.access_loggers.stdout", ConfigType: &accesslogv3.AccessLog_TypedConfig{TypedConfig: config}}}, nil
}
