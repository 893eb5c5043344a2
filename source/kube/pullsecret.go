package kube

import (
	"cmp"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/client-go/dynamic"
)

// Type and key of Kubernetes' own pull secrets.
const (
	pullSecretType = "kubernetes.io/dockerconfigjson"
	pullSecretKey  = ".dockerconfigjson"
)

// PullSecret reads a pull secret by its name in a definition: NAME is in the
// root namespace, NAMESPACE/NAME in another. It does not cache it.
func (c *Cluster) PullSecret(ctx context.Context, named string) ([]byte, error) {
	key, o, err := c.secret(ctx, named)
	if err != nil {
		return nil, err
	}
	if of, _, _ := unstructured.NestedString(o.Object, "type"); of != pullSecretType {
		return nil, fmt.Errorf("%v is of type %q, needs %s", key, of, pullSecretType)
	}
	text, _, _ := unstructured.NestedString(o.Object, "data", pullSecretKey)
	b, err := base64.StdEncoding.DecodeString(text)
	if err == nil && len(b) == 0 {
		err = errors.New("is empty")
	}
	if err != nil {
		return nil, fmt.Errorf("%v: %s: %w", key, pullSecretKey, err)
	}
	return b, nil
}

// secret reads a Secret.
func (c *Cluster) secret(ctx context.Context, named string) (valueKey, *unstructured.Unstructured, error) {
	client, err := dynamic.NewForConfig(c.Config)
	if err != nil {
		return valueKey{}, nil, fmt.Errorf("kubernetes: %w", err)
	}
	key, err := c.secretKey(named)
	if err != nil {
		return key, nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, cmp.Or(c.patience, 5*time.Second))
	defer cancel()
	o, err := client.Resource(key.resource()).Namespace(key.namespace).Get(ctx, key.name, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		return key, nil, fmt.Errorf("%v is not there", key)
	case apierrors.IsForbidden(err), apierrors.IsUnauthorized(err):
		return key, nil, fmt.Errorf("%v may not be read; grant get of it", key)
	case err != nil:
		return key, nil, fmt.Errorf("read %v: %w", key, err)
	}
	return key, o, nil
}

// secretKey returns the key of a Secret by its name in a definition.
func (c *Cluster) secretKey(named string) (valueKey, error) {
	namespace, name, ok := strings.Cut(named, "/")
	if !ok {
		namespace, name = c.root(), named
	}
	key := valueKey{"Secret", namespace, name}
	if len(validation.IsDNS1123Label(namespace))+len(validation.IsDNS1123Subdomain(name)) > 0 {
		return key, errors.New("not a valid name for a Secret")
	}
	return key, nil
}
