// Package envoy plays requests through a filter on a real Envoy on this machine, as an
// alternative to the host of package dryrun.
//
// Start with [Find] and [Player]. Each play starts an Envoy of its own, which ends with the
// play. It has only the filter, between a client and upstreams of this package, on loopback
// ports that the system chooses. There are limits for the time that it takes to start, the
// time of each request, what it logs, and the size of answers.
package envoy
