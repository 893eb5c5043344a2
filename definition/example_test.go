package definition_test

import (
	"fmt"

	"wasmxds/definition"

	"wasmxds/definition/kinds"
)

// A file is parsed by itself; all files are then merged.
func ExampleParser() {
	file, problems := kinds.Parser().Parse("/etc/xds/hello.yaml", []byte(`
kind: WasmFilter
name: hello
module:
  url: ../filters/hello.wasm
config: {header: X-my-custom-header, value: hello world}
attach: {direction: inbound}
`))
	for _, p := range problems {
		fmt.Println(p.Error())
	}
	set, _ := definition.Merge([]*definition.File{file})
	for _, f := range set.Filters {
		path, _ := f.Module.Path()
		fmt.Println(f.Name, path, f.Attach.Matches(definition.Target{Name: "web", Direction: definition.Inbound}))
	}
	// Output: hello /etc/filters/hello.wasm true
}

// Problems say where, what, and what to do.
func ExampleProblem() {
	_, problems := kinds.Parser().Parse("filters/hello.yaml", []byte(`
kind: WasmFilter
nmae: hello
module:
  url: hello.wasm
  sha256: 2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7a
`))
	for _, p := range problems {
		fmt.Println(p.Error())
		if p.Hint != "" {
			fmt.Println("  hint:", p.Hint)
		}
	}
	// Output:
	// filters/hello.yaml:2: name: is missing
	// filters/hello.yaml:3: nmae: unknown field
	//   hint: did you mean name?
	// filters/hello.yaml:6: module.sha256: 63 hex digits, needs 64
}

// What other systems call a plugin becomes a WasmFilter.
func ExampleConvert() {
	file, _ := kinds.Parser().Parse("plugin.yaml", []byte(`
apiVersion: extensions.istio.io/v1alpha1
kind: WasmPlugin
metadata: {name: header}
spec:
  selector: {matchLabels: {app: shop}}
  url: https://example.com/header.wasm
  failStrategy: FAIL_OPEN
  pluginConfig: {value: hello}
  match: [{mode: SERVER}]
`))
	native, err := definition.Convert(file)
	if err != nil {
		fmt.Println(err)
	}
	fmt.Print(string(native))
	// Output:
	// # From WasmPlugin, plugin.yaml.
	// kind: WasmFilter
	// name: header
	// module:
	//   url: https://example.com/header.wasm
	// config:
	//   value: hello
	// attach:
	//   direction: inbound
	//   nodes:
	//     labels:
	//       app: shop
	// onFailure: open
}
