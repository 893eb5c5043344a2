package etcd

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"wasmxds/definition"
	"wasmxds/printable"
	"wasmxds/source"
)

// maxName is the maximum length of a document's name in bytes.
const maxName = 253

// table has the existing documents and the unsent changes. It is used by one
// goroutine.
type table struct {
	below       string // prefix of the keys
	count, size int

	names  map[string]bool // existing documents
	excess int             // number of documents beyond count
	news   map[string]source.Document
}

func newTable(below string, count, size int) *table {
	return &table{below: below, count: count, size: size, names: map[string]bool{}, news: map[string]source.Document{}}
}

// put processes a document.
func (t *table) put(kv *mvccpb.KeyValue) {
	name := strings.TrimPrefix(string(kv.Key), t.below)
	if !t.names[name] && len(t.names) >= t.count {
		t.excess++
		return
	}
	t.names[name] = true
	d := source.Document{Revision: strconv.FormatInt(kv.ModRevision, 10)}
	var wrong string
	d.Key.Source = Name
	d.Key.Name, wrong = named(name)
	switch {
	case wrong != "":
		d.Trouble = &definition.Problem{File: d.Key.String(), Message: wrong, Hint: "write it to another key and delete this one"}
	case len(kv.Value) > t.size:
		d.Trouble = &definition.Problem{File: d.Key.String(), Message: fmt.Sprintf("can't be read: larger than %d bytes, the most that is read", t.size)}
	case kv.Value == nil:
		d.Data = []byte{}
	default:
		d.Data = kv.Value
	}
	t.news[name] = d
}

// change processes an event, and reports whether everything must be read again
// because documents are, or were, left out.
func (t *table) change(e *clientv3.Event) (again bool) {
	if e.Type == mvccpb.PUT {
		t.put(e.Kv)
		return t.excess > 0
	}
	name := strings.TrimPrefix(string(e.Kv.Key), t.below)
	delete(t.names, name)
	as, _ := named(name)
	t.news[name] = source.Document{Key: source.Key{Source: Name, Name: as}, Revision: strconv.FormatInt(e.Kv.ModRevision, 10), Gone: true}
	return t.excess > 0
}

// batch returns the changes to send.
func (t *table) batch() source.Batch {
	b := source.Batch{Source: Name, Docs: make([]source.Document, 0, len(t.news))}
	for _, d := range t.news {
		b.Docs = append(b.Docs, d)
	}
	return b
}

// sent must be called when a batch has been received.
func (t *table) sent() { clear(t.news) }

func (t *table) leftOut() *definition.Problem {
	if t.excess == 0 {
		return nil
	}
	return &definition.Problem{File: Name, Message: fmt.Sprintf("%d documents are ignored: the limit is %d", t.excess, t.count)}
}

// CheckName returns an error if a document's name is invalid.
func CheckName(name string) error {
	if _, wrong := named(name); wrong != "" {
		return errors.New(wrong)
	}
	return nil
}

// named returns the name of a document for messages. If the name is invalid, it
// may be unsuitable for messages, so it is replaced and the reason returned.
func named(name string) (as, wrong string) {
	switch {
	case name == "":
		return "(no name)", "the key ends where the name begins"
	case len(name) > maxName:
		wrong = fmt.Sprintf("the name has %d bytes, %d at most", len(name), maxName)
	case !printable.Is(name):
		wrong = "the name has characters that can't be seen"
	default:
		return name, ""
	}
	sum := sha256.Sum256([]byte(name))
	return fmt.Sprintf("%+q…%x", name[:min(len(name), 64)], sum[:4]), wrong
}
