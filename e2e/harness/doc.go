// Package harness runs real Envoys and xds-server as child processes, sends
// requests through them and counts what comes back, and makes the faults that
// the tests are about: killed processes, cut connections, origins that are
// slow, wrong or gone.
//
// A [Load] asks again and again, over connections old and new; [Connections]
// are kept open, and tell what each request on each of them met.
//
// Start with [Envoys], which finds the Envoy binaries, [StartServer] and
// [StartEnvoy]. Every part listens on loopback at a port of the system's
// choice and is ended by its Close (or Kill), or when its context is done.
package harness
