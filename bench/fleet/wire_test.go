package fleet

import (
	"encoding/binary"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/anypb"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
)

// TestRequest reads requests that were written by hand as protobuf does.
func TestRequest(t *testing.T) {
	node, err := nodeOf("bench", "", 2, 20<<10)
	if err != nil {
		t.Fatal(err)
	}
	if len(node) < 20<<10 || len(node) > 22<<10 {
		t.Errorf("a node message of %d bytes, want 20 KiB or a little more", len(node))
	}
	r := request{kind: extensions, node: node, nonce: "7", refused: "no", version: "v", names: []string{"a", "b"},
		gone: []string{"c"}, initial: map[string]string{"a": "1"}}
	var wantNode corev3.Node
	if err := proto.Unmarshal(node, &wantNode); err != nil {
		t.Fatal(err)
	}
	refused := &status.Status{Code: 13, Message: "no"}
	for _, test := range []struct {
		delta     bool
		got, want proto.Message
	}{
		{false, &discoveryv3.DiscoveryRequest{}, &discoveryv3.DiscoveryRequest{VersionInfo: "v", Node: &wantNode,
			ResourceNames: r.names, TypeUrl: typeURLs[extensions], ResponseNonce: "7", ErrorDetail: refused}},
		{true, &discoveryv3.DeltaDiscoveryRequest{}, &discoveryv3.DeltaDiscoveryRequest{Node: &wantNode, TypeUrl: typeURLs[extensions],
			ResourceNamesSubscribe: r.names, ResourceNamesUnsubscribe: r.gone, InitialResourceVersions: r.initial,
			ResponseNonce: "7", ErrorDetail: refused}},
	} {
		if err := proto.Unmarshal(r.append(nil, test.delta), test.got); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(test.want, test.got, protocmp.Transform()); diff != "" {
			t.Errorf("delta=%v: %s", test.delta, diff)
		}
	}
}

// TestResponse reads by hand what protobuf has written.
func TestResponse(t *testing.T) {
	value := &anypb.Any{TypeUrl: typeURLs[listeners], Value: []byte("content")}
	for delta, m := range map[bool]proto.Message{
		false: &discoveryv3.DiscoveryResponse{VersionInfo: "v", Resources: []*anypb.Any{value}, TypeUrl: typeURLs[listeners], Nonce: "3"},
		true: &discoveryv3.DeltaDiscoveryResponse{SystemVersionInfo: "v", TypeUrl: typeURLs[listeners], Nonce: "3", RemovedResources: []string{"x"},
			Resources: []*discoveryv3.Resource{{Name: "web", Version: "9", Resource: value}}},
	} {
		b, err := proto.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		var r response
		if err := r.decode(b, delta); err != nil {
			t.Fatal(err)
		}
		if r.kind != listeners || string(r.version) != "v" || string(r.nonce) != "3" || len(r.resources) != 1 || string(r.resources[0].value) != "content" {
			t.Errorf("delta=%v: %+v", delta, r)
		}
		if delta && (string(r.resources[0].name) != "web" || string(r.resources[0].version) != "9" || len(r.removed) != 1) {
			t.Errorf("%+v", r)
		}
		if err := r.decode(b[:len(b)-1], delta); err == nil {
			t.Errorf("delta=%v: a message that is cut was taken", delta)
		}
	}
}

// TestMessages cuts messages out of data that comes in pieces of every size.
func TestMessages(t *testing.T) {
	want := []string{"one", "", "a longer third", "4"}
	var stream []byte
	for _, m := range want {
		stream = binary.BigEndian.AppendUint32(append(stream, 0), uint32(len(m)))
		stream = append(stream, m...)
	}
	for size := 1; size <= len(stream); size++ {
		var c conn
		var got []string
		for piece := range slices.Chunk(stream, size) {
			if err := c.messages(piece, func(m []byte) error { got = append(got, string(m)); return nil }); err != nil {
				t.Fatal(err)
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("in pieces of %d: %q, want %q", size, got, want)
		}
	}
}

// TestWindows holds data back until the server's windows allow it.
func TestWindows(t *testing.T) {
	c := newConn(nil, nil)
	c.send(make([]byte, 100_000))
	if sent := firstWindow - int(c.sendStream); sent != firstWindow || c.sendConn != 0 || len(c.data) == 0 {
		t.Fatalf("sent %d, %d left of the connection's window, %d bytes held back", sent, c.sendConn, len(c.data))
	}
	update := func(stream uint32) {
		c.stream = stream
		if err := c.frame(8, 0, binary.BigEndian.AppendUint32(nil, 1<<20), nil); err != nil {
			t.Fatal(err)
		}
	}
	update(0)
	if len(c.data) == 0 {
		t.Error("the stream's window was not looked at")
	}
	update(theStream)
	if len(c.data) != 0 {
		t.Errorf("%d bytes are still held back", len(c.data))
	}
}
