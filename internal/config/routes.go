package config

import (
	"slices"
	"strings"
	"time"
	"unicode/utf8"

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

const nothingToDo = "a relay route needs a [[route.relay.call]] or a [[route.relay.feed]], or it would do nothing"

// What the relay canister accepts, or it would refuse to be installed: see
// canister/src/Settings.mo.
const (
	maxFeeds    = 64
	maxAdmins   = 64 - 1 // the gateway is one more
	maxMethod   = 20_000 // characters of a name
	shortestAck = 50 * time.Millisecond

	defaultAckInterval      = Duration(5 * time.Minute)
	defaultKeepAliveTimeout = Duration(time.Minute)
)

func (r *Relay) validate(p *problems, key string, known names) {
	if len(r.Calls) == 0 && len(r.Feeds) == 0 && p.read(key+".call", key+".feed") {
		p.add(key, nothingToDo)
	}
	if len(r.Calls) > 1 {
		p.add(index(key+".call", 1), "at most one call: every message goes whole to one method")
	}
	if len(r.Feeds) > maxFeeds {
		p.add(index(key+".feed", maxFeeds), "a relay canister has at most %d feeds", maxFeeds)
	}
	checkTargets(p, key+".call", r.Calls, known)
	checkTargets(p, key+".feed", r.Feeds, known)
	r.validateAdmins(p, key+".admins")
	r.validateAcks(p, key+".ack_interval", key+".keep_alive_timeout")
	checkDuration(p, key+".watch_interval", &r.WatchInterval, 500*time.Millisecond, shortestWatch)
}

func checkTargets(p *problems, key string, targets []Target, known names) {
	seen := make(map[Target]bool)
	for i, t := range targets {
		at := index(key, i)
		if t.Target == "" {
			p.add(at+".target", "must be a principal or the name of an embedded canister")
		} else {
			checkReference(p, at+".target", t.Target, known)
		}
		switch {
		case t.Method == "":
			p.add(at+".method", "must name a method of the target")
		case utf8.RuneCountInString(t.Method) > maxMethod:
			p.add(at+".method", "has more than %d characters", maxMethod)
		case seen[t]:
			p.add(at, "%s.%s is listed already", t.Target, t.Method)
		}
		seen[t] = true
	}
}

func (r *Relay) validateAdmins(p *problems, key string) {
	if len(r.Admins) > maxAdmins {
		p.add(key, "%d are too many: a relay canister has at most %d, besides the gateway", len(r.Admins), maxAdmins)
	}
	for i, text := range r.Admins {
		at := index(key, i)
		admin, err := candid.ParsePrincipal(text)
		if err != nil {
			p.add(at, "%q is not a principal: %v", text, err)
		} else if admin.IsAnonymous() {
			p.add(at, "the anonymous principal cannot be an admin: everybody could configure the relay canister")
		}
	}
}

// validateAcks leaves what is not set at 0: the relay canister has the
// defaults, and that of keep_alive_timeout depends on ack_interval.
func (r *Relay) validateAcks(p *problems, ackKey, aliveKey string) {
	sound := checkAckDuration(p, ackKey, r.AckInterval)
	sound = checkAckDuration(p, aliveKey, r.KeepAliveTimeout) && sound
	ack, alive := r.AckInterval, r.KeepAliveTimeout
	if ack == 0 {
		ack = defaultAckInterval
	}
	if alive == 0 {
		alive = min(defaultKeepAliveTimeout, ack/2)
	}
	if sound && ack <= alive {
		p.addToOne([]string{aliveKey, ackKey}, "keep_alive_timeout (%s) must be shorter than ack_interval (%s)", alive, ack)
	}
}

func checkAckDuration(p *problems, key string, d Duration) bool {
	if !checkDuration(p, key, &d, 0, shortestAck) {
		return false
	}
	if time.Duration(d)%time.Millisecond != 0 {
		p.add(key, "%s: the relay canister counts whole milliseconds", d)
		return false
	}
	return true
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
