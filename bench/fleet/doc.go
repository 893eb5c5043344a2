// Package fleet plays many Envoys against an ADS server, truly enough that the
// server can't tell, and lightly enough that ten thousand of them fit beside it
// on two cores.
//
// Start with [Fleet]: Start connects the Envoys, Watch and [Goal.Wait] tell how
// long a change takes to reach them. Each Envoy has a connection, a goroutine
// and a source address of its own. It
//
//   - speaks HTTP/2 and gRPC by hand (conn.go), state of the world or delta,
//   - subscribes to clusters, then listeners, then the routes and extension
//     configurations that those name, one by one (envoy.go),
//   - refuses a Wasm filter with nack_on_code_cache_miss whose module it hasn't
//     got, downloads it over HTTP, and takes it when it is pushed again in other
//     bytes; the same bytes are acknowledged and not applied,
//   - knows which filters the routes that it has switch off, or run with another
//     configuration (route.go),
//   - says what it has when it connects again.
//
// What it does not do is what costs Envoy time and the server none: validate,
// compile and run.
//
// It follows the xDS transport protocol of Envoy's documentation
// (api-docs/xds_protocol), RFC 9113 and gRPC over HTTP/2.
package fleet
