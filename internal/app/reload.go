package app

import (
	"context"
	"errors"
	"reflect"
	"time"

	"github.com/icrelay/icrelay/adapters/relay"
	"github.com/icrelay/icrelay/internal/config"
)

// reload reads the configuration file again and puts what can change while the
// relay runs into force: certificates and routes. A file with problems changes
// nothing.
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
	for i, r := range next.Routes {
		if old := s.route(r); old >= 0 {
			routes[i].Adapter = s.routes[old].Adapter // what it knows of its canister is still true
		} else {
			s.configure(ctx, r, routes[i].Adapter)
		}
	}
	if err := s.gateway.SetRoutes(routes); err != nil {
		s.log.Error("the routes were not changed", "problem", err)
		return
	}
	s.routes, s.cfg.Routes = routes, next.Routes
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

// route returns the index of a route that is in force, or -1.
func (s *service) route(r config.Route) int {
	for i, old := range s.cfg.Routes {
		if reflect.DeepEqual(old, r) {
			return i
		}
	}
	return -1
}

// configure gives an embedded relay canister its new settings: nobody else has
// put it there. Other relay canisters are configured with a command.
func (s *service) configure(ctx context.Context, r config.Route, adapter any) {
	a, ok := adapter.(*relay.Adapter)
	if !ok || !s.network.isBuiltinRelay(s.cfg, r) {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	id, err := config.Principal(r.Canister, s.network.canisters)
	if err == nil {
		err = a.Configure(ctx, id)
	}
	if err != nil {
		s.log.Error("the relay canister does not take its new settings", "canister", r.Canister, "error", err)
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
