package dryrun

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
	"testing"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

// FuzzForeign calls each foreign function with any arguments, twice on one host. A function may
// end the module for what it takes, and give no more than a body may have.
func FuzzForeign(f *testing.F) {
	names := slices.Sorted(maps.Keys(foreign))
	field := func(number protowire.Number, text string) []byte {
		return protowire.AppendString(protowire.AppendTag(nil, number, protowire.BytesType), text)
	}
	declared := protowire.AppendVarint(protowire.AppendTag(field(propertyName, "a"), propertyReadonly, protowire.VarintType), 1)
	zipped, _ := compress(nil, []byte("some text"))
	for i := range names {
		for _, arguments := range [][]byte{
			nil, {1, 0, 0, 0}, []byte("request.path == '/a'"), zipped, declared,
			append(field(statePath, "envoy.string"), field(stateValue, "b")...),
			append(field(verifyHash, "sha256"), field(verifyPEM, "-----BEGIN PUBLIC KEY-----\nMA==\n-----END PUBLIC KEY-----\n")...),
			append(field(signHash, "sha1"), field(signDER, "0")...),
		} {
			f.Add(uint8(i), arguments)
		}
	}
	f.Fuzz(func(t *testing.T, nth uint8, arguments []byte) {
		name := names[int(nth)%len(names)]
		h := &host{ctx: t.Context(), scopes: map[uint32]*scope{0: {}}, records: new(record), left: new(int)}
		*h.left = maxMade
		defer func() {
			if p := recover(); p != nil {
				if _, limited := p.(*excess); !limited {
					panic(p)
				}
			}
		}()
		for range 2 {
			given := bytes.Clone(arguments)
			result, _ := foreign[name](h, given)
			if len(result) > maxBody+maxBody/100 {
				t.Fatalf("%s gives %d bytes", name, len(result))
			}
			if !bytes.Equal(given, arguments) {
				t.Errorf("%s changes its arguments", name)
			}
		}
		zipped, s := compress(h, arguments)
		if plain, t2 := uncompress(h, zipped); s != ok || t2 != ok || !bytes.Equal(plain, arguments) {
			t.Errorf("%q is %q after compress and uncompress", arguments, plain)
		}
	})
}

// FuzzGRPCService reads any bytes as what a module calls: a message that names a cluster, or the
// name itself.
func FuzzGRPCService(f *testing.F) {
	service := func(cluster string) []byte {
		b, err := proto.Marshal(&corev3.GrpcService{TargetSpecifier: &corev3.GrpcService_EnvoyGrpc_{EnvoyGrpc: &corev3.GrpcService_EnvoyGrpc{ClusterName: cluster}}})
		if err != nil {
			f.Fatal(err)
		}
		return b
	}
	for _, b := range [][]byte{nil, []byte("authz"), service("authz"), service(""), {0x0a, 0x7f}} {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		cluster, named := grpcCluster(b)
		if !named {
			if cluster != string(b) {
				t.Errorf("%q is no message, and the cluster %q", b, cluster)
			}
			return
		}
		if cluster == "" {
			return
		}
		if again, named := grpcCluster(service(cluster)); !named || again != cluster {
			t.Errorf("%q names %q, which reads as %q", b, cluster, again)
		}
	})
}

// FuzzFrame reads any bytes as what the two processes say to each other. What was read is the same
// when it is sent again.
func FuzzFrame(f *testing.F) {
	var b bytes.Buffer
	for _, r := range []reply{{}, {Need: true}, {Outcome: refusal, Message: "no", Missing: []string{"a"}}, {Outcome: passed, Played: &Played{Stopped: "x"}}} {
		b.Reset()
		if err := writeReply(&b, r); err != nil {
			f.Fatal(err)
		}
		f.Add(bytes.Clone(b.Bytes()))
	}
	f.Add([]byte("\xff\xff\xff\xff"))
	f.Add([]byte("\x04\x00\x00\x00null{}"))
	f.Fuzz(func(t *testing.T, b []byte) {
		r := bytes.NewReader(b)
		var got reply
		if readFrame(r, maxReply, &got) != nil {
			return
		}
		if used := len(b) - r.Len(); used > 4+maxReply {
			t.Errorf("%d bytes were read", used)
		}
		first, err := json.Marshal(got)
		if err != nil {
			t.Fatal(err)
		}
		var sent bytes.Buffer
		if err := writeReply(&sent, got); err != nil {
			t.Fatal(err)
		}
		var again reply
		if err := readFrame(&sent, maxPlayed, &again); err != nil {
			t.Fatal(err)
		}
		if second, _ := json.Marshal(again); !bytes.Equal(first, second) || sent.Len() > 0 {
			t.Errorf("%s reads as %s, %d bytes are left", first, second, sent.Len())
		}
	})
}
