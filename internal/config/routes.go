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
	for i := range routes {
		routes[i].validateLists(p, index("route", i), known, seen)
	}
}

// validateLists checks what the route for any canister allows and denies.
// routed are the canisters that routes name.
func (r *Route) validateLists(p *problems, key string, known names, routed map[string]bool) {
	for _, list := range []struct {
		name      string
		canisters []string
	}{{"allow", r.Allow}, {"deny", r.Deny}} {
		at := key + "." + list.name
		switch {
		case !p.given[at]:
			continue
		case !r.IsAny():
			p.add(at, `is for canister = "*" only: this route leads to one canister`)
			continue
		case list.name == "allow" && len(list.canisters) == 0:
			p.add(at, "allows nobody: name canisters, or remove it to allow all")
		}
		for i, canister := range list.canisters {
			one := index(at, i)
			checkCanister(p, one, canister, known)
			switch {
			case slices.Contains(list.canisters[:i], canister):
				p.add(one, "%q is listed already", canister)
			case list.name == "deny" && slices.Contains(r.Allow, canister):
				p.add(one, "%q is allowed and denied", canister)
			case list.name == "deny" && routed[canister]:
				p.add(one, "%q has a route of its own, so that it is served all the same; remove that route, or this", canister)
			}
		}
	}
}

// checkCanister wants a canister's principal, or one of the embedded canisters' names.
func checkCanister(p *problems, key, value string, known names) {
	if canister, err := candid.ParsePrincipal(value); err == nil && (canister == candid.ManagementCanister || canister.IsAnonymous()) {
		p.add(key, "%q is the principal of no canister that clients could talk to", value)
		return
	}
	checkReference(p, key, value, known)
}

func (r *Route) validate(p *problems, key string, known names) {
	switch {
	case r.Canister == "":
		p.add(key+".canister", `must be a principal, the name of an embedded canister, or "*" for any`)
	case r.IsAny() && r.Adapter == "relay":
		p.add(key+".canister", `"*" cannot go with adapter = "relay": each relay canister has settings of its own`)
	case r.IsAny():
	default:
		checkCanister(p, key+".canister", r.Canister, known)
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
