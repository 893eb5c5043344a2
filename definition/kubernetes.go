package definition

import (
	"maps"
	"slices"
	"strings"

	"wasmxds/definition/internal/document"
)

// Metadata is the metadata of a Kubernetes object. Fields that a cluster sets
// are accepted, so that the output of kubectl can be used as it is. Only the
// name and the namespace are used here.
type Metadata struct {
	Name      string `json:"name" jsonschema:"required"`
	Namespace string `json:"namespace"`

	Annotations                *document.Node `json:"annotations"`
	CreationTimestamp          *document.Node `json:"creationTimestamp"`
	DeletionGracePeriodSeconds *document.Node `json:"deletionGracePeriodSeconds"`
	DeletionTimestamp          *document.Node `json:"deletionTimestamp"`
	Finalizers                 *document.Node `json:"finalizers"`
	GenerateName               *document.Node `json:"generateName"`
	Generation                 *document.Node `json:"generation"`
	Labels                     *document.Node `json:"labels"`
	ManagedFields              *document.Node `json:"managedFields"`
	OwnerReferences            *document.Node `json:"ownerReferences"`
	ResourceVersion            *document.Node `json:"resourceVersion"`
	SelfLink                   *document.Node `json:"selfLink"`
	UID                        *document.Node `json:"uid"`
}

// Qualified returns namespace.name, or the name alone if there is no namespace.
func (m Metadata) Qualified() string {
	if m.Namespace == "" {
		return m.Name
	}
	return m.Namespace + "." + m.Name
}

// list is what kubectl prints for several objects.
type list struct {
	APIVersion string           `json:"apiVersion" jsonschema:"required,enum=v1"`
	Kind       string           `json:"kind"`
	Metadata   *document.Node   `json:"metadata"`
	Items      []*document.Node `json:"items" jsonschema:"required"`
}

// readList reads each item of a List as a document of its own.
func readList(d *Doc) {
	var l list
	before := len(d.problems)
	d.Decode(&l)
	if i := slices.IndexFunc(d.problems[before:], func(p Problem) bool { return !p.Warning }); i >= 0 && l.Items == nil {
		d.miss(Unread(d.problems[before+i]), d.item)
	}
	for _, item := range l.Items {
		d.document(item, true)
	}
}

// imageURL returns the module URL for the name of an image, which may lack
// oci://, and the digest that the image must have. The digest replaces a tag,
// since it is more specific.
func imageURL(name, digest string) string {
	if !strings.Contains(name, "://") {
		name = "oci://" + name
	}
	if digest == "" || strings.Contains(name, "@") {
		return name
	}
	slash := strings.LastIndex(name, "/")
	if colon := strings.LastIndex(name, ":"); colon > slash {
		name = name[:colon]
	}
	return name + "@sha256:" + digest
}

// Image checks an image and its separate digest, and returns the URL.
func (d *Doc) Image(urlPath, name, digestPath, digest string) string {
	digest = d.SHA256(digestPath, digest)
	if _, written, ok := strings.Cut(name, "@sha256:"); ok {
		written = d.SHA256(urlPath, written)
		if digest != "" && digest != written {
			d.Problem(digestPath, "", "differs from the digest in the url")
		}
	}
	return d.ModuleURL(urlPath, imageURL(name, digest))
}

// GatewayLabel is the label with a Gateway's name that its Envoys have.
const GatewayLabel = "gateway.networking.k8s.io/gateway-name"

// Labels checks labels that select workloads.
func (d *Doc) Labels(path string, labels map[string]string) {
	for _, key := range slices.Sorted(maps.Keys(labels)) {
		if strings.Contains(key+labels[key], "*") {
			d.Problem(path, "", "%s: %s has a wildcard, but labels are compared as they are", key, labels[key])
		}
	}
}

// PullPolicyOf returns the PullPolicy for Kubernetes' name of it.
func PullPolicyOf(policy string) PullPolicy {
	switch policy {
	case "Always":
		return PullAlways
	case "IfNotPresent":
		return PullIfNotPresent
	}
	return PullDefault
}
