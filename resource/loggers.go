package resource

import (
	"fmt"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	accesslogv3 "github.com/envoyproxy/go-control-plane/envoy/config/accesslog/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	celv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/access_loggers/filters/cel/v3"
	grpcv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/access_loggers/grpc/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"

	"wasmxds/signal"
)

// Each HTTP connection manager gets two access loggers from the start, so that
// the listener does not change when sampling begins. One sends the responses of
// crashed VMs, the other a fraction of all requests that runtime sets,
// initially zero. Neither opens a connection before it has something to send.
const (
	alarmFlush  = 100 * time.Millisecond
	sampleFlush = 500 * time.Millisecond

	// crashedVM costs some 15 µs per request, so it is only evaluated for
	// status 5xx.
	crashedVM = "response.code_details.startsWith('wasm_fail')"
	alarmKey  = "wasmxds.alarms" // runtime key for the lowest status that is evaluated
)

// withLoggers returns m with loggers in each of its HTTP connection managers,
// behind existing ones. It adds them to the meaning.
func (o Options) withLoggers(m *listenerv3.Listener, means *meaning) (*listenerv3.Listener, error) {
	if o.Signals == "" {
		return m, nil
	}
	m = proto.CloneOf(m)
	loggers, err := o.loggers(m.GetName())
	if err != nil {
		return nil, err
	}
	added := false
	err = changeManagers(m, func(hcm *hcmv3.HttpConnectionManager) {
		hcm.AccessLog = append(hcm.AccessLog, loggers...)
		added = true
	})
	if err != nil {
		return nil, err
	}
	if added {
		means.text("signals", o.Signals)
		if o.RecordHeaders != "" {
			means.text("record", o.RecordHeaders)
		}
	}
	return m, nil
}

func (o Options) loggers(listener string) ([]*accesslogv3.AccessLog, error) {
	crashed, err := pack(&celv3.ExpressionFilter{Expression: crashedVM})
	if err != nil {
		return nil, err
	}
	alarms, err := logger(signal.AlarmLog, &grpcv3.HttpGrpcAccessLogConfig{
		CommonConfig: o.log(signal.AlarmLog+"/"+listener, alarmFlush, signal.OwnerState),
	}, andFilter(
		&accesslogv3.AccessLogFilter{FilterSpecifier: &accesslogv3.AccessLogFilter_StatusCodeFilter{
			StatusCodeFilter: &accesslogv3.StatusCodeFilter{Comparison: &accesslogv3.ComparisonFilter{
				Op: accesslogv3.ComparisonFilter_GE, Value: &corev3.RuntimeUInt32{DefaultValue: 500, RuntimeKey: alarmKey},
			}},
		}},
		&accesslogv3.AccessLogFilter{FilterSpecifier: &accesslogv3.AccessLogFilter_ExtensionFilter{
			ExtensionFilter: &accesslogv3.ExtensionFilter{
				Name:       "envoy.access_loggers.extension_filters.cel",
				ConfigType: &accesslogv3.ExtensionFilter_TypedConfig{TypedConfig: crashed},
			},
		}},
	))
	if err != nil {
		return nil, err
	}
	samples, err := logger(signal.SampleLog, &grpcv3.HttpGrpcAccessLogConfig{
		CommonConfig: o.log(signal.SampleLog, sampleFlush), AdditionalRequestHeadersToLog: o.Recordable(),
	}, &accesslogv3.AccessLogFilter{
		FilterSpecifier: &accesslogv3.AccessLogFilter_RuntimeFilter{RuntimeFilter: &accesslogv3.RuntimeFilter{
			RuntimeKey:     samplingKey,
			PercentSampled: &typev3.FractionalPercent{Denominator: typev3.FractionalPercent_MILLION},
			// By default, Envoy decides by the request's id, which its client
			// may choose.
			UseIndependentRandomness: true,
		}},
	})
	return []*accesslogv3.AccessLog{alarms, samples}, err
}

// Recordable returns the names in RecordHeaders.
func (o Options) Recordable() []string {
	if o.RecordHeaders == "" {
		return nil
	}
	return strings.Split(o.RecordHeaders, ",")
}

// log returns the configuration of the stream that a logger sends to. Loggers
// with the same configuration share a stream in each of Envoy's workers.
func (o Options) log(name string, flush time.Duration, filterState ...string) *grpcv3.CommonGrpcAccessLogConfig {
	return &grpcv3.CommonGrpcAccessLogConfig{
		LogName:             name,
		TransportApiVersion: corev3.ApiVersion_V3,
		BufferFlushInterval: durationpb.New(flush),
		GrpcService: &corev3.GrpcService{TargetSpecifier: &corev3.GrpcService_EnvoyGrpc_{
			EnvoyGrpc: &corev3.GrpcService_EnvoyGrpc{ClusterName: o.Signals},
		}},
		FilterStateObjectsToLog: filterState,
	}
}

func logger(name string, to *grpcv3.HttpGrpcAccessLogConfig, filter *accesslogv3.AccessLogFilter) (*accesslogv3.AccessLog, error) {
	config, err := pack(to)
	if err != nil {
		return nil, fmt.Errorf("access logger %s: %w", name, err)
	}
	return &accesslogv3.AccessLog{Name: name, Filter: filter, ConfigType: &accesslogv3.AccessLog_TypedConfig{TypedConfig: config}}, nil
}

func andFilter(filters ...*accesslogv3.AccessLogFilter) *accesslogv3.AccessLogFilter {
	return &accesslogv3.AccessLogFilter{FilterSpecifier: &accesslogv3.AccessLogFilter_AndFilter{
		AndFilter: &accesslogv3.AndFilter{Filters: filters},
	}}
}
