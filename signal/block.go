package signal

import "time"

// BlockTime is the length of a block, which has four parts. Each block is one observation
// for the tests; see [Judge] for what that means for how soon they can decide.
const BlockTime = 4 * time.Second

const parts = 4

// Count counts requests.
type Count struct{ Requests, Errors uint32 }

// Block contains the samples that arrived from an Envoy during one BlockTime.
type Block struct {
	Start     time.Time // a multiple of BlockTime
	Parts     [parts]Count
	Latencies Latencies
}

// Count returns the sum over all parts.
func (b *Block) Count() Count {
	var c Count
	for _, p := range b.Parts {
		c.Requests += p.Requests
		c.Errors += p.Errors
	}
	return c
}

// and returns the sum of two blocks of the same time.
func (b *Block) and(other *Block) Block {
	both := Block{Start: b.Start, Parts: b.Parts, Latencies: Merge(b.Latencies, other.Latencies)}
	for i, c := range other.Parts {
		both.Parts[i].Requests += c.Requests
		both.Parts[i].Errors += c.Errors
	}
	return both
}
