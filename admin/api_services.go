package admin

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"

	"google.golang.org/protobuf/encoding/protojson"

	"wasmxds/definition"
	"wasmxds/module"
	"wasmxds/resource"
)

// Service is what a bootstrap contains of a service, GET /api/v1/services/NAME.
type Service struct {
	Name    string          `json:"name"`
	Version string          `json:"version"`
	SHA256  string          `json:"sha256"` // of its module
	Wait    bool            `json:"wait"`   // an Envoy must not start without it
	Config  json.RawMessage `json:"config"` // an envoy.extensions.wasm.v3.WasmService, without its code
}

// serveService responds with the service as it is in force everywhere.
func (s *Server) serveService(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("name")
	l := s.loaded.Load()
	if l == nil || l.Set == nil {
		answer(w, http.StatusServiceUnavailable, "the definitions are not loaded yet: try again")
		return
	}
	filters := l.inForce().Filters
	i := slices.IndexFunc(filters, func(f *module.Filter) bool { return f.Definition.Name == name })
	switch {
	case i < 0:
		answer(w, http.StatusNotFound, fmt.Sprintf("there is no service %q: xds-server status lists all filters and services", name))
		return
	case !filters[i].Definition.Serves():
		answer(w, http.StatusConflict, fmt.Sprintf("%q is a filter, no service: to make it one, write place: service into its definition", name))
		return
	case !filters[i].Ready():
		answer(w, http.StatusConflict, fmt.Sprintf("the module of service %q is not there: %s; try again when it is", name, filters[i].Reason))
		return
	}
	if s.secretFrom(r, filters[i].Definition) {
		answer(w, http.StatusForbidden, fmt.Sprintf("the configuration of service %q comes from a Secret, so only clients with a token or a client certificate get it: "+
			"start xds-server with --admin-token-file or --admin-tls-client-ca, and give the token to xds-server bootstrap with --admin-token-file", name))
		return
	}
	config, version := resource.ServiceConfig(filters[i])
	b, err := protojson.Marshal(config)
	if err != nil {
		answer(w, http.StatusInternalServerError, err.Error())
		return
	}
	d := filters[i].Definition
	s.sendJSON(w, r, Service{Name: name, Version: version, SHA256: filters[i].Module.SHA256, Wait: d.OnFailure == definition.Closed, Config: b})
}

// secretFrom reports whether a filter is secret from the client that makes a
// request. Everyone on this machine may read an admin address on loopback, and
// with --insecure everyone in the network.
func (s *Server) secretFrom(r *http.Request, f *definition.Filter) bool {
	if f.ConfigSecret == nil {
		return false
	}
	certified := r.TLS != nil && len(r.TLS.VerifiedChains) > 0
	return !certified && !s.opts.Operators.Reading.shownIn(r) && !s.opts.Operators.Token.shownIn(r)
}
