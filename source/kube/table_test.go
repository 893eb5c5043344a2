package kube

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"wasmxds/definition"
)

// still is a table that is processed when the test says so.
type still struct {
	*testing.T
	table   *table
	sender  sender
	filters *part
	plugins *part
	now     time.Time
}

func newStill(t *testing.T, removeAll bool) *still {
	table := newTable((&Cluster{}).times(), removeAll, slog.New(slog.DiscardHandler))
	s := &still{T: t, table: table, now: time.Now()}
	s.filters, s.plugins = table.part(allKinds()[0], ""), table.part(allKinds()[3], "")
	s.sender = sender{table: table, began: s.now}
	return s
}

// newSent returns one whose only object was sent.
func newSent(t *testing.T, removeAll bool) *still {
	t.Helper()
	s := newStill(t, removeAll)
	s.list(s.filters, object1("WasmFilter", "shop", "a", "1"))
	s.list(s.plugins)
	s.want(second, "whole +shop/WasmFilter/a")
	return s
}

func object1(kind, namespace, name, spec string) *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "wasmxds.dev/v1alpha1", "kind": kind,
		"metadata": map[string]any{"namespace": namespace, "name": name, "resourceVersion": "7", "managedFields": []any{}},
		"spec":     map[string]any{"order": spec}, "status": map[string]any{"a": name},
	}}
}

// batch returns what is sent after a while, in one line; "": nothing.
func (s *still) batch(later time.Duration) string {
	s.now = s.now.Add(later)
	b, _ := s.sender.step(s.now)
	if b == nil {
		return ""
	}
	var words []string
	if b.Whole {
		words = append(words, "whole")
	}
	for _, d := range b.Docs {
		switch {
		case d.Gone:
			words = append(words, "-"+d.Key.Name)
		case d.Data == nil:
			words = append(words, "="+d.Key.Name)
		default:
			words = append(words, "+"+d.Key.Name)
		}
	}
	for _, u := range b.Unknown {
		word := "?" + u.Below + u.Like
		if u.Slight {
			word += "~"
		}
		words = append(words, word)
	}
	return strings.Join(words, " ")
}

func (s *still) want(later time.Duration, want string) {
	s.Helper()
	if got := s.batch(later); got != want {
		s.Errorf("sent %q, want %q", got, want)
	}
}

func (s *still) list(p *part, all ...*unstructured.Unstructured) {
	s.Helper()
	p.outcome(answered, nil)
	if err := p.replace(all); err != nil {
		s.Fatal(err)
	}
}

const second = time.Second

// TestFirstBatch checks that the first batch is whole, and is sent when there
// is a result for every kind.
func TestFirstBatch(t *testing.T) {
	s := newStill(t, false)
	s.want(0, "")
	s.list(s.filters, object1("WasmFilter", "shop", "a", "1"))
	s.want(second, "")
	s.plugins.outcome(absent, errors.New("404"))
	s.want(second, "whole +shop/WasmFilter/a ?*/WasmPlugin/*~")
	s.want(second, "")
}

// TestKindThatIsNotListed checks that a kind without a result is waited for,
// and is then unknown.
func TestKindThatIsNotListed(t *testing.T) {
	s := newStill(t, false)
	s.list(s.filters, object1("WasmFilter", "shop", "a", "1"))
	s.want(4*second, "")
	s.want(2*second, "whole +shop/WasmFilter/a ?*/WasmPlugin/*")
	s.list(s.plugins)
	s.want(second, "whole =shop/WasmFilter/a")
}

// TestOnlyWhatCounts checks that a status, or anything else that people don't
// write, is not a change.
func TestOnlyWhatCounts(t *testing.T) {
	s := newSent(t, false)
	same := object1("WasmFilter", "shop", "a", "1")
	same.SetResourceVersion("8")
	same.SetLabels(map[string]string{"a": "b"})
	same.Object["status"] = "other"
	if err := s.filters.put(same); err != nil {
		t.Fatal(err)
	}
	s.want(second, "")
	if err := s.filters.put(object1("WasmFilter", "shop", "a", "2")); err != nil {
		t.Fatal(err)
	}
	s.want(second, "+shop/WasmFilter/a")
}

