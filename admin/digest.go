package admin

import (
	"encoding/json"
	"hash/maphash"
	"strconv"
	"time"

	"wasmxds/xds"
	"wasmxds/xds/swap"
)

// digest is a hash of everything that the pages show.
type digest struct{ maphash.Hash }

func newDigest(seed maphash.Seed) *digest {
	d := new(digest)
	d.SetSeed(seed)
	return d
}

func (d *digest) add(texts ...string) {
	for _, s := range texts {
		d.WriteString(strconv.Itoa(len(s)))
		d.WriteByte(' ')
		d.WriteString(s)
	}
}

// document adds the content of a document, without pointers.
func (d *digest) document(v any) { _ = json.NewEncoder(d).Encode(v) } // a hash returns no errors

func (d *digest) at(t time.Time) { d.add(strconv.FormatInt(t.UnixNano(), 36)) }

func (d *digest) draining(of *swap.Draining) {
	if of == nil {
		d.add("")
		return
	}
	d.at(of.Since)
	d.at(of.Until)
}

func (d *digest) crashes(of *swap.Crashes) {
	if of == nil {
		d.add("")
		return
	}
	d.add(of.Version, strconv.Itoa(of.Count), strconv.FormatBool(of.WentBack), strconv.FormatBool(of.Unsure))
	d.at(of.Last)
	d.at(of.Replaced)
}

func (d *digest) node(n *xds.NodeStatus) {
	d.add(n.ID)
	d.at(n.ConnectedSince)
	d.at(n.AwaySince)
	for _, f := range n.Filters {
		d.add(f.Name, f.Wanted, f.Running, string(f.State), f.Reason)
		d.at(f.Since)
		d.crashes(f.Crashes)
		d.draining(f.Draining)
	}
	for _, l := range n.Listeners {
		d.add(l.Name, l.Wanted, l.Running, l.Reason)
		d.draining(l.Draining)
	}
	d.add(strconv.Itoa(len(n.Filters)))
	if i := len(n.NACKs); i > 0 {
		d.at(n.NACKs[i-1].At)
	}
}
