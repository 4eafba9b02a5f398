package app

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/icrelay/icrelay/adapters/plugin"
	"github.com/icrelay/icrelay/adapters/relay"
	"github.com/icrelay/icrelay/internal/config"
)

// reload reads the configuration file again and puts what can change while the
// relay runs into force: certificates, routes and adapters. A file with problems
// changes nothing, nor does one with an adapter that does not start.
func (s *service) reload(ctx context.Context) {
	s.log.Info("reading the configuration again", "file", s.cfg.File())
	next, err := config.Load(s.cfg.File())
	if err != nil {
		s.logProblems(err)
		return
	}
	routes, err := makeRoutes(next, s.network, s.identity, s.log)
	if err != nil {
		s.log.Error("nothing was changed: the routes cannot be made, perhaps because they need what takes a restart", "problem", err)
		return
	}
	if keys := config.NeedsRestart(s.cfg, next); len(keys) > 0 {
		s.log.Warn("these settings have changed, and take effect at the next start only", "keys", keys)
	}
	list, err := s.own.prepare(ctx, next)
	if err != nil {
		s.logUnchanged(ctx, "nothing was changed: an adapter cannot be started", err)
		return
	}
	var changed []*route
	for _, r := range routes {
		if !r.keep(s.routes, list) {
			changed = append(changed, r)
		}
	}
	if err := startRoutes(ctx, routes, list, s.network); err != nil {
		s.own.discard(list)
		s.logUnchanged(ctx, "nothing was changed: an adapter does not take its route", err)
		return
	}
	for _, r := range changed {
		s.configure(ctx, r)
	}
	if err := s.gateway.SetRoutes(bridgeRoutes(routes)); err != nil {
		endRoutes(changed)
		s.own.discard(list)
		s.log.Error("the routes were not changed", "problem", err)
		return
	}
	s.retire(ctx, routes, list)
	s.cfg.Routes, s.cfg.Adapters = next.Routes, next.Adapters
	s.reloadCertificates(next)
	s.checkRoutes(ctx)
	s.log.Info("the configuration is in force", "routes", len(routes))
}

func (s *service) logProblems(err error) {
	var bad *config.Error
	if !errors.As(err, &bad) {
		s.log.Error("nothing was changed: the configuration cannot be read", "error", err)
		return
	}
	s.log.Error("nothing was changed: the configuration cannot be used", "file", bad.File, "problems", len(bad.Problems))
	for _, p := range bad.Problems {
		s.log.Error("problem of the configuration", "line", p.Line, "key", p.Key, "problem", p.Text)
	}
}

// logUnchanged says why nothing was changed, unless that is the relay's stop.
func (s *service) logUnchanged(ctx context.Context, what string, err error) {
	if ctx.Err() != nil {
		return
	}
	for _, problem := range unjoin(err) {
		s.log.Error(what, "problem", problem)
	}
}

// retire puts what was made into force, and ends what it replaces.
func (s *service) retire(ctx context.Context, routes []*route, list []*process) {
	inUse := make(map[*plugin.Adapter]bool)
	for _, r := range routes {
		inUse[r.own] = true
	}
	endRoutes(slices.DeleteFunc(s.routes, func(r *route) bool { return inUse[r.own] }))
	s.routes = routes
	s.own.replace(ctx, list)
}

// configure gives an embedded relay canister its new settings: nobody else has
// put it there. Other relay canisters are configured with a command.
func (s *service) configure(ctx context.Context, r *route) {
	a, ok := r.builtin.(*relay.Adapter)
	if !ok || !s.network.isBuiltinRelay(s.cfg, r.cfg) {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if err := a.Configure(ctx, r.to.Canister); err != nil {
		s.log.Error("the relay canister does not take its new settings", "canister", r.cfg.Canister, "error", err)
	}
}

// isBuiltinRelay reports whether a route leads to a relay canister that this
// process has installed.
func (n *network) isBuiltinRelay(cfg *config.Config, r config.Route) bool {
	id, err := config.Principal(r.Canister, n.canisters)
	if n.embedded == nil || err != nil {
		return false
	}
	for _, c := range cfg.Network.Canisters {
		if name, _ := c.Builtin(); name == "relay" && n.canisters[c.Name] == id {
			return true
		}
	}
	return false
}

func (s *service) reloadCertificates(next *config.Config) {
	if s.door.certificates == nil || next.Gateway.TLS == nil {
		return // TLS begins and ends with a restart
	}
	if err := s.door.certificates.Reload(tlsSettings(next.Gateway.TLS)); err != nil {
		s.log.Error("the certificates were not changed", "error", err)
		return
	}
	listen := s.cfg.Gateway.TLS.HTTPListen
	s.cfg.Gateway.TLS = next.Gateway.TLS
	s.cfg.Gateway.TLS.HTTPListen = listen // in force until the restart
}
