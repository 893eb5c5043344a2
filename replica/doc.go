// Package replica connects the xds-servers that share a state: it knows which replicas
// there are and which one leads, and transports requests between them.
//
// Start with [Registry], which knows the replicas, and [Peers], which transports requests.
// Register what a replica serves by [On] or [Peers.Handle] before [Peers.Serve]. Send
// requests by [Call], [CallAll] and [Peers.Ask]. [Peers.Moves] and [Peers.Leader] transport
// what concerns changes.
//
// None of this needs setup: each replica creates a [Key] when it starts, and writes its
// hash into the store. Whoever may write to the store is trusted, and nobody else is.
// Envoys are not in the store: reports about them go from replica to replica.
package replica