// answer is the result of discovery.
type answer struct {
	lasts bool
	err   error
}

// settle checks deleted objects after a while, like confirm.
func (s *still) settle(a answer, later time.Duration) {
	at := time.Now().Add(later)
	for _, k := range s.table.doubted(at) {
		s.table.decide(k, at, a.lasts, a.err)
	}
}

// TestGone checks that an object is gone if its kind is still served
// afterwards.
func TestGone(t *testing.T) {
	s := newStill(t, false)
	s.list(s.filters, object1("WasmFilter", "shop", "a", "1"), object1("WasmFilter", "shop", "b", "1"))
	s.list(s.plugins)
	s.want(second, "whole +shop/WasmFilter/a +shop/WasmFilter/b")
	s.filters.delete("shop", "a")
	s.settle(answer{lasts: true}, 0)
	s.want(second, "")
	s.settle(answer{err: errors.New("away")}, second)
	s.want(second, "")
	s.settle(answer{lasts: true}, 3*second)
	s.want(second, "-shop/WasmFilter/a")
	s.filters.delete("shop", "b")
	if err := s.filters.put(object1("WasmFilter", "shop", "b", "2")); err != nil {
		t.Fatal(err)
	}
	s.settle(answer{lasts: true}, 3*second)
	s.want(second, "+shop/WasmFilter/b")
}

// TestCRDDeleted checks that the objects of a deleted CRD stay, and for a while
// also after it was created again.
func TestCRDDeleted(t *testing.T) {
	for _, removeAll := range []bool{false, true} {
		t.Run(fmt.Sprint(removeAll), func(t *testing.T) {
			s := newSent(t, removeAll)
			s.filters.delete("shop", "a")
			s.settle(answer{lasts: false}, second)
			if removeAll {
				s.want(second, "-shop/WasmFilter/a")
				return
			}
			s.want(second, "whole ?*/WasmFilter/*~")
			s.filters.outcome(absent, errors.New("404"))
			s.want(second, "")
			s.list(s.filters)
			s.want(second, "whole =shop/WasmFilter/a")
			s.settle(answer{lasts: true}, 30*second)
			s.want(second, "")
			s.settle(answer{lasts: true}, 61*second)
			s.want(second, "-shop/WasmFilter/a")
		})
	}
}

// TestCRDReplaced checks that a CRD that is deleted and created again at once
// is detected while its objects are in doubt.
func TestCRDReplaced(t *testing.T) {
	s := newSent(t, false)
	s.filters.delete("shop", "a")
	s.settle(answer{lasts: false}, 0)
	s.list(s.filters)
	s.settle(answer{lasts: true}, 30*second)
	s.want(second, "")
	s.settle(answer{lasts: true}, 61*second)
	s.want(second, "-shop/WasmFilter/a")
}

// TestCRDReplacedOfOthers checks that, if a kind is not served according to one
// namespace, this applies to all: objects in doubt stay, even if the CRD exists
// again when discovery is queried.
func TestCRDReplacedOfOthers(t *testing.T) {
	s := newStill(t, false)
	root, again := s.table.part(allKinds()[0], "root"), 0
	root.begins(func() { again++ })
	s.list(s.filters, object1("WasmFilter", "shop", "a", "1"))
	s.list(s.plugins)
	s.list(root, object1("WasmFilter", "root", "all", "1"))
	s.want(second, "whole +shop/WasmFilter/a +root/WasmFilter/all")
	root.delete("root", "all")
	s.filters.delete("shop", "a")
	for range 3 {
		s.filters.outcome(absent, errors.New("404"))
	}
	s.settle(answer{lasts: true}, second)
	if s.want(second, "whole ?*/WasmFilter/*~ ?root/WasmFilter/*~"); again != 1 {
		t.Errorf("it is listed again %d times", again)
	}
	s.list(s.filters)
	s.list(root)
	s.want(second, "whole =shop/WasmFilter/a =root/WasmFilter/all")
	s.settle(answer{lasts: true}, 30*second)
	s.want(second, "")
	s.settle(answer{lasts: true}, 61*second)
	s.want(second, "-shop/WasmFilter/a -root/WasmFilter/all")
}

