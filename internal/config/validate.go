package config

import (
	"path/filepath"
	"regexp"
	"slices"
)

// Built-in adapters and modules that a configuration may name.
var (
	adapters = []string{"cdk", "relay"}
	builtins = []string{"relay", "echo"}
)

// validate checks every value, sets the defaults of durations, and makes
// paths absolute or relative to the working folder.
func (c *Config) validate(p *problems) {
	if p.broken {
		return
	}
	c.Gateway.validate(p, c.path)
	names := c.Network.validate(p, c.path)
	c.validatePorts(p)
	own := validateAdapters(c.Adapters, c.dir, p)
	validateRoutes(c.Routes, names, own, p)
	own.validateUse(p, c.Routes)
	c.validateBuiltins(p)
}

// path resolves a path of the file. The result stays relative where the
// file's own name is, which keeps messages short.
func (c *Config) path(name string) string {
	if name == "" || filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(c.dir, name)
}

// validatePorts finds two listeners on one address, which the second would
// blame on another program.
func (c *Config) validatePorts(p *problems) {
	type listener struct{ key, address string }
	listeners := []listener{{"gateway.listen", c.Gateway.Listen}}
	if tls := c.Gateway.TLS; tls != nil {
		listeners = append(listeners, listener{"gateway.tls.http_listen", tls.HTTPListen})
	}
	if metrics := c.Gateway.MetricsListen; metrics != "" && metrics != MetricsOff {
		listeners = append(listeners, listener{"gateway.metrics_listen", metrics})
	}
	if c.IsEmbedded() && p.read("network.url") {
		listeners = append(listeners, listener{"network.listen", c.Network.Listen})
	}
	for i, there := range listeners {
		for _, here := range listeners[:i] {
			if p.read(here.key, there.key) && sameAddress(here.address, there.address) {
				p.addToOne([]string{there.key, here.key}, "%s = %q and %s = %q cannot both be had: each needs a port of its own (port 0 lets the system choose)",
					here.key, here.address, there.key, there.address)
			}
		}
	}
}

// whoIsWho matches the keys that say which canisters and routes there are.
var whoIsWho = regexp.MustCompile(`^(route|network\.canister)(\[\d+\](\.(canister|adapter|base|name))?)?$`)

// validateBuiltins wants a relay route for each relay canister: its settings
// stand there, and without them it would have nothing to do. Where names and
// routes have problems of their own, these come first.
func (c *Config) validateBuiltins(p *problems) {
	if slices.ContainsFunc(p.list, func(p Problem) bool { return whoIsWho.MatchString(p.Key) }) {
		return
	}
	for i, canister := range c.Network.Canisters {
		leadsHere := func(r Route) bool { return r.Canister == canister.Name && r.Builtin() == "relay" }
		if name, _ := canister.Builtin(); name == "relay" && !slices.ContainsFunc(c.Routes, leadsHere) {
			p.add(index("network.canister", i)+".wasm", `no [[route]] with adapter = "relay" has canister = %q, so this relay canister would have nothing to do`, canister.Name)
		}
	}
}
