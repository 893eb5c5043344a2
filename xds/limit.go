package xds

import (
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"wasmxds/printable"
	"wasmxds/xds/swap"
)

// What one request, and one stream, may name. Envoy asks for its clusters'
// endpoints, its routes and its filters by name, and tells what it has when it
// connects again: some for each definition.
const (
	maxNames  = 16 << 10
	maxLength = 4 << 10  // bytes of a name, a version, or a message that is kept
	maxLabels = 64 << 10 // bytes of all labels of a node
	maxNodeID = 512      // bytes; those of Istio's are made of a Pod's name and namespace, and have up to 450

	// maxStreams is how many streams a node has at once: more than one while
	// an Envoy restarts hot, or connects again before its old stream ends.
	maxStreams = 64
)

// check holds what a request names against the limits.
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

// checkFirst is check for the first request of a stream, which says who the
// Envoy is. Its node ID is how people tell it from others, so it must be such
// that they can.
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

// overSubscribed is the error of a stream that has asked for too much, bit by
// bit.
func (c *client) overSubscribed(t swap.Type) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if n := c.machine.Subscribed(t); n > maxNames {
		return status.Errorf(codes.ResourceExhausted, "this stream asks for %d names of type %s, more than %d", n, t, maxNames)
	}
	return nil
}

// denied is the status for an error of Options.Allow: the one that it has, or
// that the client may not.
func denied(err error) error {
	if _, ok := status.FromError(err); ok {
		return err
	}
	return status.Error(codes.PermissionDenied, err.Error())
}
