package conditions

import (
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/validation"

	"wasmxds/admin"
	"wasmxds/definition"
	"wasmxds/module"
	"wasmxds/rollout"
	"wasmxds/source"
	"wasmxds/source/kube"
	"wasmxds/xds"
)

func auth(generation int64) kube.Object {
	return kube.Object{Kind: "WasmFilter", Namespace: "shop", Name: "auth", Generation: generation}
}

// good is a healthy fleet.
func good(change func(*admin.Status, *admin.Filter)) fleet {
	s := &admin.Status{Ready: true}
	f := admin.Filter{
		Name: "shop.auth", File: "WasmFilter shop/auth", Generation: 3, SHA256: "2c26b46b68ffc68ff99b453c1d304134", State: module.Good,
		FilterCount: xds.FilterCount{Nodes: 1000, Running: 1000},
	}
	s.Envoys.Connected = 1000
	if change != nil {
		change(s, &f)
	}
	s.Filters = []admin.Filter{f}
	return newFleet(s, map[string]string{"shop.auth": "edge-7: Unable to create Wasm plugin"})
}

// TestRunning checks that the condition is true if and only if all Envoys that
// should run the filter do.
func TestRunning(t *testing.T) {
	taken := source.Object{Revision: "3", Good: true}
	for want, f := range map[string]fleet{
		"True Running: 1000 of 1000 Envoys run sha256:2c26b46b68ff": good(nil),
		"False Failed: 981 of 1000 Envoys run sha256:2c26b46b68ff; edge-7: Unable to create Wasm plugin": good(func(_ *admin.Status, f *admin.Filter) {
			f.Running, f.Failed = 981, 19
		}),
		"False Pending: 999 of 1000 Envoys run sha256:2c26b46b68ff": good(func(_ *admin.Status, f *admin.Filter) { f.Running, f.Pending = 999, 1 }),
		"False Pending: 1000 of 1000 Envoys run sha256:2c26b46b68ff; that of an earlier generation": good(func(_ *admin.Status, f *admin.Filter) {
			f.Generation = 2
		}),
		"False ModuleFailed: 1000 of 1000 Envoys run sha256:2c26b46b68ff; 404": good(func(_ *admin.Status, f *admin.Filter) {
			f.State, f.Reason = module.Failed, "404"
		}),
		"False ModuleFetching: 1000 of 1000 Envoys run sha256:2c26b46b68ff": good(func(_ *admin.Status, f *admin.Filter) {
			f.State = module.Fetching
		}),
		"False RollingOut: 1000 of 1000 Envoys run sha256:2c26b46b68ff; wave 1 of 3": good(func(s *admin.Status, _ *admin.Filter) {
			s.Rollouts = []admin.Rollout{{State: rollout.Rolling, Words: "wave 1 of 3", Filters: []string{"shop.auth"}}}
		}),
		"False Stopped: 1000 of 1000 Envoys run sha256:2c26b46b68ff; 3 crashes": good(func(s *admin.Status, _ *admin.Filter) {
			s.Rollouts = []admin.Rollout{{State: rollout.Stopped, Words: "3 crashes", Filters: []string{"shop.auth"}}}
		}),
		"False Pending: 1000 of 1000 Envoys run sha256:2c26b46b68ff ": good(func(s *admin.Status, _ *admin.Filter) {
			s.RolledBack = []rollout.HeldStatus{{Kind: "filter", Name: "shop.auth"}}
		}),
		"False EnvoysAway: 1000 of 1000 Envoys run sha256:2c26b46b68ff; 2 more are away": good(func(_ *admin.Status, f *admin.Filter) {
			f.Away = 2
		}),
		"Unknown OtherServers: 1000 of 1000 Envoys run sha256:2c26b46b68ff; those of 1 other xds-servers may not be counted, as these are not heard": good(func(s *admin.Status, _ *admin.Filter) {
			s.Replicas = []admin.Replica{{ID: "a", Self: true, Lives: true}, {ID: "b", Lives: true, Trouble: "silent"}, {ID: "c", Trouble: "gone"}, {ID: "d", Lives: true}}
		}),
		"Unknown NoEnvoys: no Envoy is to have it": good(func(_ *admin.Status, f *admin.Filter) { f.Nodes, f.Running = 0, 0 }),
		"False Pending: is on its way":             newFleet(&admin.Status{}, nil),
	} {
		all := of(auth(3), taken, f)
		if len(all) != 2 || all[0].Status != yes {
			t.Fatalf("%v", all)
		}
		if got := fmt.Sprintf("%s %s: %s", all[1].Status, all[1].Reason, all[1].Message); got != strings.TrimSuffix(want, " ") {
			t.Errorf("%s, want %s", got, want)
		}
	}
}

// TestAccepted checks that problems are reported for the generation that was
// processed.
func TestAccepted(t *testing.T) {
	wrong := source.Object{Revision: "3", Problems: []definition.Problem{{Field: "spec.module.url", Message: "has no host"}, {Message: "is odd"}}}
	for want, taken := range map[string]source.Object{
		"True Accepted: ": {Revision: "3", Good: true},
		"False Invalid: spec.module.url: has no host; is odd":     wrong,
		"Unknown Waiting: what was last good of it stays for now": {Revision: "3"},
	} {
		c := of(auth(3), taken, good(nil))[0]
		if got := fmt.Sprintf("%s %s: %s", c.Status, c.Reason, c.Message); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
	if all := of(auth(4), wrong, good(nil)); all != nil {
		t.Errorf("of a generation that was not looked at: %v", all)
	}
	if c := of(auth(3), wrong, newFleet(&admin.Status{}, nil))[1]; c.Status != no || c.Reason != "NotAccepted" {
		t.Errorf("%v", c)
	}
}

// TestEvent checks that name and message of the Event are valid for Kubernetes,
// whatever the object and the message.
func TestEvent(t *testing.T) {
	for _, name := range []string{"auth", strings.Repeat("a", 253), strings.Repeat("a", 198) + "--b", strings.Repeat("a", 199) + ".b"} {
		o := &unstructured.Unstructured{}
		o.SetName(name)
		if wrong := validation.IsDNS1123Subdomain(eventName(o, condition{})); len(wrong) > 0 {
			t.Errorf("an Event of %s: %s", name, wrong)
		}
	}
	for _, message := range []string{"has no host", strings.Repeat("ö", 512), strings.Repeat("ö", 513), "a" + strings.Repeat("ö", 600)} {
		got := shortened(message)
		if len(got) > 1024 || !utf8.ValidString(got) || len(message) <= 1024 && got != message || len(got) < min(len(message), 1020) {
			t.Errorf("%d bytes of %d: %q", len(got), len(message), got)
		}
	}
}
