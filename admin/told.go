package admin

import (
	"context"
	"fmt"

	"wasmxds/xds/swap"
)

// Told is the status without its nodes, and of each filter that failed on some
// Envoy what that one says.
func (s *Server) Told(ctx context.Context) (Status, map[string]string, error) {
	st := s.status()
	var err error
	if st.Rollouts, st.RolledBack, err = s.unfinished(ctx); err != nil {
		return Status{}, nil, err
	}
	worst := map[string]string{}
	failed := false
	for _, f := range st.Filters {
		failed = failed || f.Failed > 0
	}
	if !failed {
		return st, worst, nil
	}
	for _, t := range s.overview().Trouble { // the worst first
		if t.Filter != "" && t.State == swap.Failed && worst[t.Filter] == "" {
			worst[t.Filter] = fmt.Sprintf("%s: %s", t.Nodes[0], t.Reason)
		}
	}
	return st, worst, nil
}
