package identity_test

import (
	"crypto/x509"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"wasmxds/definition"
	"wasmxds/identity"
)

const policy = `# who may be what
rules:
- who:
  - spiffe://example.com/edge/*
  - "*.edge.example.com"
  ids: ["$1", "$1-*"]
  clusters: edge
  labels: {app: [shop, "cart-?"], zone: "*", "team.*": "$1"}
- who: spiffe://example.com/ops/**
  ids: "*"
- {who: [urn:uuid:1234], ids: [printer], clusters: [a, b], labels: {}}
`

func mustParse(t *testing.T, text string) *identity.Policy {
	t.Helper()
	p, problems := identity.Parse("policy.yaml", []byte(text))
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	return p
}

func TestAllow(t *testing.T) {
	p := mustParse(t, policy)
	node := func(id, cluster string, labels ...string) definition.Node {
		n := definition.Node{ID: id, Cluster: cluster, Labels: map[string]string{}}
		for _, l := range labels {
			k, v, _ := strings.Cut(l, "=")
			n.Labels[k] = v
		}
		return n
	}
	for _, tc := range []struct {
		who  string
		node definition.Node
		want string // "": allowed
	}{
		{"spiffe://example.com/edge/e1", node("e1", "edge"), ""},
		{"spiffe://example.com/edge/e1", node("e1-a", "edge", "app=shop", "zone=x", "team.a=e1"), ""},
		{"spiffe://example.com/edge/e1", node("e1", "edge", "app=cart-7"), ""},
		{"e1.edge.example.com", node("e1", "edge"), ""},
		{"other e1.edge.example.com", node("e1", "edge"), ""},
		{"spiffe://example.com/ops/a/b/c", node("anything", "anywhere", "app=x"), ""},
		{"urn:uuid:1234", node("printer", "b"), ""},

		{"", node("e1", "edge"), "the client showed no certificate with a URI or DNS name"},
		{"spiffe://example.com/edge/e1", node("e2", "edge"), `spiffe://example.com/edge/e1 may not be node "e2", only one of e1, e1-* (policy.yaml:3)`},
		{"spiffe://example.com/edge/e1", node("e1", "core"), `spiffe://example.com/edge/e1 may not be in cluster "core", only in edge (policy.yaml:3)`},
		{"spiffe://example.com/edge/e1", node("e1", "edge", "app=bank"), `spiffe://example.com/edge/e1 may not have the label app="bank", only one of shop, cart-? (policy.yaml:3)`},
		{"spiffe://example.com/edge/e1", node("e1", "edge", "team.a=e2"), `spiffe://example.com/edge/e1 may not have the label team.a="e2", only e1 (policy.yaml:3)`},
		{"spiffe://example.com/edge/e1", node("e1", "edge", "root=yes"), `spiffe://example.com/edge/e1 may not have a label root (policy.yaml:3)`},
		{"urn:uuid:1234", node("printer", "a", "app=x"), `urn:uuid:1234 may not have a label app (policy.yaml:11)`},
		{"spiffe://example.com/edge/e1/x", node("e1", "edge"), "no rule of policy.yaml is for spiffe://example.com/edge/e1/x"},
		{"spiffe://example.com/edge/", node("", "edge"), "no rule of policy.yaml is for spiffe://example.com/edge/"},
		{"spiffe://example.com/ops", node("e1", "edge"), "no rule of policy.yaml is for spiffe://example.com/ops"},
		{"spiffe://example.com.evil.com/edge/e1", node("e1", "edge"), "no rule of policy.yaml is for spiffe://example.com.evil.com/edge/e1"},
		{"a.b.edge.example.com", node("a", "edge"), "no rule of policy.yaml is for a.b.edge.example.com"},
		{"edge.example.com xedgeyexample.com", node("a", "edge"), "no rule of policy.yaml is for edge.example.com, xedgeyexample.com"},
		// The text that a wildcard matches is not itself a glob.
		{"*.edge.example.com", node("e1", "edge"), `*.edge.example.com may not be node "e1", only one of \*, \*-* (policy.yaml:3)`},
	} {
		err := p.Allow(strings.Fields(tc.who), tc.node)
		got := ""
		if err != nil {
			got = err.Error()
		}
		if got != tc.want {
			t.Errorf("%s as %v: %q, want %q", tc.who, tc.node, got, tc.want)
		}
	}
	if err := new(identity.Policy).Allow([]string{"a"}, definition.Node{}); err == nil {
		t.Error("the zero Policy allows")
	}
	if err := mustParse(t, "rules: []").Allow([]string{"a"}, definition.Node{}); err == nil {
		t.Error("a Policy without rules allows")
	}
}

