package admin

// bar is a row of parts whose lengths are proportional to their shares.
type bar struct {
	Label string
	Parts []barPart
}

type barPart struct {
	Class string
	W     float64 // share, in percent
	X     float64 // position, in percent
	Shown float64 // drawn length, in percent
}

// leastPart is the minimum length of a part, in percent, so that one Envoy of
// ten thousand is visible.
const leastPart = 4

func (b *bar) add(class string, n, of int) {
	if n == 0 || of == 0 {
		return
	}
	b.Parts = append(b.Parts, barPart{Class: class, W: 100 * float64(n) / float64(of)})
	b.lay()
}

// lay sets the position of each part. Longer parts give up what the shortest
// have too much.
func (b *bar) lay() {
	shown := make([]float64, len(b.Parts))
	total, spare := 0.0, 0.0 // sum of the lengths; sum of what exceeds the minimum
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
