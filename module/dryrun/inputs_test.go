package dryrun

import (
	"reflect"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"wasmxds/definition"
)

// Each field of what a trial is given makes another key.
func TestKeyOfEachInput(t *testing.T) {
	base := inputs{}.key()
	of := reflect.TypeFor[inputs]()
	for i := range of.NumField() {
		var in inputs
		other(t, reflect.ValueOf(&in).Elem().Field(i))
		if in.key() == base {
			t.Errorf("%s makes no other key", of.Field(i).Name)
		}
	}
}

// Each field of a filter either makes another key or is known to change
// nothing about how a module starts.
func TestKeyOfEachField(t *testing.T) {
	r := newRunner(t, Options{})
	nothing := map[string]bool{
		"Kind": true, "Pos": true, "VariantOf": true, "Singleton": true, "Attach": true, "Order": true, "Place": true, "OnFailure": true, "Verify": true,
		"Module": true, // the key has its content's hash
		"Lua":    true, // there is no module to try
	}
	base := r.Key(&definition.Filter{}, "00")
	of := reflect.TypeFor[definition.Filter]()
	for i := range of.NumField() {
		name := of.Field(i).Name
		var f definition.Filter
		other(t, reflect.ValueOf(&f).Elem().Field(i))
		if same := r.Key(&f, "00") == base; same != nothing[name] {
			t.Errorf("%s: the key is the same: %v", name, same)
		}
		delete(nothing, name)
	}
	for name := range nothing {
		t.Errorf("there is no field %s", name)
	}
	if r.Key(&definition.Filter{}, "01") == base {
		t.Error("another module has the same key")
	}
}

// What a filter has nothing of is not what it has something empty of.
func TestKeyOfDetails(t *testing.T) {
	r := newRunner(t, Options{HostEnv: []string{"SHOWN"}, LookupEnv: func(name string) (string, bool) { return "\xff" + name, true }})
	seen := map[string]string{}
	for name, f := range map[string]definition.Filter{
		"nothing":           {},
		"no calls":          {Allow: []string{}},
		"string":            {Config: pack(wrapperspb.String("x"))},
		"bytes":             {Config: pack(wrapperspb.Bytes([]byte("x")))},
		"VM's":              {VMConfig: pack(wrapperspb.String("x"))},
		"shown":             {HostEnv: []string{"SHOWN"}},
		"hidden":            {HostEnv: []string{"HIDDEN"}},
		"environment":       {Env: map[string]string{"SHOWN": "\xfeSHOWN"}},
		"nothing in config": {Config: &anypb.Any{TypeUrl: "type.googleapis.com/google.protobuf.Empty"}},
	} {
		key := r.Key(&f, "00")
		if before, found := seen[key]; found {
			t.Errorf("%s and %s have one key", name, before)
		}
		seen[key] = name
	}
}

// other gives a field another value than its zero one.
func other(t *testing.T, v reflect.Value) {
	t.Helper()
	switch v.Kind() {
	case reflect.String:
		v.SetString("x")
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int64:
		v.SetInt(1)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		if e := v.Index(0); e.Kind() == reflect.Uint8 {
			e.SetUint(1)
		} else {
			other(t, e)
		}
	case reflect.Map:
		key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
		other(t, key)
		other(t, value)
		v.Set(reflect.MakeMap(v.Type()))
		v.SetMapIndex(key, value)
	case reflect.Struct:
		for i := range v.NumField() {
			other(t, v.Field(i))
		}
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		if a, ok := v.Interface().(*anypb.Any); ok {
			proto.Merge(a, pack(wrapperspb.String("x")))
		}
	case reflect.Uint32:
		v.SetUint(1)
	default:
		t.Fatalf("no other value is known for a %s", v.Type())
	}
}
