package definition

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/known/anypb"

	"wasmxds/definition/internal/document"
	"wasmxds/misspelt"
)

// Bounds on the search for problems in one message: to find each one, the
// message is parsed again.
const (
	maxMessageProblems = 20
	maxMessageBytes    = 16 << 20
)

// Message fills an Envoy message from its JSON form, which it reads as Envoy's
// own loader does. It reports whether there were no errors. The parser stops at
// its first error, so Message removes the part that the error is about and
// parses the rest again, until it has found all errors.
func (d *Doc) Message(path string, n *document.Node, into proto.Message) bool {
	skip := map[*document.Node]bool{}
	n = conform(n, into.ProtoReflect().Descriptor())
	for read := 0; len(skip) < maxMessageProblems && read < maxMessageBytes; {
		text, places := n.Lines(skip)
		read += len(text)
		err := protojson.Unmarshal(text, into)
		if err == nil {
			break
		}
		line, message := messageError(err)
		place := places[min(max(line-1, 0), len(places)-1)]
		hint := ""
		message, hint = explain(message, into.ProtoReflect().Descriptor(), n, place)
		d.Problem(joinPath(path, place.Path), hint, "%s", message)
		about := place.Node
		if place.In != nil && place.Node == place.In.Get("@type") {
			about = place.In // none of its fields can be read
		}
		if about == n || skip[about] {
			return false // the error is about the whole message
		}
		skip[about] = true
		proto.Reset(into)
	}
	return len(skip) == 0
}

func joinPath(a, b string) string {
	switch {
	case a == "":
		return b
	case b == "" || strings.HasPrefix(b, "["):
		return a + b
	}
	return a + "." + b
}

// messageErrorForm matches the position in protojson's errors.
var messageErrorForm = regexp.MustCompile(`(?s)^.*?\(line (\d+):\d+\): (.*)$`)

func messageError(err error) (line int, message string) {
	if m := messageErrorForm.FindStringSubmatch(err.Error()); m != nil {
		line, _ = strconv.Atoi(m[1])
		return line, m[2]
	}
	return 1, strings.TrimLeft(strings.TrimPrefix(err.Error(), "proto:"), " \u00a0")
}

// explain rephrases an error of protojson, with a hint if there is one.
func explain(message string, of protoreflect.MessageDescriptor, n *document.Node, at document.Place) (string, string) {
	path, place := at.Path, at.Node
	parent, fd := fieldAt(of, n, document.Steps(path))
	switch {
	case strings.HasPrefix(message, "unknown field "):
		if parent == nil {
			return "unknown field", ""
		}
		steps := document.Steps(path)
		if last := len(steps) - 1; last > 0 && steps[last] == steps[last-1] { // config.config, as Envoy once wrote it
			return fmt.Sprintf("unknown field of %s", parent.Name()), "its fields belong one level up"
		}
		if steps[len(steps)-1] == "config" && parent.Fields().ByName("typed_config") != nil {
			return fmt.Sprintf("unknown field of %s", parent.Name()), "Envoy's API v2 had it: write typed_config, with the filter's @type and the same fields"
		}
		return fmt.Sprintf("unknown field of %s", parent.Name()), document.Suggest(steps[len(steps)-1], names(parent.Fields()))
	case strings.HasPrefix(message, "unable to resolve "):
		name, _, _ := strings.Cut(strings.TrimPrefix(message, "unable to resolve "), ": ")
		return fmt.Sprintf("no Envoy message is known as %s", name), unknownType(strings.Trim(name, `"`))
	case strings.HasPrefix(message, "invalid value for enum") && fd != nil && fd.Enum() != nil:
		var names []string
		for i := range fd.Enum().Values().Len() {
			names = append(names, string(fd.Enum().Values().Get(i).Name()))
		}
		_, value, _ := strings.Cut(message, ": ")
		return value + " is not a value of " + string(fd.Enum().Name()), document.Suggest(strings.Trim(value, `"`), names)
	case strings.HasPrefix(message, "invalid value for string") && place.Kind != document.Text:
		if place.Kind == document.Number || place.Kind == document.Bool {
			return fmt.Sprintf("%s, needs text", place.Kind), fmt.Sprintf("put it in quotes: %q", place.Text)
		}
		return fmt.Sprintf("%s, needs text", place.Kind), ""
	}
	if place.Kind == document.Text && strings.ContainsAny(place.Text, "${<%") {
		return message, "a placeholder is replaced before the file comes here, as by envsubst or helm template"
	}
	return message, ""
}

