package conditions_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"

	"wasmxds/rollout"
	"wasmxds/source/kube/conditions"
	"wasmxds/source/kube/kubetest"
)

// moving is the changes that Told returns.
type moving struct {
	mu    sync.Mutex
	all   []rollout.ChangeStatus
	looks int
	leads bool
}

func (m *moving) told(context.Context) (rollout.Status, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return rollout.Status{Changes: slices.Clone(m.all)}, nil
}

func (m *moving) isLeader() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.looks++
	return m.leads
}

func (m *moving) set(leads bool, all ...rollout.ChangeStatus) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.leads, m.all = leads, all
}

// looked waits for a few more updates.
func (m *moving) looked(t *testing.T) {
	t.Helper()
	count := func() int { m.mu.Lock(); defer m.mu.Unlock(); return m.looks }
	for from, end := count(), time.Now().Add(time.Minute); count() < from+5; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it does not look")
		}
	}
}

const changeID = "0123456789abcdef0123456789abcdef"

func aChange(state rollout.State, settled int, words string) rollout.ChangeStatus {
	return rollout.ChangeStatus{
		ID: changeID, Title: "shop.auth", State: state, Words: words, Policy: "careful", Opened: time.Unix(1700000000, 0),
		Definitions: []rollout.DefinitionStatus{{Kind: "filter", Name: "shop.auth", What: "changed"}},
		Wave:        1, Waves: make([]rollout.WaveStatus, 3), Concerned: 1000, Reached: 10, Settled: settled,
	}
}

var changeKind = schema.GroupVersionResource{Group: "wasmxds.dev", Version: "v1alpha1", Resource: "changes"}

// change waits for a status of the change's object, and returns the object.
func change(t *testing.T, s *kubetest.Server, want string) *unstructured.Unstructured {
	t.Helper()
	for end := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		is, err := s.Client.Resource(changeKind).Namespace("root").Get(t.Context(), changeID[:12], metav1.GetOptions{})
		got := fmt.Sprint(err)
		if err == nil {
			text := func(field string) string { v, _, _ := unstructured.NestedString(is.Object, "status", field); return v }
			got = fmt.Sprintf("%s %s %s: %s", text("state"), text("inWave"), text("progress"), text("message"))
		}
		if got == want {
			return is
		}
		if time.Now().After(end) {
			t.Fatalf("it says %s, want %s", got, want)
		}
	}
}

// events returns the messages of the Events of changes.
func events(t *testing.T, s *kubetest.Server) []string {
	t.Helper()
	list, err := s.Client.Resource(schema.GroupVersionResource{Version: "v1", Resource: "events"}).Namespace("root").
		List(t.Context(), metav1.ListOptions{FieldSelector: "involvedObject.kind=Change"})
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, e := range list.Items {
		message, _, _ := unstructured.NestedString(e.Object, "message")
		all = append(all, message)
	}
	return all
}

// table returns what kubectl prints of changes, without their age.
func table(t *testing.T, s *kubetest.Server) []string {
	t.Helper()
	client, err := rest.HTTPClientFor(s.Config)
	if err != nil {
		t.Fatal(err)
	}
	defer client.CloseIdleConnections()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.Config.Host+"/apis/wasmxds.dev/v1alpha1/namespaces/root/changes", nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Accept", "application/json;as=Table;v=v1;g=meta.k8s.io")
	response, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	var printed metav1.Table
	if err := json.NewDecoder(response.Body).Decode(&printed); err != nil {
		t.Fatal(err)
	}
	var words []string
	for _, c := range printed.ColumnDefinitions {
		if c.Priority == 0 {
			words = append(words, c.Name)
		}
	}
	for _, row := range printed.Rows {
		for i, c := range printed.ColumnDefinitions {
			if c.Priority == 0 && c.Name != "Age" {
				words = append(words, fmt.Sprint(row.Cells[i]))
			}
		}
	}
	return words
}

