package xds

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	statuspb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"

	"wasmxds/definition"
	"wasmxds/resource"
	"wasmxds/xds/swap"
)

func TestNotProtobuf(t *testing.T) {
	for name, b := range map[string][]byte{
		"a tag in half":           {0x80},
		"no field 0":              {0x02, 0x00},
		"longer than the message": {0x0a, 0x7f, 'a'},
		"an endless length":       append([]byte{0x0a}, bytes.Repeat([]byte{0xff}, 11)...),
		"a group without end":     {0x0b},
		"a node that is none":     {0x0a, 0x01, 0xff, 0x12, 0x01, 0xff},
	} {
		for _, delta := range []bool{false, true} {
			r := request{delta: delta}
			if err := r.decode(b); err == nil {
				t.Errorf("%s: %+v", name, r)
			}
		}
	}
}

// TestLongNACK checks that a long error message is truncated.
func TestLongNACK(t *testing.T) {
	r := request{}
	err := r.decode(marshal(t, &discoveryv3.DiscoveryRequest{ErrorDetail: &statuspb.Status{Message: "a" + strings.Repeat("ä", maxLength)}}))
	if err != nil || len(r.Error) != maxLength-1 || !utf8.ValidString(r.Error) {
		t.Errorf("%d bytes, %v", len(r.Error), err)
	}
}

// TestEnvoyVersion checks that an Envoy's version is read from numbers, and that of other
// clients as they write it.
func TestEnvoyVersion(t *testing.T) {
	for _, c := range []struct {
		node *corev3.Node
		want string
	}{
		{&corev3.Node{Id: "a"}, ""},
		{&corev3.Node{Id: "a", UserAgentVersionType: &corev3.Node_UserAgentVersion{UserAgentVersion: "1.2-dev"}}, "1.2-dev"},
		{&corev3.Node{Id: "a", UserAgentVersionType: &corev3.Node_UserAgentBuildVersion{
			UserAgentBuildVersion: &corev3.BuildVersion{Version: &typev3.SemanticVersion{MajorNumber: 1, MinorNumber: 40, Patch: 2}}}}, "1.40.2"},
	} {
		for _, delta := range []bool{false, true} {
			var m proto.Message = &discoveryv3.DiscoveryRequest{Node: c.node}
			if delta {
				m = &discoveryv3.DeltaDiscoveryRequest{Node: c.node}
			}
			r := request{delta: delta}
			if err := r.decode(marshal(t, m)); err != nil || r.node.version != c.want {
				t.Errorf("%v: %v, version %+v", c.node, err, r.node)
			}
		}
	}
}

