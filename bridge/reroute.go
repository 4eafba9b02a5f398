package bridge

import (
	"reflect"

	"github.com/icrelay/icrelay/candid"
)

// SetRoutes puts other routes in the place of those that there are, while
// clients are connected. From then on
//
//   - a canister that has a route of the same name keeps its sessions; their
//     calls and polls go through the route's adapter;
//   - a canister whose route has another name, or another adapter of which one
//     is stateful, loses its sessions with CloseRouteChanged: they may reconnect;
//   - a canister without a route loses them with CloseNotRouted.
//
// A canister never has two hubs, one for each route: a relay canister forgets
// the messages that its gateway says it has, and the slower of two pollers would
// miss some. An error changes nothing.
func (g *Gateway) SetRoutes(list []Route) error {
	next, err := newRoutes(list)
	if err != nil {
		return err
	}
	next.measure(g.metrics)
	info := g.info.Load().complete(g.principal, list)

	ended := make(map[*session]CloseReason)
	g.mu.Lock()
	g.routes.Store(next)
	g.info.Store(&info)
	for canister, h := range g.hubs {
		sessions, reason := h.reroute(next.find(canister))
		for _, s := range sessions {
			ended[s] = reason
		}
		if !g.isRouted(canister) && h.unused() {
			delete(g.hubs, canister)
		}
	}
	g.mu.Unlock()
	for s, reason := range ended {
		s.end(reason)
	}
	if len(ended) > 0 {
		g.log.Info("sessions of changed routes end", "sessions", len(ended))
	}
	return nil
}

// reroute changes the hub's route, or finds that there is none any more. It
// returns the sessions that cannot go on.
func (h *hub) reroute(route *Route, refused *refusal) ([]*session, CloseReason) {
	if refused != nil {
		// The old route stays: through it the canister is told that its clients have gone.
		return h.all(), refused.CloseReason
	}
	old := h.route.Load()
	if old.Name == route.Name && sameAdapter(old.Adapter, route.Adapter) {
		return nil, CloseReason{}
	}
	h.route.Store(route)
	h.wake() // the poller begins another watch
	if old.Name == route.Name && !old.Stateful && !route.Stateful {
		return nil, CloseReason{}
	}
	return h.all(), CloseReason{CloseRouteChanged, "the gateway reaches this canister in another way now; reconnect"}
}

// sameAdapter reports whether two routes share an adapter. Adapters of a type
// that cannot be compared are never the same.
func sameAdapter(a, b Adapter) bool {
	return reflect.TypeOf(a).Comparable() && reflect.TypeOf(b).Comparable() && a == b
}

// all returns the hub's sessions.
func (h *hub) all() []*session {
	h.mu.Lock()
	defer h.mu.Unlock()
	sessions := make([]*session, 0, len(h.sessions))
	for _, m := range h.sessions {
		sessions = append(sessions, m.session)
	}
	return sessions
}

// isRouted reports whether a route names the canister itself. It must be called
// with mu held.
func (g *Gateway) isRouted(canister candid.Principal) bool {
	return g.routes.Load().byCanister[canister] != nil
}
