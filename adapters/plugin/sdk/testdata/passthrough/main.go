// Command passthrough is an adapter that does nothing itself: every call comes
// into this process and goes back to the base. It shows what the way costs.
package main

import (
	"context"

	"github.com/icrelay/icrelay/adapters/plugin/sdk"
)

func main() {
	sdk.Serve(func(_ context.Context, route *sdk.Route) (any, error) { return route.Base, nil })
}
