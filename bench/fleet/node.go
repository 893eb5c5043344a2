package fleet

import (
	"fmt"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
)

// nodeOf returns a node message without its id. It has the version, metadata like
// that of a sidecar, and extensions as Envoy lists them, until it has size bytes.
func nodeOf(cluster, namespace string, servers, size int) ([]byte, error) {
	all := map[string]any{"LABELS": map[string]any{"app": "bench", "version": "v1", "pod-template-hash": "5d8b9c7f6d"}}
	if namespace != "" {
		all["NAMESPACE"] = namespace
	}
	if servers > 1 {
		all["wasmxds"] = map[string]any{"replicas": servers}
	}
	meta, err := structpb.NewStruct(all)
	if err != nil {
		return nil, err
	}
	n := &corev3.Node{
		Cluster: cluster, Metadata: meta, UserAgentName: "envoy",
		UserAgentVersionType: &corev3.Node_UserAgentVersion{UserAgentVersion: "1.40.0"},
		Locality:             &corev3.Locality{Region: "region-1", Zone: "zone-a"},
	}
	for i := 0; proto.Size(n) < size; i++ {
		for range 10 {
			name := fmt.Sprintf("envoy.filters.http.extension_%03d", len(n.Extensions))
			n.Extensions = append(n.Extensions, &corev3.Extension{
				Name: name, Category: "envoy.filters.http",
				TypeUrls: []string{"envoy.extensions.filters.http." + name + ".v3.Config"},
			})
		}
	}
	b, err := proto.Marshal(n)
	if err != nil {
		return nil, fmt.Errorf("encode the node message: %w", err)
	}
	return b, nil
}

// nodeID is the id of the nth Envoy.
func nodeID(n int) string { return fmt.Sprintf("edge-%05d", n) }
