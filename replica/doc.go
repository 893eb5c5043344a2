// Package replica joins the xds-servers of one state: who there is, who leads, and how
// they speak to each other.
//
// Start with [Registry], which says who there is, and [Peers], by which they speak:
// what one of them serves is registered by [On] or [Peers.Handle] before
// [Peers.Serve]; what it asks of another goes by [Call], [CallAll] and [Peers.Ask].
// [Peers.Moves] and [Peers.Leader] are what they say of changes.
//
// Nothing has to be set up for that: each server makes a [Key] when it starts, and
// writes its hash into the store. Whoever may write the store is trusted, and nobody
// else. No Envoy is in the store: what Envoys tell goes from server to server.
package replica
