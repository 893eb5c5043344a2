package xds

import (
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"wasmxds/printable"
	"wasmxds/xds/swap"
)

// Limits of the names in one request, and of one stream. Envoy asks by name for the
// endpoints of its clusters, its routes and its filters, and lists what it has when it
// reconnects: a few names per definition.
const (
	maxNames  = 16 << 10
	maxLength = 4 << 10  // bytes of a name, a version, or a message that is kept
	maxLabels = 64 << 10 // bytes of all labels of a node
	maxNodeID = 512      // bytes; Istio's consist of a Pod's name and namespace, and have up to 450

	// maxStreams is the most concurrent streams of a node. It has more than one during a
	// hot restart, or when an Envoy reconnects before its old stream ends.
	maxStreams = 64
)

// check checks a request against the limits.
func (r *request) check() error {
	switch {
	case r.excess:
		return status.Errorf(codes.ResourceExhausted, "a request has more than %d names", maxNames)
	case r.long:
		return status.Errorf(codes.ResourceExhausted, "a request has a name or version of more than %d bytes", maxLength)
	case r.node == nil:
		return nil
	}
	size := 0
	for k, v := range r.node.Labels {
		size += len(k) + len(v)
	}
	if size > maxLabels {
		return status.Errorf(codes.ResourceExhausted, "the node has %d bytes of labels, more than %d", size, maxLabels)
	}
	return nil
}

// checkFirst is like check, for the first request of a stream, which names the node. People
// identify Envoys by their node IDs, so these must be legible.
func (r *request) checkFirst() error {
	if err := r.check(); err != nil {
		return err
	}
	switch id := r.nodeID(); {
	case id == "":
		return status.Error(codes.InvalidArgument, "the first request of a stream names no node: set node.id in the bootstrap, or --service-node")
	case len(id) > maxNodeID:
		return status.Errorf(codes.InvalidArgument, "the node ID has %d bytes, more than %d", len(id), maxNodeID)
	case !printable.Is(id):
		return status.Errorf(codes.InvalidArgument, "the node ID %s has characters that can't be seen", printable.Text(id))
	}
	return nil
}

func (r *request) nodeID() string {
	if r.node == nil {
		return ""
	}
	return r.node.ID
}

// overSubscribed returns an error if a stream has gradually subscribed to too many names.
func (c *client) overSubscribed(t swap.Type) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if n := c.machine.Subscribed(t); n > maxNames {
		return status.Errorf(codes.ResourceExhausted, "this stream asks for %d names of type %s, more than %d", n, t, maxNames)
	}
	return nil
}

// denied returns the gRPC status of an error of Options.Allow: PermissionDenied, unless the
// error has a status itself.
func denied(err error) error {
	if _, ok := status.FromError(err); ok {
		return err
	}
	return status.Error(codes.PermissionDenied, err.Error())
}
