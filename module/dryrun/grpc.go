package dryrun

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	"github.com/tetratelabs/wazero/api"
	"google.golang.org/protobuf/proto"

	"wasmxds/module/dryrun/abi"
	"wasmxds/module/dryrun/stream"
)

const grpcUnavailable = 14

func (h *host) grpcCall(m api.Module, a args) status {
	t, found := h.texts(m, a, 0, 2, 4, 6, 8)
	if !found {
		return invalidMemory
	}
	return h.callGRPC(m, grpcCallout, t, time.Duration(a.u32(10))*time.Millisecond, a.u32(11))
}

func (h *host) grpcStream(m api.Module, a args) status {
	t, found := h.texts(m, a, 0, 2, 4, 6)
	if !found {
		return invalidMemory
	}
	return h.callGRPC(m, grpcStreaming, t, 0, a.u32(8))
}

// callGRPC begins a call or a stream. The service is the name of a cluster, or a message
// that contains it.
func (h *host) callGRPC(m api.Module, kind uint32, t [][]byte, timeout time.Duration, pointer uint32) status {
	if len(t[0]) == 0 {
		panic(&excess{"a gRPC call without a service: Envoy itself would crash"})
	}
	cluster, named := grpcCluster(t[0])
	method := fmt.Sprintf("/%s/%s", t[1], t[2])
	told := h.tell(stream.Call{
		Kind: []string{grpcCallout: "grpc", grpcStreaming: "grpc stream"}[kind], Cluster: cluster, Timeout: timeout,
		Headers: append([][2]string{{":path", method}}, stream.NewRequest(pairs(t[3])).Fields()...),
	})
	if kind == grpcCallout {
		told.Body = t[4]
	}
	answer, known := h.cluster(cluster)
	switch {
	case known && cluster != "":
		return wrote(put32(m, pointer, h.begin(kind, told, answer).id))
	case !named:
		told.Answer = "no such cluster"
		return abi.ParseFailure
	case cluster == "":
		told.Answer = "only Envoy's own gRPC client can be played"
		h.unserved("gRPC service that is no cluster")
		return badArgument
	}
	told.Answer = "no such cluster"
	c := h.begin(kind, told, answer)
	delete(h.callouts.open, c.id)
	h.later(func() { h.closeGRPC(c, grpcUnavailable, "Cluster not available") })
	return internalFailure
}

// grpcCluster returns the cluster of a service. named reports whether a message names it.
func grpcCluster(service []byte) (cluster string, named bool) {
	var s corev3.GrpcService
	if proto.Unmarshal(service, &s) != nil {
		return string(service), false
	}
	return s.GetEnvoyGrpc().GetClusterName(), true
}

// ended is how a gRPC call ends. In Envoy, the response code details follow the message.
func (c *callout) ended() (code int, message string) {
	a := c.answer
	details := "via_upstream"
	message = a.GRPCMessage
	switch {
	case c.late:
		code, message, details, c.told.Answer = grpcUnavailable, noAnswer, "response_timeout", "timed out"
	case a.Fails, a.BreaksOff:
		code, message, details, c.told.Answer = grpcUnavailable, noConnection, "upstream_reset_before_response_started{remote_connection_failure}", "no connection"
	case a.Status != 0 && a.Status != http.StatusOK:
		code, message = stream.GRPCStatus(a.Status), ""
		c.told.Answer = strconv.Itoa(a.Status)
	default:
		if a.GRPCStatus != nil {
			code = *a.GRPCStatus
		}
		c.told.Answer = strconv.Itoa(code)
	}
	if message == "" {
		return code, details
	}
	return code, message + "{" + details + "}"
}

// answerGRPC delivers the answer to a call: a message, or the reason why it failed.
func (h *host) answerGRPC(c *callout) {
	delete(h.callouts.open, c.id)
	if code, message := c.ended(); code != 0 {
		h.closeGRPC(c, uint32(code), message)
		return
	}
	h.receive(c, c.answer.Body)
}

func (h *host) receive(c *callout, message []byte) {
	h.callouts.now.message = stream.NewBuffer(message)
	h.callRoot("proxy_on_grpc_receive", uint64(c.id), uint64(len(message)))
	h.callouts.now.message = nil
}

// answerStream delivers all messages of a stream, and ends it.
func (h *host) answerStream(c *callout) {
	now := &h.callouts.now
	code, message := c.ended()
	there := func() bool { return h.callouts.open[c.id] == c && h.vm.failed == nil }
	if !c.late && !c.answer.Fails && !c.answer.BreaksOff {
		initial := stream.NewResponse(append(append([][2]string{{":status", "200"}, {"content-type", "application/grpc"}}, c.answer.Headers...), [2]string{serviceTime, "0"}))
		now.maps = map[abi.Map]*stream.Headers{abi.GRPCInitialMetadata: initial}
		h.callRoot("proxy_on_grpc_receive_initial_metadata", uint64(c.id), uint64(initial.Len()))
		now.maps = nil
		messages := c.answer.Messages
		if c.answer.Body != nil {
			messages = append([][]byte{c.answer.Body}, messages...)
		}
		for _, m := range messages {
			if there() {
				h.receive(c, m)
			}
		}
		if there() {
			trailing := append(slices.Clone(c.answer.Trailers), [2]string{"grpc-status", strconv.Itoa(code)})
			if m := c.answer.GRPCMessage; m != "" {
				trailing = append(trailing, [2]string{"grpc-message", m})
			}
			now.maps = map[abi.Map]*stream.Headers{abi.GRPCTrailingMetadata: stream.NewTrailers(trailing)}
			h.callRoot("proxy_on_grpc_receive_trailing_metadata", uint64(c.id), uint64(len(trailing)))
			now.maps = nil
		}
	}
	if there() {
		delete(h.callouts.open, c.id)
		h.closeGRPC(c, uint32(code), message)
	}
}

func (h *host) closeGRPC(c *callout, code uint32, message string) {
	h.callouts.now = answered{status: code, reason: message}
	h.callRoot("proxy_on_grpc_close", uint64(c.id), uint64(code))
	h.callouts.now = answered{}
}

// grpcOpen returns a gRPC call or stream that has not ended.
func (h *host) grpcOpen(id uint32) (*callout, status) {
	if kind := id & calloutKinds; kind != grpcCallout && kind != grpcStreaming {
		return nil, badArgument
	}
	c := h.callouts.open[id]
	if c == nil {
		return nil, notFound
	}
	return c, ok
}

func (h *host) grpcCancel(_ api.Module, a args) status {
	c, s := h.grpcOpen(a.u32(0))
	if s == ok {
		c.told.Answer = "cancelled"
		delete(h.callouts.open, c.id)
	}
	return s
}

func (h *host) grpcClose(m api.Module, a args) status {
	if a.u32(0)&calloutKinds == grpcCallout {
		return h.grpcCancel(m, a)
	}
	c, s := h.grpcOpen(a.u32(0))
	if s == ok {
		c.closed = true
	}
	return s
}

func (h *host) grpcSend(m api.Module, a args) status {
	message, found := in(m, a.u32(1), a.u32(2))
	switch {
	case !found:
		return invalidMemory
	case a.u32(0)&calloutKinds != grpcStreaming:
		return badArgument
	}
	c, s := h.grpcOpen(a.u32(0))
	if s == ok {
		h.spend(len(message))
		c.told.Body = append(c.told.Body, message...)
	}
	return s
}
