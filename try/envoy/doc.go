// Package envoy plays requests through a filter on a real Envoy of this machine, beside
// the host of package dryrun.
//
// Start with [Find] and [Player]. Each play has an Envoy of its own, with the filter alone
// between a client and upstreams of ours, on ports of loopback that the system chooses.
// It ends with the play. What is bounded: how long it starts, each request, what it logs
// and what others answer.
package envoy
