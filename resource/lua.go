package resource

import (
	"fmt"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	luav3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/lua/v3"
)

// setLua makes a script the content of f.
func (f *Filter) setLua(script, version string) error {
	return f.setContent(version, func(slot string, attempt int) (*Resource, error) {
		text := script
		if attempt > 0 {
			// Envoy takes this for another configuration, and Lua for the same
			// script. The comment is at the end, so that the line numbers in
			// Envoy's errors are those of the script.
			text = fmt.Sprintf("%s\n-- attempt %d\n", script, attempt)
		}
		return extension(slot, &luav3.Lua{DefaultSourceCode: &corev3.DataSource{
			Specifier: &corev3.DataSource_InlineString{InlineString: text},
		}})
	})
}
