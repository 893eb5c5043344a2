package apply

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"wasmxds/source/etcd"
)

// File is a text that is to be there.
type File struct {
	Name string // of the document
	Path string // for people
	Text []byte
}

// Change is what is asked for.
type Change struct {
	Files  []File
	Labels Labels   // that the files get; nil: those that they have stay
	Delete []string // names
	// IgnoreNotFound passes over those to Delete that are not there.
	IgnoreNotFound bool
	// Prune deletes documents that have all Labels and are not among the Files.
	Prune bool
}

// Action is what a change does to one document.
type Action struct {
	Name string
	What What
	File *File     // what is to be there; nil: nothing
	Was  *Document // what is there; nil: nothing

	labels Labels // to be written; nil: none are
}

// What an Action is.
type What string

const (
	Created    What = "created"
	Configured What = "configured"
	Unchanged  What = "unchanged"
	Deleted    What = "deleted"
	Pruned     What = "pruned"
)

// Plan is what a change does to Contents.
type Plan struct {
	Actions []Action // by name
	From    *Contents
}

// Plan says what a change would do. Names of files must be different; a name
// that is to be deleted must be there, but with IgnoreNotFound.
func (c *Contents) Plan(change Change) (*Plan, error) {
	p := &Plan{From: c}
	planned := map[string]*File{}
	for i := range change.Files {
		f := &change.Files[i]
		if err := etcd.CheckName(f.Name); err != nil {
			return nil, fmt.Errorf("%s: as the name of a document: %w", f.Path, err)
		}
		if other := planned[f.Name]; other != nil {
			return nil, fmt.Errorf("%s and %s are both document %s", other.Path, f.Path, f.Name)
		}
		planned[f.Name] = f
		p.Actions = append(p.Actions, put(f, c.Documents[f.Name], change.Labels))
	}
	for _, name := range change.Delete {
		switch was := c.Documents[name]; {
		case was != nil:
			p.Actions = append(p.Actions, Action{Name: name, What: Deleted, Was: was})
		case !change.IgnoreNotFound:
			return nil, fmt.Errorf("no document %s", name)
		}
	}
	if change.Prune {
		if len(change.Labels) == 0 {
			return nil, errors.New("without labels, all that is not among the files would be pruned")
		}
		what := Pruned
		if len(change.Files) == 0 {
			what = Deleted
		}
		for name, was := range c.Documents {
			if planned[name] == nil && was.Labels.Have(change.Labels) {
				p.Actions = append(p.Actions, Action{Name: name, What: what, Was: was})
			}
		}
	}
	slices.SortFunc(p.Actions, func(a, b Action) int { return strings.Compare(a.Name, b.Name) })
	p.Actions = slices.CompactFunc(p.Actions, func(a, b Action) bool { return a.Name == b.Name })
	return p, nil
}

func put(f *File, was *Document, labels Labels) Action {
	a := Action{Name: f.Name, File: f, Was: was, What: Unchanged}
	if was == nil {
		a.What = Created
	} else if !bytes.Equal(was.Text, f.Text) {
		a.What = Configured
	}
	if len(labels) > 0 && (was == nil || !maps.Equal(was.Labels, labels)) {
		a.labels = labels
		if was != nil {
			a.What = Configured
		}
	}
	return a
}

// Changes says whether there is anything to do.
func (p *Plan) Changes() bool {
	return slices.ContainsFunc(p.Actions, func(a Action) bool { return a.What != Unchanged })
}
