package definition

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	luav3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/lua/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"

	"wasmxds/definition/internal/document"
)

// istiodCluster matches a Lua string with the name of a cluster in istiod's
// form: outbound|80||reviews.default.svc.cluster.local.
var istiodCluster = regexp.MustCompile(`["']((?:outbound|inbound)(?:_\.[0-9]+_\.|\|[0-9]*\|)[^"'\n]{0,300})["']`)

// fromIstiod is the hint for such a cluster.
const fromIstiod = "istiod makes such clusters, xds-server does not: add it with a CLUSTER patch or as a resource; right where the Envoys' bootstrap has it"

// istiodClusters returns the clusters of istiod that a script calls, without
// duplicates.
func istiodClusters(script string) []string {
	if !strings.Contains(script, "httpCall") {
		return nil
	}
	var names []string
	for _, found := range istiodCluster.FindAllStringSubmatch(script, -1) {
		if name := found[1]; !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

// callsNobody reports clusters that a filter's script calls and that do not
// exist.
func (f *File) callsNobody(filter *Filter, has map[[2]string]bool) []Problem {
	if filter.Lua == nil {
		return nil
	}
	var problems []Problem
	for _, name := range istiodClusters(filter.Lua.Script) {
		if !has[[2]string{clusterType, name}] {
			problems = append(problems, f.problem(filter, "inline", fmt.Sprintf("the script calls the cluster %q, which is not there", name), fromIstiod))
		}
	}
	return problems
}

// scriptReferences returns the clusters that scripts in an HTTP connection
// manager call.
func scriptReferences(m *hcmv3.HttpConnectionManager, at string) []reference {
	var found []reference
	for i, filter := range m.GetHttpFilters() {
		lua := &luav3.Lua{}
		if filter.GetTypedConfig().UnmarshalTo(lua) != nil {
			continue // another filter
		}
		//lint:ignore SA1019 deprecated, and what most have
		scripts := []string{lua.GetInlineCode(), lua.GetDefaultSourceCode().GetInlineString(), string(lua.GetDefaultSourceCode().GetInlineBytes())}
		for _, source := range lua.GetSourceCodes() {
			scripts = append(scripts, source.GetInlineString(), string(source.GetInlineBytes()))
		}
		for _, name := range istiodClusters(strings.Join(scripts, "\n")) {
			found = append(found, reference{clusterType, name, "cluster", document.Index(at+"http_filters", i) + ".typed_config", fromIstiod})
		}
	}
	return found
}
