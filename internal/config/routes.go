package config

import (
	"slices"
	"strings"

	"github.com/icrelay/icrelay/candid"
)

func validateRoutes(routes []Route, known names, own known, p *problems) {
	if len(routes) == 0 {
		p.add("route", "there is none: without a [[route]] no client can connect to anything")
	}
	seen := make(map[string]bool)
	for i := range routes {
		r, key := &routes[i], index("route", i)
		r.validate(p, key, known, own)
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

func (r *Route) validate(p *problems, key string, known names, own known) {
	r.validateAdapter(p, key, own)
	switch {
	case r.Canister == "":
		p.add(key+".canister", `must be a principal, the name of an embedded canister, or "*" for any`)
	case r.IsAny() && r.Builtin() == "relay":
		setting := "adapter"
		if r.Base != "" {
			setting = "base"
		}
		p.add(key+".canister", `"*" cannot go with %s = "relay": each relay canister has settings of its own`, setting)
	case r.IsAny():
	default:
		checkCanister(p, key+".canister", r.Canister, known)
	}
	switch builtin := r.Builtin(); {
	case !p.read(key + ".base"):
	case r.Relay != nil && builtin != "relay" && builtin != "":
		p.add(key+".relay", `is for adapter = "relay" or base = "relay" only, this route has %q`, builtin)
	case r.Relay != nil:
		r.Relay.validate(p, key+".relay", known, r.Base != "")
	case r.Base == "relay" && p.read(key+".relay"):
		r.Relay = new(Relay)
		r.Relay.validate(p, key+".relay", known, true)
	case builtin == "relay":
		p.add(key+".relay", nothingToDo)
	}
}

// validateAdapter checks what the route is served with, and sets the default
// of base.
func (r *Route) validateAdapter(p *problems, key string, own known) {
	name, base, settings := key+".adapter", key+".base", key+".settings"
	all := append(slices.Clone(adapters), own.own...)
	isBuiltin := slices.Contains(adapters, r.Adapter)
	switch {
	case r.Adapter == "":
		p.add(name, "must be one of %s", strings.Join(all, ", "))
	case !own.has(r.Adapter) && !own.unknown:
		p.add(name, "%q is not one of %s; an adapter of your own needs an [[adapter]] table with that name", r.Adapter, strings.Join(all, ", "))
	case isBuiltin && p.given[base]:
		p.add(base, "is for adapters of your own only, and %q is built in", r.Adapter)
		r.Base = ""
	case isBuiltin && p.given[settings]:
		p.add(settings, "is for adapters of your own only, and %q is built in", r.Adapter)
	}
	switch {
	case isBuiltin, r.Adapter == "":
	case r.Base != "", p.given[base]:
		checkBase(p, base, r.Base, own)
	case own.has(r.Adapter) || own.unknown:
		r.Base = adapters[0]
	}
}

func checkBase(p *problems, key, value string, own known) {
	switch {
	case slices.Contains(adapters, value):
	case value != "" && slices.Contains(own.own, value):
		p.add(key, "%q is an adapter of your own; a base is built in: %s", value, strings.Join(adapters, " or "))
	default:
		checkOneOf(p, key, value, adapters...)
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
