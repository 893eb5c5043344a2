package definition

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	luav3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/lua/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"wasmxds/definition/internal/document"
)

// istiodCluster matches text in quotes that has istiod's form of a cluster's
// name: outbound|80||reviews.default.svc.cluster.local.
var istiodCluster = regexp.MustCompile(`["']((?:outbound|inbound)(?:_\.[0-9]+_\.|\|[0-9]*\|)[^"'\n]{0,300})["']`)

// fromIstiod is the hint for such a cluster.
const fromIstiod = "istiod makes such clusters, xds-server does not: add it with a CLUSTER patch or as a resource; right where the Envoys' bootstrap has it"

// scriptClusters returns the clusters of istiod that a script calls, without
// duplicates.
func scriptClusters(script string) []string {
	if !strings.Contains(script, "httpCall") {
		return nil
	}
	return istiodClusters(script)
}

// istiodClusters returns the names of clusters of istiod that occur in a text,
// without duplicates.
func istiodClusters(text string) []string {
	if !strings.Contains(text, "bound|") && !strings.Contains(text, "bound_.") {
		return nil // quickly, of nearly all
	}
	var names []string
	for _, found := range istiodCluster.FindAllStringSubmatch(text, -1) {
		if name := found[1]; !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

// callsNobody reports clusters that a filter's script calls, or that its
// configuration names, and that do not exist.
func (f *File) callsNobody(filter *Filter, has map[[2]string]bool) []Problem {
	var problems []Problem
	missing := func(field, says string, names []string) {
		for _, name := range names {
			if !has[[2]string{clusterType, name}] {
				problems = append(problems, f.problem(filter, field, fmt.Sprintf("the %s the cluster %q, which is not there", says, name), fromIstiod))
			}
		}
	}
	if filter.Lua != nil {
		missing("inline", "script calls", scriptClusters(filter.Lua.Script))
	}
	if filter.ConfigSecret == nil { // of a Secret nothing is told
		missing("config", "configuration names", configClusters(filter.Config))
	}
	missing("vmConfig", "configuration names", configClusters(filter.VMConfig))
	return problems
}

// configClusters returns the clusters of istiod that a configuration names.
func configClusters(config *anypb.Any) []string {
	text := &wrapperspb.StringValue{}
	if config == nil || config.UnmarshalTo(text) != nil {
		return nil
	}
	return istiodClusters(`"` + text.GetValue() + `"`) // it may be nothing but a name
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
		for _, name := range scriptClusters(strings.Join(scripts, "\n")) {
			found = append(found, reference{clusterType, name, "cluster", document.Index(at+"http_filters", i) + ".typed_config", fromIstiod})
		}
	}
	return found
}
