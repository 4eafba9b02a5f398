// Inlet is an adapter with a door to the outside: alerts that somebody posts to
// it over HTTP, as JSON, are pushed through the relay canister, and reach its
// clients with a certificate, like every other message.
package main

import (
	"context"
	"errors"
	"os"

	"github.com/icrelay/icrelay/adapters/plugin/sdk"
)

func main() { sdk.Serve(start) }

// start opens the door of one route. Everything between clients and canister is
// left to the base: the adapter has no method but End.
func start(ctx context.Context, route *sdk.Route) (any, error) {
	settings := struct {
		Listen string `json:"listen"`
	}{"127.0.0.1:8090"}
	if err := route.Settings(&settings); err != nil {
		return nil, err
	}
	token := os.Getenv("INLET_TOKEN")
	switch {
	case token == "":
		return nil, errors.New(`INLET_TOKEN is missing: whoever posts must know it; set it in [[adapter]] as env = { INLET_TOKEN = "..." }`)
	case route.Canister == "" || route.BaseName != "relay":
		return nil, errors.New(`a route to one relay canister is needed: give it a canister, and base = "relay"`)
	}
	return listen(ctx, settings.Listen, handler(token, &relayCanister{route.Host, route.Canister}), route.Log)
}
