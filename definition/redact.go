package definition

import (
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/cncf/xds/go/udpa/annotations"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
)

// Redacted is shown in place of a secret, as in Envoy's config_dump.
const Redacted = "[redacted]"

// Redact returns a message as people may see it: without the values of fields that Envoy's
// API marks as sensitive, such as private keys, also in messages that are packed in it. The
// name of a file or of an environment variable is no secret. secrets are the values that it
// left out. m is not modified.
func Redact(m proto.Message) (shown proto.Message, secrets []string) {
	shown = proto.Clone(m)
	r := redaction{}
	r.message(shown.ProtoReflect())
	return shown, r.secrets
}

type redaction struct{ secrets []string }

func (r *redaction) message(m protoreflect.Message) {
	if packed, is := m.Interface().(*anypb.Any); is {
		r.packed(packed)
		return
	}
	m.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		sensitive, _ := proto.GetExtension(f.Options(), annotations.E_Sensitive).(bool)
		switch {
		case f.IsMap():
			r.each(f.MapValue(), sensitive, v.Map())
		case f.IsList():
			for i := range v.List().Len() {
				if masked, is := r.value(f, sensitive, v.List().Get(i)); is {
					v.List().Set(i, masked)
				}
			}
		default:
			if masked, is := r.value(f, sensitive, v); is {
				m.Set(f, masked)
			}
		}
		return true
	})
}

// each masks the values of a map.
func (r *redaction) each(f protoreflect.FieldDescriptor, sensitive bool, m protoreflect.Map) {
	m.Range(func(key protoreflect.MapKey, v protoreflect.Value) bool {
		if masked, is := r.value(f, sensitive, v); is {
			m.Set(key, masked)
		}
		return true
	})
}

// value returns what is shown in place of a value, if that must be another one. A message is
// masked in place.
func (r *redaction) value(f protoreflect.FieldDescriptor, sensitive bool, v protoreflect.Value) (protoreflect.Value, bool) {
	switch {
	case f.Message() != nil && !sensitive:
		r.message(v.Message())
	case !sensitive:
	case f.Kind() == protoreflect.StringKind:
		r.secrets = append(r.secrets, v.String())
		return protoreflect.ValueOfString(Redacted), true
	case f.Kind() == protoreflect.BytesKind:
		r.secrets = append(r.secrets, string(v.Bytes()))
		return protoreflect.ValueOfBytes([]byte(Redacted)), true
	case f.Message() != nil:
		r.source(v.Message())
	}
	return v, false
}

// source masks a message that is sensitive as a whole. Almost all of them are DataSources.
func (r *redaction) source(m protoreflect.Message) {
	source, is := m.Interface().(*corev3.DataSource)
	if !is {
		b, err := proto.MarshalOptions{Deterministic: true}.Marshal(m.Interface())
		if err != nil {
			b = []byte(err.Error()) // it is cleared all the same
		}
		r.secrets = append(r.secrets, string(b))
		proto.Reset(m.Interface())
		return
	}
	switch s := source.GetSpecifier().(type) {
	case *corev3.DataSource_InlineString:
		r.secrets = append(r.secrets, s.InlineString)
	case *corev3.DataSource_InlineBytes:
		r.secrets = append(r.secrets, string(s.InlineBytes))
	default:
		return
	}
	source.Specifier = &corev3.DataSource_InlineString{InlineString: Redacted}
}

// packed masks the message that is packed in another one. What is of an unknown type can't
// be printed anyway.
func (r *redaction) packed(a *anypb.Any) {
	m, err := a.UnmarshalNew()
	if err != nil {
		return
	}
	before := len(r.secrets)
	r.message(m.ProtoReflect())
	if len(r.secrets) == before {
		return // its bytes stay as they are
	}
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		b = nil
	}
	a.Value = b
}
