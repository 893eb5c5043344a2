// Package xds serves Envoys over ADS, state of the world and delta, and knows
// what each of them runs.
//
// Start with [Server]: Publish gives it what is wanted, and [Server.Services] is
// what package transport serves. The protocol of one Envoy is package swap; here
// is what surrounds it: streams, fan-out, timers, and the telling of downloads to
// the Envoy they belong to.
// All methods are safe for concurrent use.
//
// No client can hold up another, or make the server keep more for it than one
// response or 48 KiB. A response goes out only when what was sent before has
// been read, which its ACK or NACK proves: nonces can't be guessed. An Envoy
// that gives none for two minutes is cut. Package transport bounds the rest.
//
// On the same port are the client status discovery service (CSDS) and
// grpc.health.v1.
//
// It follows the xDS transport protocol of Envoy's documentation
// (api-docs/xds_protocol) and envoy/service/discovery/v3/ads.proto.
package xds
