// Package conformance has cases of what a Proxy-Wasm module may do, and what
// came of each in a real Envoy: a small module that makes given host calls,
// requests or a connection that go through it, and what upstreams answer. The
// test of this package plays them through Envoy; that of module/dryrun plays the
// same through the host there. Both compare what came out with the same files.
//
// Start with [Cases], which reads testdata. A file has many cases:
//
//	== set-header
//	on request_headers
//	  add_header_map_value request_headers "x-a" "1"
//	  get_header_map_value request_headers "x-a" @bytes
//	request GET /path
//	  x-b: 2
//	----
//	request_headers 6 1
//	  add_header_map_value request_headers "x-a" "1" = ok
//	  …
//
// What stands above the line of dashes is written by hand, what is below, by
// Envoy:
//
//	go test ./e2e/conformance -update
//
// The cases of another folder may play modules of other SDKs, which are files
// there, with the names that they have for their root context and clusters:
//
//	== headers
//	module headers.wasm
//	root add_header
//	callout web_service 200
//	request GET /path
//	----
//
// Envoy and the host play them with
//
//	go test ./e2e/conformance -run TestEnvoy -cases DIR -update
//	go test ./module/dryrun -run TestConformance -cases DIR
//
// A case in which the host differs says so with its reason, in a line "differs
// …"; of those the table in docs/testing-filters.md is made.
package conformance
