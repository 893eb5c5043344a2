package kubetest

import (
	"bufio"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
)

// Right is a permission of a user for a resource: a verb, and the resource as
// in a role, with its group after a dot ("wasmfilters.wasmxds.dev") and its
// subresource after a slash.
type Right struct{ Verb, Resource string }

// NewRight returns the permission for a verb on a resource of a group.
func NewRight(verb, group, resource, sub string) Right {
	if group != "" {
		resource += "." + group
	}
	if sub != "" {
		resource += "/" + sub
	}
	return Right{verb, resource}
}

// StartAudited starts a server that records which permissions are used; see
// Used.
func StartAudited(t testing.TB) *Server {
	t.Helper()
	return start(t, func(s *Server) []string {
		policy := s.write("audit.yaml", []byte(`apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules: [{level: Metadata}]
`))
		return []string{"--audit-policy-file=" + policy, "--audit-log-path=" + s.auditLog()}
	})
}

func (s *Server) auditLog() string { return filepath.Join(s.dir, "audit.log") }

// Used returns the permissions that a user has exercised since the server was
// started, and those that were denied.
func (s *Server) Used(user string) (used, refused map[Right]bool) {
	s.t.Helper()
	log, err := os.Open(s.auditLog())
	if err != nil {
		s.t.Fatal(err)
	}
	defer log.Close()
	used, refused = map[Right]bool{}, map[Right]bool{}
	lines := bufio.NewScanner(log)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var e struct {
			Verb           string
			User           struct{ Username string }
			ObjectRef      *struct{ Resource, Subresource, APIGroup string }
			ResponseStatus struct{ Code int }
		}
		if json.Unmarshal(lines.Bytes(), &e) != nil || e.User.Username != user || e.ObjectRef == nil {
			continue // the last line may be incomplete
		}
		r := NewRight(e.Verb, e.ObjectRef.APIGroup, e.ObjectRef.Resource, e.ObjectRef.Subresource)
		if e.ResponseStatus.Code == 403 {
			refused[r] = true
		} else {
			used[r] = true
		}
	}
	if err := lines.Err(); err != nil {
		s.t.Fatal(err)
	}
	return used, refused
}
