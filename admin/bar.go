package admin

// bar is a row of parts, each as long as its share.
type bar struct {
	Label string
	Parts []barPart
}

type barPart struct {
	Class string
	W     float64 // its share, in percent
	X     float64 // where it is drawn
	Shown float64 // and how long
}

// leastPart is how long the shortest part is, in percent: one Envoy of ten thousand
// is seen, too.
const leastPart = 4

func (b *bar) add(class string, n, of int) {
	if n == 0 || of == 0 {
		return
	}
	b.Parts = append(b.Parts, barPart{Class: class, W: 100 * float64(n) / float64(of)})
	b.lay()
}

// lay gives each part its place. What short ones have too much, long ones lack.
func (b *bar) lay() {
	shown := make([]float64, len(b.Parts))
	total, spare := 0.0, 0.0 // of what is shown; of what is longer than need be
	for i, p := range b.Parts {
		shown[i] = max(p.W, leastPart)
		total += shown[i]
		spare += shown[i] - leastPart
	}
	if over := total - 100; over > 0 && spare > 0 {
		for i := range shown {
			shown[i] -= over * (shown[i] - leastPart) / spare
		}
	}
	x := 0.0
	for i := range b.Parts {
		b.Parts[i].X, b.Parts[i].Shown = x, shown[i]
		x += shown[i]
	}
}
