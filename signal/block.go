package signal

import "time"

// BlockTime is how long a block is; it has four parts. Each is one observation for
// the tests: see [Judge] for what that means for how soon they can tell.
const BlockTime = 4 * time.Second

const parts = 4

// Count is of requests.
type Count struct{ Requests, Errors uint32 }

// Block is what an Envoy told in a BlockTime, by when it came in.
type Block struct {
	Start     time.Time // a multiple of BlockTime
	Parts     [parts]Count
	Latencies Latencies
}

// Count is that of all parts.
func (b *Block) Count() Count {
	var c Count
	for _, p := range b.Parts {
		c.Requests += p.Requests
		c.Errors += p.Errors
	}
	return c
}

// and is what both have told of the same time.
func (b *Block) and(other *Block) Block {
	both := Block{Start: b.Start, Parts: b.Parts, Latencies: Merge(b.Latencies, other.Latencies)}
	for i, c := range other.Parts {
		both.Parts[i].Requests += c.Requests
		both.Parts[i].Errors += c.Errors
	}
	return both
}
