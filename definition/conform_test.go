package definition

import (
	"testing"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"

	"wasmxds/definition/internal/document"
)

// TestConform checks that what Envoy's loader accepts has the same meaning as
// its form for protojson. TestDialects in e2e checks that Envoy accepts each of
// them.
func TestConform(t *testing.T) {
	for _, c := range []struct{ written, same string }{
		{`lb_policy: ring_hash`, `{"lb_policy": "RING_HASH"}`},
		{`lbPolicy: Ring_Hash`, `{"lb_policy": "RING_HASH"}`},
		{`lb_policy: "2"`, `{"lb_policy": "RING_HASH"}`},
		{`lb_policy: null`, `{}`},
		{`respect_dns_ttl: yes`, `{"respect_dns_ttl": true}`},
		{`respect_dns_ttl: "TRUE"`, `{"respect_dns_ttl": true}`},
		{`respect_dns_ttl: Off`, `{}`},
		{`per_connection_buffer_limit_bytes: {value: "7"}`, `{"per_connection_buffer_limit_bytes": 7}`},
		{`per_connection_buffer_limit_bytes: {}`, `{"per_connection_buffer_limit_bytes": 0}`},
		{`per_connection_buffer_limit_bytes: 1e3`, `{"per_connection_buffer_limit_bytes": 1000}`},
		{`per_connection_buffer_limit_bytes: "+0x1F"`, `{"per_connection_buffer_limit_bytes": 31}`},
		{`per_connection_buffer_limit_bytes: "010"`, `{"per_connection_buffer_limit_bytes": 10}`},
		{`alt_stat_name: 1.50`, `{"alt_stat_name": "1.50"}`},
		{`alt_stat_name: 3000000000`, `{"alt_stat_name": "3000000000"}`},
		{`alt_stat_name: 08`, `{"alt_stat_name": "08"}`},
		{`connect_timeout: {seconds: "1", nanos: 5}`, `{"connect_timeout": "1.000000005s"}`},
		{`connect_timeout: 01s`, `{"connect_timeout": "1s"}`},
		{`common_lb_config: {healthy_panic_threshold: {value: ".5"}}`, `{"common_lb_config": {"healthy_panic_threshold": {"value": 0.5}}}`},
		{`common_lb_config: {healthy_panic_threshold: {value: "1.e1"}}`, `{"common_lb_config": {"healthy_panic_threshold": {"value": 10}}}`},
		{`health_checks: {timeout: 1s}`, `{"health_checks": [{"timeout": "1s"}]}`},
		{`circuit_breakers: {thresholds: [{priority: high, track_remaining: y}]}`, `{"circuit_breakers": {"thresholds": [{"priority": "HIGH", "track_remaining": true}]}}`},
		{`metadata: {typed_filter_metadata: {a: {"@type": x/google.protobuf.Duration, value: {seconds: 1}}}}`, `{"metadata": {"typed_filter_metadata": {"a": {"@type": "x/google.protobuf.Duration", "value": "1s"}}}}`},
		{`metadata: {typed_filter_metadata: {a: {"@type": x/google.protobuf.FieldMask, value: {paths: [a, b_c]}}}}`, `{"metadata": {"typed_filter_metadata": {"a": {"@type": "x/google.protobuf.FieldMask", "value": "a,bC"}}}}`},
		{`metadata: {typed_filter_metadata: {a: {"@type": x/google.protobuf.Empty}}}`, `{"metadata": {"typed_filter_metadata": {"a": {"@type": "x/google.protobuf.Empty", "value": {}}}}}`},
		{`metadata: {typed_filter_metadata: {a: {"@type": x/google.protobuf.StringValue}}}`, `{"metadata": {"typed_filter_metadata": {"a": {"@type": "x/google.protobuf.StringValue", "value": ""}}}}`},
		{`metadata: {filter_metadata: {a: {yes: no, lb_policy: ring_hash}}}`, `{"metadata": {"filter_metadata": {"a": {"yes": "no", "lb_policy": "ring_hash"}}}}`},
		{`typed_extension_protocol_options: {a.b: {"@type": x/envoy.config.cluster.v3.Cluster, type: strict_dns}}`, `{"typed_extension_protocol_options": {"a.b": {"@type": "x/envoy.config.cluster.v3.Cluster", "type": "STRICT_DNS"}}}`},
		{"!ignore shared: &s 2s\nconnect_timeout: *s", `{"connect_timeout": "2s"}`},
	} {
		docs, problems := document.YAML([]byte(c.written))
		if len(docs) != 1 || len(problems) > 0 {
			t.Fatalf("%s: %v", c.written, problems)
		}
		got, want := &clusterv3.Cluster{}, &clusterv3.Cluster{}
		if err := protojson.Unmarshal([]byte(c.same), want); err != nil {
			t.Fatal(err)
		}
		p := newParser("a.yaml", nil)
		if !p.doc(docs[0], false).Message("", docs[0], got) {
			t.Errorf("%s: %v", c.written, p.problems)
		} else if !proto.Equal(got, want) {
			t.Errorf("%s: %v, want %v", c.written, got, want)
		}
	}
}

