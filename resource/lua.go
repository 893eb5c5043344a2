package resource

import (
	"fmt"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	luav3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/lua/v3"
)

// setLua makes a script f's content.
func (f *Filter) setLua(script, version string) error {
	return f.setContent(version, func(slot string, attempt int) (*Resource, error) {
		text := script
		if attempt > 0 {
			// Envoy takes it for another configuration, and Lua for the same script. Behind
			// the script, so that the lines that Envoy tells of are the script's.
			text = fmt.Sprintf("%s\n-- attempt %d\n", script, attempt)
		}
		return extension(slot, &luav3.Lua{DefaultSourceCode: &corev3.DataSource{
			Specifier: &corev3.DataSource_InlineString{InlineString: text},
		}})
	})
}
