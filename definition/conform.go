package definition

import (
	"slices"
	"strconv"
	"strings"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/fieldmaskpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"wasmxds/definition/internal/document"
)

// conform rewrites the JSON form of a message that Envoy's own loader accepts
// into the one that protojson accepts. Envoy reads enum names in any case, many
// spellings of true and false, text where a number is expected and the reverse,
// one item in place of a list of one, and the fields of well-known types that
// have a short form. What protojson can read stays unchanged, and so does what
// neither can read, so that it is reported.
func conform(n *document.Node, of protoreflect.MessageDescriptor) *document.Node {
	if isShort(of.FullName()) {
		return conformShort(n, of)
	}
	if n.Kind != document.Object {
		return n
	}
	if of.FullName() == "google.protobuf.Any" {
		inner := messageType(n)
		switch {
		case inner == nil:
			return n
		case isShort(inner.FullName()) || inner.FullName() == "google.protobuf.Empty":
			return conformValue(n, inner)
		}
		of = inner
	}
	made := *n
	made.Fields = slices.Clone(n.Fields)
	for i, f := range n.Fields {
		fd := of.Fields().ByJSONName(f.Key)
		if fd == nil {
			fd = of.Fields().ByTextName(f.Key)
		}
		if fd != nil && f.Value.Kind != document.Null {
			made.Fields[i].Value = conformField(f.Value, fd)
		}
	}
	return &made
}

func conformField(n *document.Node, fd protoreflect.FieldDescriptor) *document.Node {
	switch {
	case fd.IsMap():
		if n.Kind != document.Object {
			return n
		}
		made := *n
		made.Fields = slices.Clone(n.Fields)
		for i, f := range n.Fields {
			made.Fields[i].Value = conformOne(f.Value, fd.MapValue())
		}
		return &made
	case fd.IsList():
		made := &document.Node{Kind: document.List, Line: n.Line, Items: []*document.Node{n}}
		if n.Kind == document.List {
			made.Items = slices.Clone(n.Items)
		}
		for i, item := range made.Items {
			made.Items[i] = conformOne(item, fd)
		}
		return made
	}
	return conformOne(n, fd)
}

func conformOne(n *document.Node, fd protoreflect.FieldDescriptor) *document.Node {
	if n.Kind == document.Null {
		return n
	}
	switch fd.Kind() {
	case protoreflect.MessageKind, protoreflect.GroupKind:
		return conform(n, fd.Message())
	case protoreflect.EnumKind:
		return conformEnum(n, fd.Enum())
	case protoreflect.BoolKind:
		return conformBool(n)
	case protoreflect.StringKind:
		return conformText(n)
	case protoreflect.BytesKind:
		return n
	}
	return conformNumber(n)
}

// conformEnum accepts an enum name in any case, or a number written as text.
func conformEnum(n *document.Node, enum protoreflect.EnumDescriptor) *document.Node {
	if n.Kind != document.Text || enum.Values().ByName(protoreflect.Name(n.Text)) != nil {
		return n
	}
	if _, err := strconv.ParseInt(n.Text, 10, 32); err == nil {
		return conformed(n, document.Number, n.Text)
	}
	for i := range enum.Values().Len() {
		if name := string(enum.Values().Get(i).Name()); strings.EqualFold(name, n.Text) {
			return conformed(n, document.Text, name)
		}
	}
	return n
}

// conformBool accepts the spellings of true and false in YAML 1.1, quoted or
// not.
func conformBool(n *document.Node) *document.Node {
	if n.Kind != document.Text {
		return n
	}
	switch strings.ToLower(n.Text) {
	case "true", "t", "yes", "y", "on", "1":
		return conformed(n, document.Bool, "true")
	case "false", "f", "no", "n", "off", "0":
		return conformed(n, document.Bool, "false")
	}
	return n
}

// conformText converts a number back to the text that was written. It leaves
// small whole numbers alone, because Envoy rejects them as text too: they are
// more often a mistake.
func conformText(n *document.Node) *document.Node {
	if n.Kind != document.Number || n.Plain == "" {
		return n
	}
	if _, err := strconv.ParseInt(n.Plain, 0, 32); err == nil {
		return n
	}
	return conformed(n, document.Text, n.Plain)
}

// conformNumber accepts numbers that are not valid JSON: +1, 01, 0x1f, .5.
func conformNumber(n *document.Node) *document.Node {
	if n.Kind != document.Text {
		return n
	}
	rest, negative := strings.CutPrefix(n.Text, "-")
	if !negative {
		rest = strings.TrimPrefix(rest, "+")
	}
	if rest == "" || !strings.ContainsRune("0123456789.", rune(rest[0])) {
		return n
	}
	if digits, ok := strings.CutPrefix(strings.ToLower(rest), "0x"); ok {
		value, err := strconv.ParseUint(digits, 16, 64)
		if err != nil {
			return n
		}
		rest = strconv.FormatUint(value, 10)
	}
	whole, fraction, _ := strings.Cut(rest, ".")
	i := strings.IndexFunc(fraction, func(r rune) bool { return r < '0' || r > '9' })
	switch {
	case whole == "" && fraction == "":
		return n
	case fraction == "" || i == 0: // 1. and 1.e5
		rest = whole + fraction
	}
	rest = strings.TrimLeft(rest, "0")
	if rest == "" || rest[0] < '0' || rest[0] > '9' {
		rest = "0" + rest
	}
	if negative {
		rest = "-" + rest
	}
	return conformed(n, document.Text, rest)
}

