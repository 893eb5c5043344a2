// Package intern is what ten thousand machines of package swap share, each thing
// kept once for as long as some machine uses it: what Envoys of one state have
// ([Acked]), what they ask for ([NameSet]), the responses that take them from one
// state to the next ([Response], with its encoded bytes), and what they were sent
// and may need in bytes again.
//
// Start with [Interner]. Its type parameter is what the machines keep with each
// Acked: the answers to questions that have the same answer for all of them.
//
// It knows nothing of the protocol. All values but the Interner are immutable,
// and safe for concurrent use.
package intern
