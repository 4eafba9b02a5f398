package bridge

import (
	"fmt"

	"github.com/icrelay/icrelay/candid"
)

// A Route says which adapter reaches a canister.
type Route struct {
	Canister candid.Principal // unless Any
	Any      bool             // every canister that no other route names
	Adapter  Adapter
	Name     string // the adapter's name, for people
}

type routes struct {
	byCanister map[candid.Principal]*Route
	any        *Route
}

func newRoutes(list []Route) (*routes, error) {
	r := &routes{byCanister: make(map[candid.Principal]*Route, len(list))}
	for i := range list {
		route := &list[i]
		switch {
		case route.Adapter == nil:
			return nil, fmt.Errorf("route %d: no adapter", i)
		case route.Any && r.any != nil:
			return nil, fmt.Errorf("route %d: a second route for any canister", i)
		case route.Any:
			r.any = route
		case r.byCanister[route.Canister] != nil:
			return nil, fmt.Errorf("route %d: canister %s has a route already", i, route.Canister)
		default:
			r.byCanister[route.Canister] = route
		}
	}
	return r, nil
}

// find returns nil where no route leads to the canister.
func (r *routes) find(canister candid.Principal) *Route {
	if route := r.byCanister[canister]; route != nil {
		return route
	}
	return r.any
}
