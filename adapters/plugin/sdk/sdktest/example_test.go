package sdktest_test

import (
	"context"
	"testing"

	"github.com/icrelay/icrelay/adapters/plugin/sdk"
	"github.com/icrelay/icrelay/adapters/plugin/sdk/sdktest"
)

// A gate refuses the clients on a list, and passes the others on.
type gate struct {
	base   *sdk.Base
	refuse map[sdk.Principal]bool
}

// startGate is what main gives to sdk.Serve.
func startGate(_ context.Context, route *sdk.Route) (any, error) {
	var settings struct {
		Refuse []sdk.Principal `json:"refuse"`
	}
	if err := route.Settings(&settings); err != nil {
		return nil, err
	}
	g := &gate{base: route.Base, refuse: make(map[sdk.Principal]bool)}
	for _, p := range settings.Refuse {
		g.refuse[p] = true
	}
	return g, nil
}

func (g *gate) Open(ctx context.Context, env sdk.Envelope) error {
	if g.refuse[env.Client.Principal] {
		return sdk.Refused("you are not welcome here")
	}
	return g.base.Open(ctx, env)
}

// The whole suite over an adapter, with settings.
func Example() {
	TestGate := func(t *testing.T) { // in main_test.go: func TestGate(t *testing.T)
		sdktest.Options{
			Settings: map[string]any{"refuse": []string{"2vxsx-fae"}},
		}.Run(t, startGate)
	}
	_ = TestGate
}