// unknownType returns a hint for a type that is not known.
func unknownType(url string) string {
	name := protoreflect.FullName(url[strings.LastIndex(url, "/")+1:])
	var near, alike []string
	protoregistry.GlobalTypes.RangeMessages(func(t protoreflect.MessageType) bool {
		known := t.Descriptor().FullName()
		switch {
		case known.Parent() == name.Parent() && misspelt.Nearest(string(name.Name()), []string{string(known.Name())}) != "":
			near = append(near, string(known))
		case known.Name() == name.Name() && strings.Contains(string(name), ".v2"):
			alike = append(alike, string(known))
		}
		return true
	})
	switch {
	case len(near) == 1:
		return "did you mean " + typePrefix + near[0] + "?"
	case len(alike) == 1:
		return "Envoy has no v2 any more; its successor is " + typePrefix + alike[0]
	}
	return "Envoy may know it: write type_url: " + url + ` and value: {…}, with "@type": ` + typePrefix + "xds.type.v3.TypedStruct"
}

// fieldAt returns the field at a path, and the message that it belongs to.
func fieldAt(of protoreflect.MessageDescriptor, n *document.Node, steps []string) (protoreflect.MessageDescriptor, protoreflect.FieldDescriptor) {
	for i := 0; i < len(steps) && of != nil && n != nil; i++ {
		if of.FullName() == "google.protobuf.Any" {
			if of = messageType(n); of == nil {
				return nil, nil
			}
		}
		fd := of.Fields().ByJSONName(steps[i])
		if fd == nil {
			fd = of.Fields().ByTextName(steps[i])
		}
		if i == len(steps)-1 || fd == nil {
			return of, fd
		}
		n = n.Get(steps[i])
		next := fd.Message()
		if fd.IsMap() {
			next = fd.MapValue().Message()
		}
		if fd.IsMap() || fd.IsList() {
			if i++; i == len(steps)-1 {
				return of, fd
			}
			n = n.Child(steps[i])
		}
		of = next
	}
	return nil, nil
}

// messageType returns the type that the @type of an Any names, or nil if it is
// not known.
func messageType(n *document.Node) protoreflect.MessageDescriptor {
	name := n.Get("@type")
	if name == nil {
		return nil
	}
	t, err := protoregistry.GlobalTypes.FindMessageByURL(name.Text)
	if err != nil {
		return nil
	}
	return t.Descriptor()
}

// Validate reports violations of Envoy's validation rules in a message and all
// messages within it, and returns whether there are none.
func (d *Doc) Validate(path string, n *document.Node, m proto.Message) bool {
	before := len(d.problems)
	d.validateAll(path, n, m, nil)
	return len(d.problems) == before
}

func (d *Doc) validateAll(path string, n *document.Node, m proto.Message, at []string) {
	if v, ok := m.(interface{ ValidateAll() error }); ok {
		if err := v.ValidateAll(); err != nil {
			d.invalid(path, n, err, at)
		}
	}
	d.validateAnys(path, n, m.ProtoReflect(), at)
}

// validateAnys validates messages within an Any, which Envoy's validation of
// the outer message does not reach.
func (d *Doc) validateAnys(path string, n *document.Node, m protoreflect.Message, at []string) {
	if a, ok := m.Interface().(*anypb.Any); ok {
		if inner, err := a.UnmarshalNew(); err == nil {
			d.validateAll(path, n, inner, at)
		}
		return
	}
	m.Range(func(fd protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		steps := append(at[:len(at):len(at)], fd.TextName())
		switch {
		case fd.IsMap():
			if fd.MapValue().Message() != nil {
				v.Map().Range(func(key protoreflect.MapKey, v protoreflect.Value) bool {
					d.validateAnys(path, n, v.Message(), append(steps[:len(steps):len(steps)], key.String()))
					return true
				})
			}
		case fd.Message() == nil:
		case fd.IsList():
			for i := range v.List().Len() {
				d.validateAnys(path, n, v.List().Get(i).Message(), append(steps[:len(steps):len(steps)], strconv.Itoa(i)))
			}
		default:
			d.validateAnys(path, n, v.Message(), steps)
		}
		return true
	})
}

// invalid reports each rule violation in err.
func (d *Doc) invalid(path string, n *document.Node, err error, at []string) {
	var all interface{ AllErrors() []error }
	if errors.As(err, &all) {
		for _, one := range all.AllErrors() {
			d.invalid(path, n, one, at)
		}
		return
	}
	var rule interface {
		Field() string
		Reason() string
		Cause() error
	}
	if !errors.As(err, &rule) {
		d.Problem(joinPath(path, n.Locate(at)), "", "%v", err)
		return
	}
	at = append(at[:len(at):len(at)], ruleSteps(rule.Field())...)
	if cause := rule.Cause(); cause != nil {
		d.invalid(path, n, cause, at)
		return
	}
	d.Problem(joinPath(path, n.Locate(at)), "", "%s", rule.Reason())
}

// ruleSteps converts the validator's FilterChains[0] to filter_chains, 0.
func ruleSteps(field string) []string {
	name, index, indexed := strings.Cut(field, "[")
	var snake strings.Builder
	for i, r := range name {
		if r >= 'A' && r <= 'Z' {
			if i > 0 {
				snake.WriteByte('_')
			}
			r += 'a' - 'A'
		}
		snake.WriteRune(r)
	}
	if indexed {
		return []string{snake.String(), strings.TrimSuffix(index, "]")}
	}
	return []string{snake.String()}
}
