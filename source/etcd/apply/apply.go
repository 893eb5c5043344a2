// Package apply changes documents in etcd so that what is there goes together:
// all of a change in one transaction, or nothing of it.
//
// Start with [Store]: Read gives what there is at one revision, Plan what a
// change would do to it, Check what is wrong with that, and Write does it,
// unless somebody has changed what it was checked against.
//
// Besides its text a document may have labels, at a key of its own
// (PREFIX/labels/NAME): they say whose it is, and are not for xds-server. They
// are not in the text, as a text may have definitions of several kinds, and
// most kinds have no labels.
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

// Labels of a document.
type Labels map[string]string

// Have says whether all of a selector are among the labels.
func (l Labels) Have(selector Labels) bool {
	for k, v := range selector {
		if has, ok := l[k]; !ok || has != v {
			return false
		}
	}
	return true
}

// label is what may be a label's key or value.
var label = regexp.MustCompile(`^[A-Za-z0-9]([-A-Za-z0-9_./]{0,61}[A-Za-z0-9])?$`)

// IsLabel says whether a word can be a label's key or value.
func IsLabel(word string) bool { return label.MatchString(word) }

// Document is one that is in etcd.
type Document struct {
	Name     string
	Text     []byte
	Labels   Labels
	Revision int64 // of its last change

	created int64
}

// Contents are all documents at one revision.
type Contents struct {
	Revision  int64
	Documents map[string]*Document // by name

	applied int64 // revision of the last change by this package
}

// Store is the documents below a prefix.
type Store struct {
	Client *clientv3.Client
	Prefix string // ends with a slash
}

func (s *Store) definition(name string) string { return etcd.Definitions(s.Prefix) + name }
func (s *Store) labels(name string) string     { return s.Prefix + "labels/" + name }

// applied is a key that each change by this package writes: a document that was
// deleted by another of them leaves no revision to compare.
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
		if d == nil || kv.ModRevision < d.created { // left behind by who deleted a document and not its labels
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
