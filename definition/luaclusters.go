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

// istiodCluster is a string of Lua with the name of a cluster as istiod makes them:
// outbound|80||reviews.default.svc.cluster.local.
var istiodCluster = regexp.MustCompile(`["']((?:outbound|inbound)(?:_\.[0-9]+_\.|\|[0-9]*\|)[^"'\n]{0,300})["']`)

// fromIstiod is what to do about one.
const fromIstiod = "istiod makes such clusters, xds-server does not: add it with a CLUSTER patch or as a resource; right where the Envoys' bootstrap has it"

// istiodClusters are the clusters of istiod that a script calls, each once.
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

// callsNobody tells of clusters that a filter's script calls and that there are not.
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

// scriptReferences finds the clusters that scripts in an HTTP connection manager call.
func scriptReferences(m *hcmv3.HttpConnectionManager, at string) []reference {
	var found []reference
	for i, filter := range m.GetHttpFilters() {
		lua := &luav3.Lua{}
		if filter.GetTypedConfig().UnmarshalTo(lua) != nil {
			continue // some other filter
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
