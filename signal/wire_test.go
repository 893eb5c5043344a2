package signal

import (
	"bytes"
	"reflect"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	logv3 "github.com/envoyproxy/go-control-plane/envoy/data/accesslog/v3"
	alsv3 "github.com/envoyproxy/go-control-plane/envoy/service/accesslog/v3"
)

func encode(t testing.TB, m proto.Message) []byte {
	t.Helper()
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func wrapped(t testing.TB, m proto.Message) *anypb.Any {
	t.Helper()
	a, err := anypb.New(m)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// httpEntry is an entry such as Envoy sends.
func httpEntry(code uint32, details string, took time.Duration) *logv3.HTTPAccessLogEntry {
	return &logv3.HTTPAccessLogEntry{
		CommonProperties: &logv3.AccessLogCommon{
			TimeToLastDownstreamTxByte: durationpb.New(took), Duration: durationpb.New(took + time.Second),
			UpstreamCluster: "c", ResponseFlags: &logv3.ResponseFlags{NoRouteFound: true},
			CustomTags: map[string]string{"a": "b"},
		},
		Request:  &logv3.HTTPRequestProperties{Authority: "example.com", Path: "/"},
		Response: &logv3.HTTPResponseProperties{ResponseCode: wrapperspb.UInt32(code), ResponseCodeDetails: details},
	}
}

func httpMessage(node, cluster, log string, entries ...*logv3.HTTPAccessLogEntry) *alsv3.StreamAccessLogsMessage {
	m := &alsv3.StreamAccessLogsMessage{}
	if node != "" {
		meta, _ := structpb.NewStruct(map[string]any{"labels": map[string]any{"a": "b"}})
		m.Identifier = &alsv3.StreamAccessLogsMessage_Identifier{LogName: log, Node: &corev3.Node{Id: node, Cluster: cluster, Metadata: meta,
			UserAgentName: "envoy", Extensions: []*corev3.Extension{{Name: "x", TypeUrls: []string{"y"}}}}}
	}
	if len(entries) > 0 {
		m.LogEntries = &alsv3.StreamAccessLogsMessage_HttpLogs{HttpLogs: &alsv3.StreamAccessLogsMessage_HTTPAccessLogEntries{LogEntry: entries}}
	}
	return m
}

// decoded is all that is read of a message.
type decoded struct {
	Node, Cluster, Log string
	Entries            []decodedEntry
}

type decodedEntry struct {
	Code            uint32
	Details, Owner  string
	Took            time.Duration
	Failed, Ongoing bool
}

func decode(b []byte) (d decoded, err error) {
	var m message
	if err := m.read(b); err != nil {
		return d, err
	}
	d = decoded{Node: m.identifier.node, Cluster: m.identifier.cluster, Log: m.identifier.log}
	err = m.each(func(e *entry) bool {
		d.Entries = append(d.Entries, decodedEntry{e.code, string(e.details), string(e.owner), e.sample().Latency, e.failed(), e.underWay})
		return true
	})
	return d, err
}

// oracle reads the same by protobuf.
func oracle(b []byte) (d decoded, err error) {
	m := &alsv3.StreamAccessLogsMessage{}
	if err := proto.Unmarshal(b, m); err != nil {
		return d, err
	}
	d = decoded{Node: m.GetIdentifier().GetNode().GetId(), Cluster: m.GetIdentifier().GetNode().GetCluster(), Log: m.GetIdentifier().GetLogName()}
	for _, e := range m.GetHttpLogs().GetLogEntry() {
		common, response := e.GetCommonProperties(), e.GetResponse()
		took := common.GetTimeToLastDownstreamTxByte()
		if took == nil {
			took = common.GetDuration()
		}
		latency := min(max(time.Duration(min(max(took.GetSeconds(), 0), 3600))*time.Second+time.Duration(took.GetNanos()), 0), time.Hour)
		code, details := response.GetResponseCode().GetValue(), response.GetResponseCodeDetails()
		owner := &wrapperspb.StringValue{}
		if state := common.GetFilterStateObjects()[OwnerState]; state != nil {
			if err := proto.Unmarshal(state.GetValue(), owner); err != nil {
				return d, err
			}
		}
		kind := common.GetAccessLogType()
		ongoing := kind != logv3.AccessLogType_NotSet && kind != logv3.AccessLogType_DownstreamEnd
		failed := code == 0 || code >= 500 || code >= 400 && details != "via_upstream"
		d.Entries = append(d.Entries, decodedEntry{code, details, owner.GetValue(), latency, failed, ongoing})
	}
	return d, nil
}

func TestDecode(t *testing.T) {
	crash := httpEntry(503, "wasm_fail_stream", time.Millisecond)
	crash.CommonProperties.FilterStateObjects = map[string]*anypb.Any{
		OwnerState: wrapped(t, wrapperspb.String("slot-1")), "other": wrapped(t, wrapperspb.String("other")),
	}
	ongoing := httpEntry(0, "", 0)
	ongoing.CommonProperties.AccessLogType = logv3.AccessLogType_DownstreamPeriodic
	ended := httpEntry(200, "via_upstream", 0)
	ended.CommonProperties.AccessLogType = logv3.AccessLogType_DownstreamEnd
	shorter := httpEntry(200, "via_upstream", 0)
	shorter.CommonProperties.TimeToLastDownstreamTxByte = nil
	b := encode(t, httpMessage("edge-1", "edge", SampleLog, crash, ongoing, ended, shorter, httpEntry(404, "route_not_found", 0), httpEntry(404, "via_upstream", 0), httpEntry(403, "", 0)))
	got, err := decode(b)
	if err != nil {
		t.Fatal(err)
	}
	want := decoded{"edge-1", "edge", SampleLog, []decodedEntry{
		{503, "wasm_fail_stream", "slot-1", time.Millisecond, true, false},
		{0, "", "", 0, true, true},
		{200, "via_upstream", "", 0, false, false},
		{200, "via_upstream", "", time.Second, false, false},
		{404, "route_not_found", "", 0, true, false},
		{404, "via_upstream", "", 0, false, false},
		{403, "", "", 0, true, false}, // by a filter that gives no details
	}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("decoded\n%+v, want\n%+v", got, want)
	}
}

// FuzzDecode compares with what protobuf reads, wherever it reads anything.
func FuzzDecode(f *testing.F) {
	crash := httpEntry(503, "wasm_fail_stream", 3*time.Hour)
	crash.CommonProperties.FilterStateObjects = map[string]*anypb.Any{OwnerState: wrapped(f, wrapperspb.String("slot-1"))}
	whole := encode(f, httpMessage("edge-1", "edge", AlarmLog, crash, httpEntry(200, "via_upstream", time.Second)))
	tcp := encode(f, &alsv3.StreamAccessLogsMessage{LogEntries: &alsv3.StreamAccessLogsMessage_TcpLogs{}})
	f.Add(whole)
	f.Add(slicesJoin(whole, tcp, encode(f, httpMessage("edge-2", "", ""))))
	f.Add(slicesJoin(whole, tcp, whole, whole))
	f.Add([]byte{0x0b, 0x0c})
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := decode(b)
		want, refused := oracle(b)
		if refused != nil {
			return
		}
		if err != nil {
			t.Fatalf("%v; protobuf reads %+v", err, want)
		}
		if len(want.Node) > maxText || len(want.Cluster) > maxText || len(want.Log) > maxText {
			return
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("decoded\n%+v; protobuf reads\n%+v", got, want)
		}
	})
}

func slicesJoin(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

// TestLargeEntriesCostNothing: what is not needed of an entry is passed over.
func TestLargeEntriesCostNothing(t *testing.T) {
	e := httpEntry(200, "via_upstream", time.Millisecond)
	e.Request.RequestHeaders = map[string]string{}
	for _, c := range "abcdefghijklmnop" {
		e.Request.RequestHeaders[string(c)] = string(bytes.Repeat([]byte{'x'}, 4<<10))
	}
	b := encode(t, httpMessage("edge-1", "edge", SampleLog, e, e, e))
	var m message
	if n := testing.AllocsPerRun(100, func() {
		m = message{}
		if err := m.read(b); err != nil {
			t.Fatal(err)
		}
		if err := m.each(func(*entry) bool { return true }); err != nil {
			t.Fatal(err)
		}
	}); n > 8 { // of the identifier, and of closures
		t.Errorf("%v allocations for a message of %d bytes", n, len(b))
	}
}
