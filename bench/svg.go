package main

import (
	"bytes"
	"fmt"
	"math"
	"slices"
)

// svg draws how figures grow with the number of clients: a panel for each
// figure and kind of stream, both axes logarithmic.
func (r *Report) svg() []byte {
	const width, height, margin = 300, 220, 46
	memory := func(res *Result) float64 { return res.Memory / 1024 }
	panels := []struct {
		title string
		value func(*Result) float64
	}{
		{"KB a connection", memory},
		{"CPU µs a change and client", of(sceneOne, cpu)},
		{"p99 ms, one of 20 changes", of(sceneOne, func(f *Figures) float64 { return f.P99 * 1e3 })},
		{"p99 ms, connect storm", of(sceneStorm, func(f *Figures) float64 { return f.P99 * 1e3 })},
	}
	kinds := r.kinds()
	var b bytes.Buffer
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" font-family="sans-serif" font-size="11">`+"\n",
		width*len(panels), (height+20)*len(kinds)+30)
	fmt.Fprintln(&b, `<rect width="100%" height="100%" fill="white"/>`)
	for i, server := range r.servers() {
		fmt.Fprintf(&b, `<text x="%d" y="18" fill="%s">%s</text>`+"\n", margin+90*i, colour(server), server)
	}
	for row, kind := range kinds {
		for column, p := range panels {
			fmt.Fprintf(&b, `<g transform="translate(%d,%d)">`+"\n", column*width+margin, row*(height+20)+40)
			fmt.Fprintf(&b, `<text x="0" y="0">%s: %s</text>`+"\n", kind, p.title)
			r.panel(&b, kind, p.value, width-margin-20, height-50)
			fmt.Fprintln(&b, `</g>`)
		}
	}
	fmt.Fprintln(&b, `</svg>`)
	return b.Bytes()
}

func colour(server string) string {
	return map[string]string{"wasmxds": "#0b6e4f", "wasmxds-h2": "#1f5fbf", "naive": "#c1292e", "floor": "#808080"}[server]
}

// servers are those that were measured.
func (r *Report) servers() []string {
	var servers []string
	for _, res := range r.Results {
		if !slices.Contains(servers, res.Server) {
			servers = append(servers, res.Server)
		}
	}
	return servers
}

// kinds are those that were measured.
func (r *Report) kinds() []string {
	var kinds []string
	for _, res := range r.Results {
		if k := res.kind(); !slices.Contains(kinds, k) {
			kinds = append(kinds, k)
		}
	}
	return kinds
}

// panel draws a line for each server, from (0, 10) to (width, height+10).
func (r *Report) panel(b *bytes.Buffer, kind string, value func(*Result) float64, width, height float64) {
	lowX, highX, lowY, highY := math.Inf(1), 0.0, math.Inf(1), 0.0
	for _, res := range r.Results {
		if v := value(res); res.kind() == kind && v > 0 {
			lowX, highX = min(lowX, float64(res.Clients)), max(highX, float64(res.Clients))
			lowY, highY = min(lowY, v), max(highY, v)
		}
	}
	if highY == 0 {
		return
	}
	lowY, highY = math.Pow(10, math.Floor(math.Log10(lowY))), math.Pow(10, math.Ceil(math.Log10(highY)))
	x := func(v float64) float64 {
		if highX == lowX {
			return width / 2
		}
		return width * math.Log(v/lowX) / math.Log(highX/lowX)
	}
	y := func(v float64) float64 {
		if highY == lowY {
			return 10 + height/2
		}
		return 10 + height - height*math.Log(v/lowY)/math.Log(highY/lowY)
	}
	for v := lowY; v <= highY*1.01; v *= 10 {
		fmt.Fprintf(b, `<line x1="0" y1="%.1f" x2="%.1f" y2="%.1f" stroke="#ddd"/><text x="-6" y="%.1f" text-anchor="end" fill="#555">%g</text>`+"\n",
			y(v), width, y(v), y(v)+4, v)
	}
	for _, server := range r.servers() {
		var points bytes.Buffer
		for _, res := range r.Results {
			v := value(res)
			if res.Server != server || res.kind() != kind || v <= 0 {
				continue
			}
			px, py := x(float64(res.Clients)), y(v)
			fmt.Fprintf(&points, "%.1f,%.1f ", px, py)
			fmt.Fprintf(b, `<circle cx="%.1f" cy="%.1f" r="3" fill="%s"><title>%s, %d clients: %.4g</title></circle>`+"\n",
				px, py, colour(server), server, res.Clients, v)
			fmt.Fprintf(b, `<text x="%.1f" y="%.1f" text-anchor="middle" fill="#555">%d</text>`+"\n", px, height+26, res.Clients)
		}
		fmt.Fprintf(b, `<polyline points="%s" fill="none" stroke="%s" stroke-width="1.5"/>`+"\n", points.String(), colour(server))
	}
}
