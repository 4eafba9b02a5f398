package config

import (
	"slices"
	"strings"

	"github.com/icrelay/icrelay/candid"
)

func validateRoutes(routes []Route, known names, p *problems) {
	if len(routes) == 0 {
		p.add("route", "there is none: without a [[route]] no client can connect to anything")
	}
	seen := make(map[string]bool)
	for i := range routes {
		r, key := &routes[i], index("route", i)
		r.validate(p, key, known)
		if r.Canister != "" && seen[r.Canister] {
			p.add(key+".canister", "%q has a route already", r.Canister)
		}
		seen[r.Canister] = true
	}
}

func (r *Route) validate(p *problems, key string, known names) {
	canister, err := candid.ParsePrincipal(r.Canister)
	switch {
	case r.Canister == "":
		p.add(key+".canister", `must be a principal, the name of an embedded canister, or "*" for any`)
	case r.IsAny() && r.Adapter == "relay":
		p.add(key+".canister", `"*" cannot go with adapter = "relay": each relay canister has settings of its own`)
	case r.IsAny():
	case err == nil && (canister == candid.ManagementCanister || canister.IsAnonymous()):
		p.add(key+".canister", "%q is the principal of no canister that clients could talk to", r.Canister)
	default:
		checkReference(p, key+".canister", r.Canister, known)
	}
	if r.Adapter == "" {
		p.add(key+".adapter", "must be one of %s", strings.Join(adapters, ", "))
	} else {
		checkOneOf(p, key+".adapter", r.Adapter, adapters...)
	}
	switch {
	case r.Relay != nil && r.Adapter != "relay" && r.Adapter != "":
		p.add(key+".relay", `is for adapter = "relay" only, this route has %q`, r.Adapter)
	case r.Relay != nil:
		r.Relay.validate(p, key+".relay", known)
	case r.Adapter == "relay":
		p.add(key+".relay", nothingToDo)
	}
}

// checkReference wants a principal or one of the embedded canisters' names.
func checkReference(p *problems, key, value string, known names) {
	if known.unknown || slices.Contains(known.list, value) {
		return
	}
	if _, err := candid.ParsePrincipal(value); err != nil {
		list := "there is no [[network.canister]]"
		if len(known.list) > 0 {
			list = "known names: " + strings.Join(known.list, ", ")
		}
		p.add(key, "%q is neither a principal nor the name of an embedded canister (%s)", value, list)
	}
}
