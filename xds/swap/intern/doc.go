// Package intern contains what ten thousand machines of package swap share, each value once
// for as long as any machine uses it: what Envoys have ([Acked]), what they subscribe to
// ([NameSet]), the responses that take them from one state to the next ([Response], with
// its encoded bytes), and what they were sent and may need in bytes again.
//
// Start with [Interner]. Its type parameter is what machines cache with each Acked: results
// that are the same for all of them.
//
// The package knows nothing about the protocol. All values except the Interner are
// immutable, and safe for concurrent use.
package intern
