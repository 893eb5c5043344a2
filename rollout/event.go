package rollout

// Verdict is what a judge says of a change in its wave.
type Verdict string

const (
	Good      Verdict = "good"
	Bad       Verdict = "bad"
	NoTraffic Verdict = "no traffic" // too little to tell
	Unable    Verdict = "unable"     // it can't judge these Envoys, or can't be reached
)
