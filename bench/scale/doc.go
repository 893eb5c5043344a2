// Package scale measures xds-server where it is more than one process beside a
// directory: as one of several of one state, and with a real Kubernetes API server
// and a thousand objects.
//
// It is a test, as the tools that start etcd and the API server are. `make bench` runs
// it in full size, `make test` in a small one; either prints its figures, and fails
// where one is beyond what is aimed at and does not depend on the machine.
package scale