// grant gives xds-server the Role of that name in docs/kubernetes.md, in a
// namespace.
func grant(t *testing.T, s *kubetest.Server, namespace, name string) {
	t.Helper()
	text, err := os.ReadFile("../../../docs/kubernetes.md")
	if err != nil {
		t.Fatal(err)
	}
	_, role, _ := strings.Cut(string(text), "kind: Role\nmetadata: {name: "+name+", namespace: wasmxds-system}\n")
	role, _, ok := strings.Cut(role, "```")
	if !ok {
		t.Fatalf("no Role %s in docs/kubernetes.md", name)
	}
	s.Apply(fmt.Sprintf("apiVersion: rbac.authorization.k8s.io/v1\nkind: Role\nmetadata: {name: %s, namespace: %s}\n%s---\n", name, namespace, role) +
		fmt.Sprintf(`apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: %s, namespace: %s}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: %[1]s}
subjects: [{kind: User, apiGroup: rbac.authorization.k8s.io, name: xds-server}]
`, name, namespace))
}

// TestChanges checks that a real API server has an object for each change,
// which is written only when it changes, by a user with the permissions in
// docs/kubernetes.md.
func TestChanges(t *testing.T) {
	s := kubetest.Start(t)
	s.Apply(kubetest.CRDs(t))
	s.Namespace("root")
	grant(t, s, "root", "wasmxds-changes")
	client, err := dynamic.NewForConfig(s.As("xds-server"))
	if err != nil {
		t.Fatal(err)
	}
	m := &moving{}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	w := &conditions.Changes{
		Client: client, Namespace: "root", Told: m.told, Log: slog.New(slog.DiscardHandler), Every: 20 * time.Millisecond,
		Leads: m.isLeader,
	}
	go func() { defer close(done); w.Run(ctx) }()
	defer func() { cancel(); <-done }()

	m.set(true, aChange(rollout.Rolling, 9, "in wave 1 of 3: 9 of 10 Envoys run it"))
	is := change(t, s, "rolling 1 of 3 9 of 1000: in wave 1 of 3: 9 of 10 Envoys run it")
	if id, _, _ := unstructured.NestedString(is.Object, "status", "id"); id != changeID {
		t.Errorf("id %q", id)
	}
	if got := table(t, s); !slices.Equal(got, []string{"Name", "Of", "State", "Wave", "Running", "Age", "0123456789ab", "shop.auth", "rolling", "1 of 3", "9 of 1000"}) {
		t.Errorf("kubectl would print %q", got)
	}
	// Passing seconds cause no write.
	m.set(true, aChange(rollout.Rolling, 9, "in wave 1 of 3: 9 of 10 Envoys run it, for 1s of 2m0s"))
	m.looked(t)
	if again := change(t, s, "rolling 1 of 3 9 of 1000: in wave 1 of 3: 9 of 10 Envoys run it"); again.GetResourceVersion() != is.GetResourceVersion() {
		t.Error("it is written again, though nothing changed")
	}
	// Only the leader writes.
	m.set(false, aChange(rollout.Rolling, 10, "in wave 1 of 3: all 10 Envoys run it"))
	m.looked(t)
	change(t, s, "rolling 1 of 3 9 of 1000: in wave 1 of 3: 9 of 10 Envoys run it")
	// A deleted object is created again when the leader lists the objects.
	if err := s.Client.Resource(changeKind).Namespace("root").Delete(ctx, changeID[:12], metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	stopped := aChange(rollout.Stopped, 0, "stopped in wave 1 of 3: auth crashed")
	m.set(true, stopped)
	change(t, s, "stopped 1 of 3 0 of 1000: stopped in wave 1 of 3: auth crashed")
	for end := time.Now().Add(time.Minute); len(events(t, s)) == 0; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("no Event tells that it is stopped")
		}
	}
	m.set(false)
	m.looked(t)
	m.set(true, stopped) // another server leads
	m.looked(t)
	if all := events(t, s); len(all) != 1 || !strings.Contains(all[0], "auth crashed") {
		t.Errorf("Events: %q", all)
	}
	// Objects of forgotten changes are deleted.
	m.set(true)
	for end := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		list, err := s.Client.Resource(changeKind).Namespace("root").List(ctx, metav1.ListOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if len(list.Items) == 0 {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("%d objects are left over", len(list.Items))
		}
	}
}