// isShort reports whether a well-known type has a JSON form other than its
// fields.
func isShort(name protoreflect.FullName) bool {
	switch name {
	case "google.protobuf.Duration", "google.protobuf.Timestamp", "google.protobuf.FieldMask",
		"google.protobuf.Struct", "google.protobuf.Value", "google.protobuf.ListValue":
		return true
	}
	return isWrapper(name)
}

func isWrapper(name protoreflect.FullName) bool {
	return name.Parent() == "google.protobuf" && strings.HasSuffix(string(name), "Value") &&
		name != "google.protobuf.Value" && name != "google.protobuf.ListValue"
}

// conformShort returns the short form of a well-known type, even if its fields
// are written out.
func conformShort(n *document.Node, of protoreflect.MessageDescriptor) *document.Node {
	if isWrapper(of.FullName()) {
		if n.Kind == document.Object {
			if len(n.Fields) > 1 || len(n.Fields) == 1 && n.Fields[0].Key != "value" {
				return n
			}
			written := n.Get("value")
			if written == nil {
				return zero(n, of)
			}
			n = written
		}
		return conformOne(n, of.Fields().ByName("value"))
	}
	var long proto.Message
	switch of.FullName() {
	case "google.protobuf.Duration":
		if n.Kind == document.Text && strings.HasSuffix(n.Text, "s") {
			number := conformNumber(conformed(n, document.Text, strings.TrimSuffix(n.Text, "s")))
			return conformed(n, document.Text, number.Text+"s")
		}
		long = &durationpb.Duration{}
	case "google.protobuf.Timestamp":
		long = &timestamppb.Timestamp{}
	case "google.protobuf.FieldMask":
		long = &fieldmaskpb.FieldMask{}
	}
	if long == nil || n.Kind != document.Object {
		return n
	}
	return shorten(n, long)
}

// shorten converts the fields of a well-known type to its short form.
func shorten(n *document.Node, long proto.Message) *document.Node {
	fields := long.ProtoReflect().Descriptor().Fields()
	for _, f := range n.Fields {
		fd := fields.ByTextName(f.Key)
		if fd == nil {
			return n
		}
		value := conformField(f.Value, fd)
		switch {
		case fd.IsList():
			for _, item := range value.Items {
				long.ProtoReflect().Mutable(fd).List().Append(protoreflect.ValueOfString(item.Text))
			}
		case fd.Kind() == protoreflect.Int64Kind:
			i, err := strconv.ParseInt(value.Text, 10, 64)
			if err != nil {
				return n
			}
			long.ProtoReflect().Set(fd, protoreflect.ValueOfInt64(i))
		default:
			i, err := strconv.ParseInt(value.Text, 10, 32)
			if err != nil {
				return n
			}
			long.ProtoReflect().Set(fd, protoreflect.ValueOfInt32(int32(i)))
		}
	}
	return inJSON(n, long)
}

// conformValue conforms an Any whose type has its JSON form in "value".
func conformValue(n *document.Node, of protoreflect.MessageDescriptor) *document.Node {
	made := *n
	made.Fields = slices.Clone(n.Fields)
	for i, f := range n.Fields {
		if f.Key == "value" {
			if f.Value.Kind != document.Null {
				made.Fields[i].Value = conform(f.Value, of)
			}
			return &made
		}
	}
	if value := zero(n, of); value != n {
		made.Fields = append(made.Fields, document.Field{Key: "value", Line: n.Line, Value: value})
	}
	return &made
}

// zero returns the JSON form of an empty message.
func zero(n *document.Node, of protoreflect.MessageDescriptor) *document.Node {
	t, err := protoregistry.GlobalTypes.FindMessageByName(of.FullName())
	if err != nil {
		return n
	}
	return inJSON(n, t.New().Interface())
}

// inJSON returns the JSON form of a message in the place of n. If there is no
// JSON form, it returns n.
func inJSON(n *document.Node, m proto.Message) *document.Node {
	b, err := protojson.Marshal(m)
	if err != nil {
		return n
	}
	docs, problems := document.JSON(b)
	if len(docs) != 1 || len(problems) > 0 {
		return n
	}
	docs[0].Line = n.Line
	return docs[0]
}

// conformed returns a scalar at the position of n.
func conformed(n *document.Node, kind document.Kind, text string) *document.Node {
	return &document.Node{Kind: kind, Line: n.Line, Text: text}
}
