package kube_test

import (
	"encoding/base64"
	"fmt"
	"strings"
	"testing"
	"time"

	"wasmxds/source/kube"
	"wasmxds/source/kube/kubetest"
)

// TestPullSecret checks that the current content of a Secret is read by the
// name in a definition, with get permission for that Secret only.
func TestPullSecret(t *testing.T) {
	s := kubetest.Start(t)
	s.Namespace("shop", "root")
	secret := func(namespace, name, kind, key, value string) {
		s.Apply(fmt.Sprintf("{apiVersion: v1, kind: Secret, metadata: {name: %s, namespace: %s}, type: %s, data: {%s: %q}}",
			name, namespace, kind, key, base64.StdEncoding.EncodeToString([]byte(value))))
	}
	const dockerconfig = "kubernetes.io/dockerconfigjson"
	secret("shop", "registry", dockerconfig, ".dockerconfigjson", `{"auths":{"a":{}}}`)
	secret("root", "registry", dockerconfig, ".dockerconfigjson", `{"auths":{"b":{}}}`)
	secret("shop", "other", "Opaque", ".dockerconfigjson", `{}`)
	secret("shop", "hidden", dockerconfig, ".dockerconfigjson", `{}`)
	for _, namespace := range []string{"shop", "root"} {
		s.Apply(fmt.Sprintf(`apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: pull, namespace: %[1]s}
rules: [{apiGroups: [""], resources: [secrets], resourceNames: [registry, other, missing], verbs: [get]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: pull, namespace: %[1]s}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: pull}
subjects: [{kind: User, apiGroup: rbac.authorization.k8s.io, name: xds-server}]
`, namespace))
	}
	c := &kube.Cluster{Config: s.As("xds-server"), Root: "root"}
	eventually(t, "it may be read", func() error { _, err := c.PullSecret(t.Context(), "shop/registry"); return err })
	eventually(t, "it may be read in root", func() error { _, err := c.PullSecret(t.Context(), "registry"); return err })
	for name, want := range map[string]string{
		"shop/registry":            `{"auths":{"a":{}}}`,
		"registry":                 `{"auths":{"b":{}}}`,
		"shop/other":               `Secret shop/other is of type "Opaque", needs kubernetes.io/dockerconfigjson`,
		"shop/missing":             "Secret shop/missing is not there",
		"shop/hidden":              "Secret shop/hidden may not be read; grant get of it",
		"shop/../../nodes":         "not a valid name for a Secret",
		"../secrets":               "not a valid name for a Secret",
		"shop/registry?watch=true": "not a valid name for a Secret",
	} {
		b, err := c.PullSecret(t.Context(), name)
		if got := strings.ReplaceAll(string(b)+fmt.Sprint(err), "<nil>", ""); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
	secret("shop", "registry", dockerconfig, ".dockerconfigjson", `{"auths":{"c":{}}}`)
	if b, err := c.PullSecret(t.Context(), "shop/registry"); err != nil || string(b) != `{"auths":{"c":{}}}` {
		t.Errorf("it is %s after it has changed, %v", b, err)
	}
	s.Kill()
	if _, err := c.PullSecret(t.Context(), "registry"); err == nil || !strings.Contains(err.Error(), "read Secret root/registry") {
		t.Errorf("while the API server is away: %v", err)
	}
}

// eventually retries until do returns nil.
func eventually(t *testing.T, what string, do func() error) {
	t.Helper()
	for end := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		err := do()
		if err == nil {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%s: %v", what, err)
		}
	}
}