func TestProblems(t *testing.T) {
	for text, want := range map[string]string{
		"":                                   "policy.yaml: is empty; to refuse everyone, write rules: []",
		"rules: [":                           "policy.yaml:1: not YAML: did not find expected node content",
		"- a":                                "policy.yaml:1: needs a mapping with rules, operators\npolicy.yaml:1: rules: is missing",
		"rule: []":                           "policy.yaml:1: rule: unknown field; there are rules, operators\npolicy.yaml:1: rules: is missing",
		"rules: a":                           "policy.yaml:1: rules: needs a list",
		"rules: []\n---\n{}":                 "policy.yaml:2: a policy is one document",
		"rules: []\nrules: []":               "policy.yaml:2: rules: is already defined on line 1",
		"rules:\n- a":                        "policy.yaml:2: rules[0]: needs a mapping with who, ids, clusters, labels",
		"rules:\n- {}":                       "policy.yaml:2: rules[0].who: is missing\npolicy.yaml:2: rules[0].ids: is missing",
		"rules:\n- who: []\n  ids: 7":        "policy.yaml:2: rules[0].who: is empty\npolicy.yaml:3: rules[0].ids: needs text; put it in quotes where it is a number, true, false or null",
		"rules:\n- who: [\"a b\"]\n  ids: a": `policy.yaml:2: rules[0].who[0]: "a b" is neither a URI nor a DNS name`,
		"rules:\n- who: \"spiffe://*/a\"\n  ids: a":               `policy.yaml:2: rules[0].who[0]: "spiffe://*/a" needs its host or trust domain written out`,
		"rules:\n- who: \"*:a\"\n  ids: a":                        `policy.yaml:2: rules[0].who[0]: "*:a" needs its scheme written out`,
		"rules:\n- who: spiffe://a/**/b\n  ids: a":                `policy.yaml:2: rules[0].who[0]: "spiffe://a/**/b" has ** elsewhere than at the end of a path`,
		"rules:\n- who: spiffe://A/b\n  ids: a":                   `policy.yaml:2: rules[0].who[0]: "spiffe://A/b" is not a SPIFFE ID: trust domain characters are limited to lowercase letters, numbers, dots, dashes, and underscores`,
		"rules:\n- who: [a.*.*, b.*]\n  ids: $2":                  `policy.yaml:3: rules[0].ids[0]: "$2" has $2, but an entry of who has only 1 of *`,
		"rules:\n- who: a\n  ids: [\"$x\", \"[\", \"a$$\"]":       "policy.yaml:3: rules[0].ids[0]: \"$x\" has a $ that is followed by neither 1 to 9 nor $\npolicy.yaml:3: rules[0].ids[1]: \"[\" is not a glob",
		"rules:\n- who: a\n  ids: a\n  labels: [a]":               "policy.yaml:4: rules[0].labels: needs a mapping of labels to values",
		"rules:\n- who: a\n  ids: a\n  labels: {\"[\": b, c: {}}": "policy.yaml:4: rules[0].labels.[: is not a glob\npolicy.yaml:4: rules[0].labels.c: needs a list",
		"a: &a {}\nrules: *a":                                     "policy.yaml:1: a: unknown field; there are rules, operators\npolicy.yaml:2: rules: needs a list",
		"rules: []\noperators: [a b, spiffe://*/a]":               "policy.yaml:2: operators[0]: \"a b\" is neither a URI nor a DNS name\npolicy.yaml:2: operators[1]: \"spiffe://*/a\" needs its host or trust domain written out",
		"rules: []\noperators: []":                                "policy.yaml:2: operators: is empty",
		"operators: [a]":                                          "policy.yaml:1: rules: is missing",
		strings.Repeat("#", identity.MaxSize+1):                   fmt.Sprintf("policy.yaml: larger than %d bytes", identity.MaxSize),
	} {
		p, problems := identity.Parse("policy.yaml", []byte(text))
		var got []string
		for _, problem := range problems {
			got = append(got, problem.Error())
		}
		if p != nil || strings.Join(got, "\n") != want {
			t.Errorf("%.80q:\n%s\nwant:\n%s", text, strings.Join(got, "\n"), want)
		}
	}
}