func TestLargeNode(t *testing.T) {
	labelled, err := structpb.NewStruct(map[string]any{"LABELS": map[string]any{"a": strings.Repeat("a", maxLabels)}})
	if err != nil {
		t.Fatal(err)
	}
	long := strings.Repeat("a", maxLength+1)
	for name, n := range map[string]*corev3.Node{
		"id": {Id: long}, "cluster": {Cluster: long}, "labels": {Metadata: labelled},
	} {
		r := request{}
		if err := r.decode(marshal(t, &discoveryv3.DiscoveryRequest{Node: n})); err != nil {
			t.Fatal(err)
		}
		if err := r.check(); status.Code(err) != codes.ResourceExhausted {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func marshal(t testing.TB, m proto.Message) []byte {
	t.Helper()
	b, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestNamesAreRecalled checks that reused lists of names are equal to the requested ones,
// and that earlier lists stay unchanged.
func TestNamesAreRecalled(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	c := &client{machine: swap.New(swap.Options{Interner: swap.NewInterner(), Snapshot: new(resource.Snapshot)})}
	var lists, copies [][]string
	for range 2000 {
		var names []string
		if len(lists) > 0 && rng.IntN(4) > 0 { // like an earlier one, except for its end
			last := lists[len(lists)-1-rng.IntN(min(3, len(lists)))]
			names = slices.Clone(last[:rng.IntN(len(last)+1)])
		}
		for range rng.IntN(3) {
			names = append(names, string(rune('a'+rng.IntN(4))))
		}
		b := marshal(t, &discoveryv3.DiscoveryRequest{VersionInfo: "1", ResourceNames: names, TypeUrl: swap.Route.URL()})
		r := request{of: c}
		if err := r.decode(b); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(r.Names, names) {
			t.Fatalf("got %q, want %q", r.Names, names)
		}
		if _, asked := c.asked(swap.Route); asked != (len(lists) > 0) || asked != (r.Version == "") {
			t.Fatalf("asked before: %v, version %q, after %d requests", asked, r.Version, len(lists))
		}
		c.machine.Step(time.Unix(0, 0), r.Request)
		lists, copies = append(lists, r.Names), append(copies, slices.Clone(names))
	}
	for i := range lists {
		if !slices.Equal(lists[i], copies[i]) {
			t.Fatalf("list %d was %q, is %q", i, copies[i], lists[i])
		}
	}
}

// TestNamespace checks that an Envoy's namespace is that in NAMESPACE, and isn't a label.
func TestNamespace(t *testing.T) {
	for _, c := range []struct {
		meta map[string]any
		want string
	}{
		{map[string]any{"NAMESPACE": "shop"}, "shop"},
		{map[string]any{"NAMESPACE": "shop", "LABELS": map[string]any{definition.NamespaceLabel: "other"}}, "shop"},
		{map[string]any{"LABELS": map[string]any{definition.NamespaceLabel: "other", "app": "a"}}, ""},
		{map[string]any{"NAMESPACE": 1.0}, ""},
		{nil, ""},
	} {
		meta, err := structpb.NewStruct(c.meta)
		if err != nil {
			t.Fatal(err)
		}
		if got := labels(meta)[definition.NamespaceLabel]; got != c.want {
			t.Errorf("%v: %q, want %q", c.meta, got, c.want)
		}
	}
}

// FuzzRequest checks that requests are decoded as protobuf decodes them, within the limits,
// and that no other input does harm.
func FuzzRequest(f *testing.F) {
	labelled, err := structpb.NewStruct(map[string]any{
		"LABELS": map[string]any{"app": "a"}, "labels": map[string]any{"b": "c", "n": 1.0},
	})
	if err != nil {
		f.Fatal(err)
	}
	for _, m := range []proto.Message{
		&discoveryv3.DiscoveryRequest{VersionInfo: "1", Node: &corev3.Node{Id: "a", Cluster: "b", Metadata: labelled},
			ResourceNames: []string{"a", "b"}, TypeUrl: swap.Cluster.URL(), ResponseNonce: "7"},
		&discoveryv3.DiscoveryRequest{ErrorDetail: &statuspb.Status{Code: 3, Message: "no"}, TypeUrl: "unknown"},
		&discoveryv3.DeltaDiscoveryRequest{Node: &corev3.Node{Id: "a", Metadata: labelled}, ResourceNamesSubscribe: []string{"*"},
			InitialResourceVersions: map[string]string{"a": "1", "b": ""}},
		&discoveryv3.DeltaDiscoveryRequest{ResourceNamesUnsubscribe: []string{"a"}, ResponseNonce: "x",
			ErrorDetail: &statuspb.Status{}, TypeUrl: swap.Extension.URL()},
	} {
		b := marshal(f, m)
		for _, delta := range []bool{false, true} {
			f.Add(b, delta)
			f.Add(append(b, b...), delta) // a field that occurs twice is merged
		}
	}
	f.Fuzz(func(t *testing.T, b []byte, delta bool) {
		r := request{delta: delta}
		err := r.decode(b)
		if n := len(r.Names) + len(r.Subscribe) + len(r.Unsubscribe) + len(r.Initial); n > maxNames {
			t.Fatalf("%d names are kept", n)
		}
		want, ok := asProtobuf(b, delta)
		if !ok {
			return // it is stricter: about UTF-8, and in fields that are not read here
		}
		if err != nil {
			t.Fatalf("%x is a message: %v", b, err)
		}
		if err := r.check(); err != nil {
			if len(b) <= maxLength && r.names <= maxNames {
				t.Fatalf("%x is within the limits: %v", b, err)
			}
			return
		}
		r.names = 0
		want.Error = strings.ToValidUTF8(want.Error[:min(len(want.Error), maxLength)], "")
		if diff := cmp.Diff(want, r, cmp.AllowUnexported(request{}, node{}), cmpopts.EquateEmpty(), cmp.Comparer(sameError)); diff != "" {
			t.Errorf("%x (-protobuf +here):\n%s", b, diff)
		}
	})
}

func sameError(a, b error) bool { return fmt.Sprint(a) == fmt.Sprint(b) }

// asProtobuf decodes a request with protobuf.
func asProtobuf(b []byte, delta bool) (r request, ok bool) {
	r.delta = delta
	var sender *corev3.Node
	var failed *statuspb.Status
	if delta {
		var m discoveryv3.DeltaDiscoveryRequest
		if proto.Unmarshal(b, &m) != nil {
			return r, false
		}
		r.setType([]byte(m.TypeUrl))
		r.Nonce, r.Subscribe, r.Unsubscribe = m.ResponseNonce, m.ResourceNamesSubscribe, m.ResourceNamesUnsubscribe
		r.Initial, sender, failed = m.InitialResourceVersions, m.Node, m.ErrorDetail
	} else {
		var m discoveryv3.DiscoveryRequest
		if proto.Unmarshal(b, &m) != nil {
			return r, false
		}
		r.setType([]byte(m.TypeUrl))
		r.Nonce, r.Names, r.Version = m.ResponseNonce, m.ResourceNames, m.VersionInfo
		sender, failed = m.Node, m.ErrorDetail
	}
	if failed != nil {
		r.Failed, r.Error = true, failed.Message
	}
	if sender != nil {
		r.node = &node{Node: definition.Node{ID: sender.Id, Cluster: sender.Cluster, Labels: labels(sender.Metadata)}}
		r.node.drainTime, r.node.drainWarning = drainTime(sender.Metadata)
	}
	return r, true
}
