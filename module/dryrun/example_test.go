package dryrun_test

import (
	"context"
	"fmt"
	"os"

	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"wasmxds/definition"
	"wasmxds/module"
	"wasmxds/module/dryrun"
)

// A Runner says why Envoy would refuse a filter.
func Example() {
	dir, err := os.MkdirTemp("", "modules")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	store, err := module.Open(dir)
	if err != nil {
		panic(err)
	}
	code, err := os.Open("testdata/filter.wasm")
	if err != nil {
		panic(err)
	}
	defer code.Close()
	info, err := store.Put(code, 1<<20)
	if err != nil {
		panic(err)
	}
	ctx := context.Background()
	// A process of this program that calls dryrun.Sandbox(os.Stdin, os.Stdout).
	command := []string{os.Args[0], "trial"}
	runner := dryrun.New(ctx, dryrun.Options{Store: store, Command: command})
	defer runner.Close()

	for _, value := range []string{"good", "false header name"} {
		config, err := anypb.New(wrapperspb.String(value))
		if err != nil {
			panic(err)
		}
		fmt.Println(runner.Run(ctx, &definition.Filter{Name: "hello", Config: config}, info))
	}
	// Output:
	// <nil>
	// dry run: proxy_on_configure returned false; it logged: "false header name"
}
