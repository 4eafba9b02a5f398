package app

import (
	"fmt"
	"log/slog"
	"time"

	"github.com/icrelay/icrelay/adapters/cdk"
	"github.com/icrelay/icrelay/adapters/relay"
	"github.com/icrelay/icrelay/bridge"
	"github.com/icrelay/icrelay/ic"
	"github.com/icrelay/icrelay/internal/config"
)

// makeRoutes chooses the adapter of each route.
func makeRoutes(cfg *config.Config, n *network, identity ic.Identity, log *slog.Logger) ([]bridge.Route, error) {
	routes := make([]bridge.Route, 0, len(cfg.Routes))
	for i, r := range cfg.Routes {
		route := bridge.Route{Any: r.IsAny(), Name: r.Adapter}
		var err error
		if route.Allow, err = principals("allow", r.Allow, n.canisters); err != nil {
			return nil, fmt.Errorf("route[%d].%w", i, err)
		}
		if route.Deny, err = principals("deny", r.Deny, n.canisters); err != nil {
			return nil, fmt.Errorf("route[%d].%w", i, err)
		}
		if !route.Any {
			if route.Canister, err = config.Principal(r.Canister, n.canisters); err != nil {
				return nil, fmt.Errorf("route[%d].canister: %w", i, err)
			}
		}
		switch r.Adapter {
		case "cdk":
			route.Adapter = cdk.New(n.client, identity)
		case "relay":
			settings, err := relaySettings(r.Relay, n.canisters, identity.Principal())
			if err != nil {
				return nil, fmt.Errorf("route[%d].relay: %w", i, err)
			}
			route.Adapter = relay.New(n.client, identity, settings, log)
		default:
			return nil, fmt.Errorf("route[%d].adapter: unknown adapter %q", i, r.Adapter)
		}
		routes = append(routes, route)
	}
	return routes, nil
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
