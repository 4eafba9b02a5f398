package bridge

import (
	"fmt"
	"slices"

	"github.com/icrelay/icrelay/candid"
)

// A Route says which adapter reaches a canister.
type Route struct {
	Canister candid.Principal   // unless Any
	Any      bool               // every canister that no other route names
	Allow    []candid.Principal // with Any: only these, if there are some
	Deny     []candid.Principal // with Any: but not these
	Adapter  Adapter
	Name     string // the adapter's name, for people and metrics
	Stateful bool   // the adapter may know its clients: no other one, of the same name either, can take them over

	times times
}

type routes struct {
	byCanister map[candid.Principal]*Route
	any        *Route
	allowed    map[candid.Principal]bool // by any; nil: all that are not denied
	denied     map[candid.Principal]bool
}

func newRoutes(list []Route) (*routes, error) {
	r := &routes{byCanister: make(map[candid.Principal]*Route, len(list))}
	list = slices.Clone(list) // what is noted in a route is this gateway's
	for i := range list {
		route := &list[i]
		switch {
		case route.Adapter == nil:
			return nil, fmt.Errorf("route %d: no adapter", i)
		case !route.Any && len(route.Allow)+len(route.Deny) > 0:
			return nil, fmt.Errorf("route %d: canisters are allowed and denied on the route for any canister only", i)
		case route.Any && r.any != nil:
			return nil, fmt.Errorf("route %d: a second route for any canister", i)
		case route.Any:
			r.any = route
			r.allowed, r.denied = set(route.Allow), set(route.Deny)
		case r.byCanister[route.Canister] != nil:
			return nil, fmt.Errorf("route %d: canister %s has a route already", i, route.Canister)
		default:
			r.byCanister[route.Canister] = route
		}
	}
	return r, nil
}

// measure gives each route its metrics. It comes before the first client.
func (r *routes) measure(m *metrics) {
	for _, route := range r.byCanister {
		route.times = m.times(route.Name)
	}
	if r.any != nil {
		r.any.times = m.times(r.any.Name)
	}
}

// set is nil for an empty list.
func set(list []candid.Principal) map[candid.Principal]bool {
	if len(list) == 0 {
		return nil
	}
	s := make(map[candid.Principal]bool, len(list))
	for _, p := range list {
		s[p] = true
	}
	return s
}

// find returns the route to a canister, or why there is none.
func (r *routes) find(canister candid.Principal) (*Route, *refusal) {
	if route := r.byCanister[canister]; route != nil {
		return route, nil
	}
	switch {
	case r.any == nil || !isCanister(canister):
		return nil, refuse(causeNotRouted, CloseNotRouted, "this gateway has no route to canister %s", canister)
	case r.denied[canister] || (r.allowed != nil && !r.allowed[canister]):
		return nil, refuse(causeDenied, CloseNotRouted, "this gateway does not serve canister %s", canister)
	}
	return r.any, nil
}

// isCanister reports whether a principal can be a canister's: these end with a
// 1 (interface specification, "Special forms of principals"). Users', the
// anonymous one and the management canister's end otherwise.
func isCanister(p candid.Principal) bool {
	return len(p) > 1 && p[len(p)-1] == 1
}