// TestOperator checks that permission to be a node and to operate are
// independent.
func TestOperator(t *testing.T) {
	p := mustParse(t, policy+"operators: [spiffe://example.com/admins/*, ops.example.com]\n")
	for who, want := range map[string]string{
		"":                              "",
		"spiffe://example.com/edge/e1":  "",
		"spiffe://example.com/ops/a":    "",
		"spiffe://example.com/admins/a": "spiffe://example.com/admins/a",
		"other ops.example.com":         "ops.example.com",
		"spiffe://example.com/admins":   "",
		"spiffe://example.com/admins/a/b spiffe://example.org/admins/a ops.example.com.evil.com xops.example.com": "",
	} {
		if got := p.Operator(strings.Fields(who)); got != want {
			t.Errorf("%s: %q, want %q", who, got, want)
		}
	}
	if err := p.Allow([]string{"ops.example.com"}, definition.Node{ID: "a"}); err == nil {
		t.Error("an operator may be a node")
	}
	for _, none := range []*identity.Policy{new(identity.Policy), mustParse(t, policy)} {
		if got := none.Operator([]string{"ops.example.com"}); got != "" {
			t.Errorf("an operator by a policy without any: %q", got)
		}
	}
}

func TestLoad(t *testing.T) {
	path := filepath.Join(t.TempDir(), "policy.yaml")
	if _, problems := identity.Load(path); len(problems) != 1 || problems[0].Error() != path+": can't be read: no such file or directory" {
		t.Errorf("%v", problems)
	}
	if err := os.WriteFile(path, []byte(policy), 0o600); err != nil {
		t.Fatal(err)
	}
	if p, problems := identity.Load(path); p == nil || len(problems) > 0 {
		t.Errorf("%v", problems)
	}
}

func TestOf(t *testing.T) {
	uris := func(texts ...string) []*url.URL {
		var us []*url.URL
		for _, text := range texts {
			u, err := url.Parse(text)
			if err != nil {
				t.Fatal(err)
			}
			us = append(us, u)
		}
		return us
	}
	for _, tc := range []struct {
		cert x509.Certificate
		want []string
	}{
		{x509.Certificate{}, nil},
		{x509.Certificate{URIs: uris("spiffe://a/b"), DNSNames: []string{"B.example.com."}}, []string{"spiffe://a/b", "b.example.com"}},
		{x509.Certificate{URIs: uris("spiffe://a/b", "urn:x")}, []string{"urn:x"}},
		{x509.Certificate{URIs: uris("spiffe://a/b?c")}, nil},
		{x509.Certificate{URIs: uris("relative/path")}, nil},
		{x509.Certificate{DNSNames: []string{"spiffe://a/b", "a b", "ok"}}, []string{"ok"}},
	} {
		if got := identity.Of(&tc.cert); !slices.Equal(got, tc.want) {
			t.Errorf("%v %v: %q, want %q", tc.cert.URIs, tc.cert.DNSNames, got, tc.want)
		}
	}
}

func ExamplePolicy_Allow() {
	p, problems := identity.Parse("policy.yaml", []byte(`
rules:
- who: spiffe://example.com/edge/*
  ids: "$1"
`))
	if len(problems) > 0 {
		fmt.Println(problems)
		return
	}
	who := []string{"spiffe://example.com/edge/edge-1"}
	fmt.Println(p.Allow(who, definition.Node{ID: "edge-1"}))
	fmt.Println(p.Allow(who, definition.Node{ID: "core-1"}))
	// Output:
	// <nil>
	// spiffe://example.com/edge/edge-1 may not be node "core-1", only edge-1 (policy.yaml:3)
}

// FuzzPolicy checks that any input is either accepted or rejected with an
// existing line, and decisions never panic.
func FuzzPolicy(f *testing.F) {
	f.Add(policy, "spiffe://example.com/edge/e1", "e1")
	f.Add("rules:\n- who: \"*.a\"\n  ids: [\"$1$$[x]\"]", "[.a", "[$x")
	f.Add("rules:\n- who: a\n  ids: &a [*a]", "a", "b")
	f.Fuzz(func(t *testing.T, text, who, id string) {
		p, problems := identity.Parse("policy.yaml", []byte(text))
		if (p == nil) == (len(problems) == 0) {
			t.Fatalf("policy %v, problems %v", p, problems)
		}
		for _, problem := range problems {
			if problem.Line > strings.Count(text, "\n")+strings.Count(text, "\r")+strings.Count(text, "\u0085")+strings.Count(text, "\u2028")+strings.Count(text, "\u2029")+1 {
				t.Fatalf("%v: there is no such line", problem)
			}
		}
		if p != nil {
			_ = p.Allow([]string{who}, definition.Node{ID: id, Cluster: who, Labels: map[string]string{id: who}})
		}
	})
}
