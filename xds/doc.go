// Package xds serves Envoys over ADS, state of the world and delta, and knows
// what each of them runs.
//
// Start with [Server]: Publish gives it what is wanted, [Server.Register] adds
// it to a grpc.Server made with [NewGRPC]. The protocol of one Envoy is package
// swap; here is what surrounds it: streams, fan-out, timers, and the telling
// of downloads to the Envoy they belong to. All methods are safe for
// concurrent use.
//
// It follows the xDS transport protocol of Envoy's documentation
// (api-docs/xds_protocol) and envoy/service/discovery/v3/ads.proto.
package xds