// TestDenied checks that what may no longer be read is unknown, not empty.
func TestDenied(t *testing.T) {
	s := newSent(t, false)
	s.filters.outcome(denied, errors.New("403"))
	s.want(second, "whole ?*/WasmFilter/*")
	s.list(s.filters)
	s.want(second, "whole =shop/WasmFilter/a")
	s.settle(answer{lasts: true}, second)
	s.want(second, "-shop/WasmFilter/a")
}

// TestAway checks that nothing is gone while the API server is unavailable,
// which becomes a problem after a while.
func TestAway(t *testing.T) {
	s := newSent(t, false)
	for _, p := range []*part{s.filters, s.plugins} {
		p.outcome(failing, errors.New("refused"))
		p.outcome(failing, errors.New("refused again"))
	}
	s.want(0, "")
	s.want(10*second, "whole ?~")
	s.filters.outcome(answered, nil)
	s.want(second, "whole =shop/WasmFilter/a ?*/WasmPlugin/*~")
	s.plugins.outcome(answered, nil)
	s.want(second, "whole =shop/WasmFilter/a")
}

// TestAwayAtFirst checks that nothing is known of an API server that was never
// reached.
func TestAwayAtFirst(t *testing.T) {
	s := newStill(t, false)
	s.filters.outcome(failing, errors.New("refused"))
	s.plugins.outcome(failing, errors.New("refused"))
	s.want(second, "whole ?")
}

// TestBurst checks that changes in quick succession are sent together.
func TestBurst(t *testing.T) {
	s := newStill(t, false)
	s.list(s.filters)
	s.list(s.plugins)
	s.want(second, "whole")
	if err := s.filters.put(object1("WasmFilter", "shop", "a", "1")); err != nil {
		t.Fatal(err)
	}
	s.now = s.table.changes.Last
	s.want(5*time.Millisecond, "")
	s.want(6*time.Millisecond, "+shop/WasmFilter/a")
}

// TestObject checks the names and scopes of documents.
func TestObject(t *testing.T) {
	c := &Cluster{Root: "infra"}
	for name, want := range map[string]string{
		"shop/WasmPlugin/auth": "WasmPlugin shop/auth shop false", "infra/Listener/a.b": "Listener infra/a.b infra true",
	} {
		called, scope := c.object(name)
		if got := fmt.Sprint(called, " ", scope.Namespace, " ", scope.Everywhere); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
	if _, err := chosen([]string{"Gateway"}); err == nil {
		t.Error("any kind is read")
	}
	if got := (&Cluster{Namespaces: []string{"a", "b"}}).namespaces(); !slices.Equal(got, []string{"a", "b", DefaultRoot}) {
		t.Errorf("namespaces %q", got)
	}
}

// TestAuthor checks that the author of an object is passed on, but not the
// author of its status.
func TestAuthor(t *testing.T) {
	at := func(minute int) string { return fmt.Sprintf("2026-03-01T12:%02d:00Z", minute) }
	entry := func(manager, subresource string, minute int) any {
		return map[string]any{"manager": manager, "operation": "Update", "subresource": subresource, "time": at(minute)}
	}
	o := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "wasmxds.dev/v1alpha1", "kind": "WasmFilter",
		"metadata": map[string]any{"name": "auth", "namespace": "shop", "generation": int64(3), "managedFields": []any{
			entry("kubectl-edit", "", 1), entry("argocd-controller", "", 5), entry("helm", "", 3), entry("xds-server", "status", 9)}},
		"spec": map[string]any{"module": map[string]any{"url": "oci://registry.example.com/auth:1"}},
	}}
	data, err := json.Marshal(document(o))
	if err != nil {
		t.Fatal(err)
	}
	parsed := definition.Parser{}.ReadObject("WasmFilter shop/auth", definition.Scope{}, data)
	if len(parsed.File.Filters) != 1 || parsed.File.Filters[0].Pos.By != "argocd-controller" || parsed.File.Filters[0].Pos.Generation != 3 {
		t.Errorf("%s is read as %+v", data, parsed.File)
	}
}
