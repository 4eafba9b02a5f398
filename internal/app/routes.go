package app

import (
	"context"
	"fmt"
	"log/slog"
	"reflect"
	"time"

	"github.com/icrelay/icrelay/adapters/cdk"
	"github.com/icrelay/icrelay/adapters/plugin"
	"github.com/icrelay/icrelay/adapters/relay"
	"github.com/icrelay/icrelay/bridge"
	"github.com/icrelay/icrelay/candid"
	"github.com/icrelay/icrelay/ic"
	"github.com/icrelay/icrelay/internal/config"
)

// A route is one [[route]] with the adapters that were made for it.
type route struct {
	cfg     config.Route
	to      bridge.Route    // all but the adapter of a route whose own is not started yet
	builtin bridge.Adapter  // cdk or relay: to.Adapter, or what that is built on
	own     *plugin.Adapter // to.Adapter, if that is one's own
	process *process        // own's
}

// makeRoutes resolves each route's canisters and makes its built-in adapter.
func makeRoutes(cfg *config.Config, n *network, identity ic.Identity, log *slog.Logger) ([]*route, error) {
	routes := make([]*route, 0, len(cfg.Routes))
	for i, r := range cfg.Routes {
		made, err := makeRoute(r, n, identity, log)
		if err != nil {
			return nil, fmt.Errorf("route[%d].%w", i, err)
		}
		routes = append(routes, made)
	}
	return routes, nil
}

func makeRoute(r config.Route, n *network, identity ic.Identity, log *slog.Logger) (*route, error) {
	made := &route{cfg: r, to: bridge.Route{Any: r.IsAny(), Name: r.Adapter}}
	var err error
	if made.to.Allow, err = principals("allow", r.Allow, n.canisters); err != nil {
		return nil, err
	}
	if made.to.Deny, err = principals("deny", r.Deny, n.canisters); err != nil {
		return nil, err
	}
	if !made.to.Any {
		if made.to.Canister, err = config.Principal(r.Canister, n.canisters); err != nil {
			return nil, fmt.Errorf("canister: %w", err)
		}
	}
	if made.builtin, err = newBuiltin(r, n.client, n.canisters, identity, log); err != nil {
		return nil, err
	}
	if r.Base == "" {
		made.to.Adapter = made.builtin
	}
	return made, nil
}

// newBuiltin makes a route's built-in adapter: its own, or that on which its
// own is built.
func newBuiltin(r config.Route, client *ic.Client, named map[string]candid.Principal, identity ic.Identity, log *slog.Logger) (bridge.Adapter, error) {
	switch r.Builtin() {
	case "cdk":
		return cdk.New(client, identity), nil
	case "relay":
		settings, err := relaySettings(r.Relay, named, identity.Principal())
		if err != nil {
			return nil, fmt.Errorf("relay: %w", err)
		}
		return relay.New(client, identity, settings, log), nil
	}
	return nil, fmt.Errorf("adapter: unknown adapter %q", r.Builtin())
}

// startRoutes gives routes with an adapter of one's own to their processes.
// Routes that have their adapter are left alone. An error leaves nothing behind.
func startRoutes(ctx context.Context, routes []*route, list []*process, n *network) error {
	var started []*route
	for i, r := range routes {
		if r.to.Adapter != nil {
			continue
		}
		if err := r.start(ctx, find(list, r.cfg.Adapter), n.canisters); err != nil {
			endRoutes(started)
			return fmt.Errorf("route[%d]: %w", i, err)
		}
		started = append(started, r)
	}
	return nil
}

func (r *route) start(ctx context.Context, p *process, canisters map[string]candid.Principal) error {
	ctx, cancel := context.WithTimeout(ctx, time.Duration(p.cfg.StartTimeout))
	defer cancel()
	own, err := p.Route(ctx, plugin.Route{
		Canister:  r.to.Canister,
		Base:      r.builtin,
		BaseName:  r.cfg.Base,
		Settings:  r.cfg.Settings.JSON(),
		Canisters: canisters,
	})
	if err != nil {
		return err
	}
	r.own, r.process, r.to.Adapter = own, p, own
	r.to.Stateful = true
	return nil
}

// endRoutes tells processes of routes that are no more.
func endRoutes(routes []*route) {
	for _, r := range routes {
		if r.own != nil {
			r.own.End()
		}
	}
}

// bridgeRoutes are the routes as the gateway knows them.
func bridgeRoutes(routes []*route) []bridge.Route {
	list := make([]bridge.Route, 0, len(routes))
	for _, r := range routes {
		list = append(list, r.to)
	}
	return list
}

// keep takes over the adapter of a route in force that differs in nothing that
// an adapter sees: what it knows of its canister is still true. An adapter of
// one's own must be of the same process, too.
func (r *route) keep(old []*route, list []*process) (kept bool) {
	for _, o := range old {
		if !sameAdapter(o.cfg, r.cfg) || o.process != find(list, r.cfg.Adapter) {
			continue
		}
		r.builtin, r.own, r.process = o.builtin, o.own, o.process
		r.to.Adapter, r.to.Stateful = o.to.Adapter, o.to.Stateful
		return true
	}
	return false
}

// sameAdapter reports whether two routes differ in their lists of canisters only.
func sameAdapter(a, b config.Route) bool {
	a.Allow, a.Deny, b.Allow, b.Deny = nil, nil, nil, nil
	return reflect.DeepEqual(a, b)
}

func limits(l config.Limits) bridge.Limits {
	return bridge.Limits{
		MaxConnections:             l.MaxConnections,
		MaxConnectionsPerAddress:   l.MaxConnectionsPerAddress,
		MaxConnectionsPerCanister:  l.MaxConnectionsPerCanister,
		MaxConnectionsPerPrincipal: l.MaxConnectionsPerPrincipal,

		ConnectionRate:            l.ConnectionRate,
		ConnectionBurst:           l.ConnectionBurst,
		ConnectionRatePerAddress:  l.ConnectionRatePerAddress,
		ConnectionBurstPerAddress: l.ConnectionBurstPerAddress,

		FrameRate:     l.FrameRate,
		FrameBurst:    l.FrameBurst,
		ByteRate:      l.ByteRate,
		ByteBurst:     l.ByteBurst,
		MaxFrameBytes: l.MaxFrameBytes,

		MaxHeaderBytes:               l.MaxHeaderBytes,
		MaxHTTPConnections:           l.MaxHTTPConnections,
		MaxHTTPConnectionsPerAddress: l.MaxHTTPConnectionsPerAddress,
		HeaderTimeout:                time.Duration(l.HeaderTimeout),

		FirstFrameTimeout: time.Duration(l.FirstFrameTimeout),

		OpenTimeout:   time.Duration(l.OpenTimeout),
		CallTimeout:   time.Duration(l.CallTimeout),
		PollTimeout:   time.Duration(l.PollTimeout),
		PingInterval:  time.Duration(l.PingInterval),
		IdleTimeout:   time.Duration(l.IdleTimeout),
		WriteTimeout:  time.Duration(l.WriteTimeout),
		QueueMessages: l.QueueMessages,
		QueueBytes:    l.QueueBytes,
		StopTimeout:   time.Duration(l.StopTimeout),
	}
}

func polling(p config.Polling) bridge.Polling {
	return bridge.Polling{
		Interval:     time.Duration(p.Interval),
		IdleInterval: time.Duration(p.IdleInterval),
		MaxBackoff:   time.Duration(p.MaxBackoff),
	}
}