// TestNotConform checks that what Envoy rejects is rejected as well, with a
// hint.
func TestNotConform(t *testing.T) {
	for written, want := range map[string]string{
		`lb_policy: ring-hash`:           `"ring-hash" is not a value of LbPolicy; did you mean RING_HASH?`,
		`respect_dns_ttl: maybe`:         `invalid value for bool field respectDnsTtl: "maybe"; `,
		`respect_dns_ttl: 1`:             `invalid value for bool field respectDnsTtl: 1; `,
		`alt_stat_name: 7`:               `a number, needs text; put it in quotes: "7"`,
		`alt_stat_name: true`:            `true or false, needs text; put it in quotes: "true"`,
		`alt_stat_name: [x]`:             `a list, needs text; `,
		`connect_timeout: {minutes: 1}`:  `unexpected token {; `,
		`health_checks: {tiemout: 1s}`:   `unknown field of HealthCheck; did you mean timeout?`,
		`health_checks: [{timeout: 1m}]`: `invalid google.protobuf.Duration value "1m"; `,
	} {
		docs, _ := document.YAML([]byte(written))
		p := newParser("a.yaml", nil)
		if p.doc(docs[0], false).Message("", docs[0], &clusterv3.Cluster{}) {
			t.Errorf("%s: accepted", written)
		} else if got := p.problems[0].Message + "; " + p.problems[0].Hint; got != want {
			t.Errorf("%s: %s, want %s", written, got, want)
		}
	}
}

// FuzzConform checks that what protojson accepts keeps its meaning, and that
// conforming is idempotent.
func FuzzConform(f *testing.F) {
	for _, seed := range []string{
		`{"name": "a", "traffic_direction": "INBOUND", "per_connection_buffer_limit_bytes": {"value": 1}}`,
		`{"filter_chains": [{"filters": [{"typed_config": {"@type": "x/google.protobuf.Duration", "value": {"seconds": 1}}}]}]}`,
		`{"address": {"socket_address": {"port_value": "0x1f", "ipv4_compat": "yes"}}, "metadata": {"filter_metadata": {"a": {"b": [1, null]}}}}`,
		`{"listener_filters": {"typed_config": {"@type": "x/google.protobuf.Any", "value": {"@type": "x/google.protobuf.FieldMask", "value": {"paths": "a"}}}}}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		docs, problems := document.JSON(data)
		if len(docs) != 1 || len(problems) > 0 {
			return
		}
		of := (&listenerv3.Listener{}).ProtoReflect().Descriptor()
		once := conform(docs[0], of)
		if twice := conform(once, of); string(twice.JSON()) != string(once.JSON()) {
			t.Errorf("%s, then %s", once.JSON(), twice.JSON())
		}
		before, after := &listenerv3.Listener{}, &listenerv3.Listener{}
		if protojson.Unmarshal(docs[0].JSON(), before) != nil {
			return
		}
		if err := protojson.Unmarshal(once.JSON(), after); err != nil {
			t.Fatalf("%s became %s: %v", docs[0].JSON(), once.JSON(), err)
		}
		if b, a := marshal(t, before), marshal(t, after); b != a {
			t.Errorf("%s became %s", docs[0].JSON(), once.JSON())
		}
	})
}

func marshal(t *testing.T, m proto.Message) string {
	t.Helper()
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
