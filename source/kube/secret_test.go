package kube_test

import (
	"context"
	"encoding/base64"
	"fmt"
	"sync"
	"testing"
	"time"

	"wasmxds/source/kube"
	"wasmxds/source/kube/kubetest"
)

// following is the last reported state of a Secret.
type following struct {
	mu   sync.Mutex
	text string
}

func (f *following) tell(data map[string][]byte, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.text = string(data["tls.crt"])
	if err != nil {
		f.text = err.Error()
	}
}

func (f *following) want(t *testing.T, want string) {
	t.Helper()
	eventually(t, want, func() error {
		f.mu.Lock()
		defer f.mu.Unlock()
		if f.text != want {
			return fmt.Errorf("it says %q", f.text)
		}
		return nil
	})
}

// TestFollowSecret checks that a Secret is watched with list and watch
// permission for that Secret only, and that changes of its content, or why it
// isn't known, are reported.
func TestFollowSecret(t *testing.T) {
	s := kubetest.Start(t)
	s.Namespace("shop", "root")
	secret := func(value string) string {
		return fmt.Sprintf("{apiVersion: v1, kind: Secret, metadata: {name: web, namespace: shop}, type: Opaque, data: {tls.crt: %q}}",
			base64.StdEncoding.EncodeToString([]byte(value)))
	}
	const role = `apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: web, namespace: shop}
rules: [{apiGroups: [""], resources: [secrets], resourceNames: [web], verbs: [list, watch]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: web, namespace: shop}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: web}
subjects: [{kind: User, apiGroup: rbac.authorization.k8s.io, name: xds-server}]
`
	s.Apply(secret("one"))
	c := &kube.Cluster{Config: s.As("xds-server"), Root: "root"}
	f := &following{}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); c.FollowSecret(ctx, "shop/web", f.tell) }()
	defer func() { cancel(); <-ended }()
	f.want(t, "Secret shop/web may not be read; grant list and watch of it")
	s.Apply(role)
	f.want(t, "one")
	began := time.Now()
	s.Apply(secret("two"))
	f.want(t, "two")
	t.Logf("a change is told after %v", time.Since(began))
	s.Delete(secret(""))
	f.want(t, "Secret shop/web is not there")
	s.Apply(secret("three"))
	f.want(t, "three")
	s.Kill()
	eventually(t, "it says that the API server is away", func() error {
		f.mu.Lock()
		defer f.mu.Unlock()
		if f.text == "three" {
			return fmt.Errorf("it says %q", f.text)
		}
		return nil
	})
	s.Run()
	f.want(t, "three")

	var bad following
	c.FollowSecret(t.Context(), "shop/../../nodes", bad.tell)
	bad.want(t, "not a valid name for a Secret")
}
