// Package fleet simulates many Envoys for an ADS server. To the server they look
// like real ones, and ten thousand of them fit beside it on two cores.
//
// Start with [Fleet]. Start connects the Envoys. Watch and [Goal.Wait] measure how
// long a change takes to reach them. Each Envoy has a connection, a goroutine
// and a source address of its own. It
//
//   - has its own implementation of HTTP/2 and gRPC (conn.go), and uses
//     state-of-the-world or delta ADS,
//   - subscribes to clusters, then listeners, then the routes and extension
//     configurations that those name, one by one (envoy.go),
//   - rejects a Wasm filter with nack_on_code_cache_miss whose module it does not
//     have, downloads the module over HTTP, and accepts the filter when it is
//     pushed again in other bytes; it acknowledges the same bytes without applying
//     them,
//   - knows which filters its routes turn off, or run with another configuration
//     (route.go),
//   - reports what it has when it connects again.
//
// It does not validate, compile or run anything, since that costs only Envoy time.
//
// It follows the xDS transport protocol of Envoy's documentation
// (api-docs/xds_protocol), RFC 9113 and gRPC over HTTP/2.
package fleet
