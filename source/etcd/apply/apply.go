// Package apply changes documents in etcd and keeps them consistent: it applies
// all of a change in one transaction, or nothing.
//
// Start with [Store]. Read returns the documents at one revision, Plan returns
// what a change would do to them, Check returns what would be wrong, and Write
// applies the plan, unless somebody has changed what it was checked against.
//
// In addition to its text, a document may have labels, at a key of its own
// (PREFIX/labels/NAME). They show who owns the document, and xds-server ignores
// them. They are not in the text because a text may have definitions of several
// kinds, most of which have no labels.
package apply

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"wasmxds/source/etcd"
)

// Labels are the labels of a document.
type Labels map[string]string

// Have reports whether l includes all labels of a selector.
func (l Labels) Have(selector Labels) bool {
	for k, v := range selector {
		if has, ok := l[k]; !ok || has != v {
			return false
		}
	}
	return true
}

// label matches the keys and values of labels.
var label = regexp.MustCompile(`^[A-Za-z0-9]([-A-Za-z0-9_./]{0,61}[A-Za-z0-9])?$`)

// IsLabel reports whether a word is valid as a label's key or value.
func IsLabel(word string) bool { return label.MatchString(word) }

// Document is a document in etcd.
type Document struct {
	Name     string
	Text     []byte
	Labels   Labels
	Revision int64 // of its last change

	created int64
}

// Contents has all documents at one revision.
type Contents struct {
	Revision  int64
	Documents map[string]*Document // by name

	applied int64 // revision of the last change by this package
}

// Store has the documents below a prefix.
type Store struct {
	Client *clientv3.Client
	Prefix string // ends with a slash
}

func (s *Store) definition(name string) string { return etcd.Definitions(s.Prefix) + name }
func (s *Store) labels(name string) string     { return s.Prefix + "labels/" + name }

// applied returns a key that each change by this package writes, because a
// document that another change deletes leaves no revision to compare.
func (s *Store) applied() string { return s.Prefix + "applied" }

// Read reads all documents.
func (s *Store) Read(ctx context.Context) (*Contents, error) {
	c := &Contents{Documents: map[string]*Document{}}
	resp, err := s.get(ctx, s.applied())
	if err != nil {
		return nil, err
	}
	c.Revision = resp.Header.Revision
	for _, kv := range resp.Kvs {
		c.applied = kv.ModRevision
	}
	at := etcd.Definitions(s.Prefix)
	err = etcd.Pages(ctx, s.get, at, c.Revision, func(kv *mvccpb.KeyValue) {
		name := strings.TrimPrefix(string(kv.Key), at)
		c.Documents[name] = &Document{Name: name, Text: kv.Value, Revision: kv.ModRevision, created: kv.CreateRevision}
	})
	if err != nil {
		return nil, err
	}
	var wrong error
	at = s.labels("")
	err = etcd.Pages(ctx, s.get, at, c.Revision, func(kv *mvccpb.KeyValue) {
		d := c.Documents[strings.TrimPrefix(string(kv.Key), at)]
		if d == nil || kv.ModRevision < d.created { // left behind when the document was deleted without its labels
			return
		}
		if err := json.Unmarshal(kv.Value, &d.Labels); err != nil {
			wrong = fmt.Errorf("labels of %s: %w", d.Name, err)
		}
	})
	return c, errors.Join(err, wrong)
}

func (s *Store) get(ctx context.Context, key string, options ...clientv3.OpOption) (*clientv3.GetResponse, error) {
	resp, err := s.Client.Get(ctx, key, options...)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", key, err)
	}
	return resp, nil
}
