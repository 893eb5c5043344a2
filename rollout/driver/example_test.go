package driver_test

import (
	"context"
	"fmt"
	"time"

	"wasmxds/definition"
	"wasmxds/rollout"
	"wasmxds/rollout/driver"
)

// A server has a Driver between the stage that downloads modules and the one that compiles
// resources.
func Example() {
	plans := make(chan *rollout.Plan)
	d, err := driver.New(context.Background(), driver.Options{
		// State: writer,
		Publish: func(p *rollout.Plan) {
			// Compile p.Base and p.Sets, and have streams served by p.Choose.
			plans <- p
		},
		Look: func(context.Context, rollout.Look) (rollout.Verdict, string) { return rollout.Good, "" },
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx, end := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { defer close(ended); d.Run(ctx) }()

	canary := definition.Node{ID: "edge-1", Labels: map[string]string{"tier": "canary"}}
	policy := &definition.Rollout{Name: "careful", Definitions: []string{"*"}, Bake: time.Minute, Waves: []definition.Wave{{Labels: canary.Labels}, {Share: 1}}}
	d.Tell(rollout.Connected{Node: canary})
	d.Tell(wanted("v1", policy)) // the first one is the base
	<-plans
	d.Tell(wanted("v2", policy))
	<-plans // no Envoy has it yet
	p := <-plans
	choice := p.Choose(canary)
	fmt.Println("edge-1 has", p.Sets[choice].Filters[0].Definition.RootID)
	fmt.Println("others have", p.Base.Filters[0].Definition.RootID)

	end()
	<-ended
	// Output:
	// edge-1 has v2
	// others have v1
}
