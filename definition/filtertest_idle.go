package definition

import (
	"fmt"
	"slices"

	"wasmxds/definition/internal/document"
)

// Untested returns why xds-server does not run the tests of a filter, or "" if
// it does.
func (f *Filter) Untested() string {
	switch {
	case f.Lua != nil:
		return "is a LuaFilter, which Envoy alone runs"
	case f.Logs():
		return "is an access logger, and changes no requests"
	case f.Serves():
		return "is a service of Envoy itself, and has no requests"
	case f.Module.Fetch == Direct && f.Module.SHA256 != "":
		return "has fetch: direct, so its module is not here"
	}
	return ""
}

// idleTests reports FilterTests that are never run.
func idleTests(files []*File, set *Set) []Problem {
	if len(set.Tests) == 0 {
		return nil
	}
	filters := map[string]*Filter{}
	var names []string
	for _, f := range set.Filters {
		filters[f.Name] = f
		names = append(names, f.Name)
	}
	var problems []Problem
	for _, file := range files {
		for _, t := range file.Tests {
			f := filters[t.Filter]
			switch {
			case f == nil:
				hint := document.Suggest(t.Filter, names)
				problems = append(problems, file.problem(t, "filter", fmt.Sprintf("there is no filter %q, so these tests are not run", t.Filter), hint))
			case f.Untested() != "":
				problems = append(problems, file.problem(t, "filter", fmt.Sprintf("these tests are not run: %s %s", t.Filter, f.Untested()), ""))
			}
		}
	}
	return slices.Clip(problems)
}
