package kubetest

import (
	"bufio"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
)

// Right is what a user may do with a resource: a verb, and the resource as a role
// names it, with its group behind a dot ("wasmfilters.wasmxds.dev"), and what is
// below it behind a slash.
type Right struct{ Verb, Resource string }

// NewRight is the right to do something with a resource of a group.
func NewRight(verb, group, resource, sub string) Right {
	if group != "" {
		resource += "." + group
	}
	if sub != "" {
		resource += "/" + sub
	}
	return Right{verb, resource}
}

// StartAudited starts a server that remembers who has asked for what: see Used.
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

// Used are the rights that a user has made use of since the server was started, and
// those that the user asked for in vain.
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
			continue // the last line may still be on its way
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
