package oci_test

import (
	"fmt"

	"wasmxds/module/oci"
)

func ExampleParse() {
	for _, url := range []string{
		"oci://registry.example:5000/filters/hello:v1",
		"oci://registry.example/filters/hello",
		"oci://registry.example/Filters",
	} {
		ref, err := oci.Parse(url)
		if err != nil {
			fmt.Println("wrong:", err)
			continue
		}
		fmt.Println(ref)
	}
	// Output:
	// oci://registry.example:5000/filters/hello:v1
	// oci://registry.example/filters/hello:latest
	// wrong: module.url "oci://registry.example/Filters": "Filters" is no repository
}
