// Package xds serves Envoys over ADS, in both state-of-the-world and delta protocols, and
// knows what each of them runs.
//
// Start with [Server]: Publish sets what Envoys get, and package transport serves
// [Server.Services]. Package swap implements the protocol of one Envoy. This package
// implements what surrounds it: streams, fan-out, timers, and the assignment of downloads
// to Envoys. All methods are safe for concurrent use.
//
// No client can block another, or make the server hold more for it than one response or 48
// KiB. The server sends a response only when earlier ones have been read, which an ACK or
// NACK proves, because nonces can't be guessed. If an Envoy does not answer for two
// minutes, its connection is cut. Package transport sets the other limits.
//
// The client status discovery service (CSDS) and grpc.health.v1 are on the same port.
//
// The package follows the xDS transport protocol of Envoy's documentation
// (api-docs/xds_protocol) and envoy/service/discovery/v3/ads.proto.
package xds
