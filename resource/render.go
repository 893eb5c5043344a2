package resource

import (
	"bytes"
	"encoding/json"
	"fmt"

	"go.yaml.in/yaml/v3"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/known/anypb"

	"wasmxds/definition"
	"wasmxds/printable"
)

// Format is an output format for people.
type Format string

const (
	YAML Format = "yaml"
	JSON Format = "json"
)

// Render returns all resources of a Snapshot, in the order in which an Envoy
// gets them, without what Envoy's API marks as sensitive, such as private keys.
func Render(s *Snapshot, format Format) ([]byte, error) {
	var out rendered
	for _, section := range []struct {
		name      string
		resources []*Resource
	}{
		{"clusters", s.Clusters},
		{"endpoints", s.Endpoints},
		{"secrets", s.Secrets},
		{"primer", primerOf(s)},
		{"listeners", listenersOf(s)},
		{"routes", s.Routes},
		{"slots", slotsOf(s)},
		{"extensions", s.Static},
	} {
		if err := out.add(section.name, section.resources); err != nil {
			return nil, err
		}
	}
	for _, f := range s.Filters {
		if f.Missing != "" {
			out.missing = append(out.missing, [2]string{f.Name, f.Missing})
		}
	}
	return out.text(format)
}

func primerOf(s *Snapshot) []*Resource {
	if s.Primer == nil {
		return nil
	}
	return []*Resource{s.Primer.Resource, s.Gate}
}

func listenersOf(s *Snapshot) []*Resource {
	var rs []*Resource
	for _, l := range s.Listeners {
		rs = append(rs, l.Resource)
	}
	return rs
}

func slotsOf(s *Snapshot) []*Resource {
	var rs []*Resource
	for _, c := range s.Contents() {
		rs = append(rs, c.Resource)
	}
	return rs
}

// rendered is a document with an ordered list of named sections.
type rendered struct {
	sections []section
	missing  [][2]string // filters without a module, and the reasons
}

type section struct {
	name  string
	items []json.RawMessage
}

func (r *rendered) add(name string, resources []*Resource) error {
	if len(resources) == 0 {
		return nil
	}
	s := section{name: name}
	for _, res := range resources {
		text, err := res.JSON()
		if err != nil {
			return err
		}
		s.items = append(s.items, text)
	}
	r.sections = append(r.sections, s)
	return nil
}

func (r *rendered) text(format Format) ([]byte, error) {
	var b bytes.Buffer
	b.WriteByte('{')
	for i, s := range r.sections {
		if i > 0 {
			b.WriteByte(',')
		}
		items, err := json.Marshal(s.items)
		if err != nil {
			return nil, fmt.Errorf("render %s: %w", s.name, err)
		}
		fmt.Fprintf(&b, "%q:%s", s.name, items)
	}
	if len(r.missing) > 0 {
		if len(r.sections) > 0 {
			b.WriteByte(',')
		}
		b.WriteString(`"missing":[`)
		for i, m := range r.missing {
			if i > 0 {
				b.WriteByte(',')
			}
			item, err := json.Marshal(struct {
				Name   string `json:"name"`
				Reason string `json:"reason"`
			}{m[0], m[1]})
			if err != nil {
				return nil, fmt.Errorf("render %s: %w", m[0], err)
			}
			b.Write(item)
		}
		b.WriteByte(']')
	}
	b.WriteByte('}')
	return layOut(b.Bytes(), format)
}

// layOut formats compact JSON for people.
func layOut(compact []byte, format Format) ([]byte, error) {
	switch format {
	case JSON:
		var b bytes.Buffer
		if err := json.Indent(&b, compact, "", "  "); err != nil {
			return nil, fmt.Errorf("render JSON: %w", err)
		}
		b.WriteByte('\n')
		return b.Bytes(), nil
	case YAML:
		var doc yaml.Node // keeps the order of the fields
		if err := yaml.Unmarshal(printable.JSON(compact), &doc); err != nil {
			return nil, fmt.Errorf("render YAML: %w", err)
		}
		block(&doc)
		var b bytes.Buffer
		enc := yaml.NewEncoder(&b)
		enc.SetIndent(2)
		if err := enc.Encode(&doc); err != nil {
			return nil, fmt.Errorf("render YAML: %w", err)
		}
		return b.Bytes(), enc.Close()
	}
	return nil, fmt.Errorf("unknown format %q: yaml or json", format)
}

// block removes JSON's braces and quotes where YAML does not need them.
func block(n *yaml.Node) {
	n.Style = 0
	for _, c := range n.Content {
		block(c)
	}
}

// JSON returns the resource in the form of Envoy's documentation: an object
// with its "@type", field names with underscores, and nested messages expanded.
func (r *Resource) JSON() ([]byte, error) {
	kind, err := protoregistry.GlobalTypes.FindMessageByURL(r.TypeURL)
	if err != nil {
		return nil, fmt.Errorf("render %q: %w", r.Name, err)
	}
	m := kind.New().Interface()
	if err := proto.Unmarshal(r.Value, m); err != nil {
		return nil, fmt.Errorf("render %q: %w", r.Name, err)
	}
	shown, _ := definition.Redact(m)
	packed := &anypb.Any{TypeUrl: r.TypeURL}
	if packed.Value, err = proto.Marshal(shown); err != nil {
		return nil, fmt.Errorf("render %q: %w", r.Name, err)
	}
	text, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(packed)
	if err != nil {
		return nil, fmt.Errorf("render %q: %w", r.Name, err)
	}
	return text, nil
}
