package config

import (
	"encoding/hex"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/icrelay/icrelay/candid"
)

// Adapters and builtin modules that a configuration may name.
var (
	adapters = []string{"cdk", "relay"}
	builtins = []string{"relay"}
)

// validate checks every value and makes paths absolute or relative to the
// working folder.
func (c *Config) validate(p *problems) {
	if p.broken {
		return
	}
	c.Gateway.validate(p, c.path)
	names := c.Network.validate(p, c.path)
	validateRoutes(c.Routes, names, p)
}

// path resolves a path of the file. The result stays relative where the
// file's own name is, which keeps messages short.
func (c *Config) path(name string) string {
	if name == "" || filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(c.dir, name)
}

func (g *Gateway) validate(p *problems, path func(string) string) {
	checkAddress(p, "gateway.listen", g.Listen)
	if g.Identity == "" {
		p.add("gateway.identity", `must name a PEM file, for example ".relay/identity.pem"; it is created at the first start`)
	}
	g.Identity = path(g.Identity)
	g.Web = path(g.Web)
	checkOneOf(p, "gateway.log.level", g.Log.Level, "debug", "info", "warn", "error")
	checkOneOf(p, "gateway.log.format", g.Log.Format, "text", "json")

	l := g.Limits
	checkNotNegative(p, "gateway.limits.max_connections", l.MaxConnections)
	checkNotNegative(p, "gateway.limits.max_frame_bytes", l.MaxFrameBytes)
	checkNotNegative(p, "gateway.limits.queue_messages", l.QueueMessages)
	checkNotNegative(p, "gateway.limits.queue_bytes", l.QueueBytes)
	for _, d := range []struct {
		key   string
		value Duration
	}{
		{"gateway.limits.open_timeout", l.OpenTimeout},
		{"gateway.limits.call_timeout", l.CallTimeout},
		{"gateway.limits.poll_timeout", l.PollTimeout},
		{"gateway.limits.ping_interval", l.PingInterval},
		{"gateway.limits.idle_timeout", l.IdleTimeout},
		{"gateway.limits.write_timeout", l.WriteTimeout},
		{"gateway.limits.stop_timeout", l.StopTimeout},
		{"gateway.polling.interval", g.Polling.Interval},
		{"gateway.polling.idle_interval", g.Polling.IdleInterval},
		{"gateway.polling.max_backoff", g.Polling.MaxBackoff},
	} {
		checkDuration(p, d.key, d.value)
	}
	if l.PingInterval > 0 && l.IdleTimeout > 0 && l.IdleTimeout <= l.PingInterval {
		p.add("gateway.limits.idle_timeout", "must be longer than ping_interval (%s), or every quiet client is cut off", time.Duration(l.PingInterval))
	}
	if g.Polling.Interval > 0 && g.Polling.IdleInterval > 0 && g.Polling.IdleInterval < g.Polling.Interval {
		p.add("gateway.polling.idle_interval", "must not be shorter than interval (%s)", time.Duration(g.Polling.Interval))
	}
}

// validate returns the names of the embedded canisters.
func (n *Network) validate(p *problems, path func(string) string) []string {
	embedded := n.URL == Embedded
	switch {
	case embedded && n.Listen == "":
		n.Listen = DefaultNetworkListen
	case embedded:
		checkAddress(p, "network.listen", n.Listen)
	default:
		n.validateRemote(p)
	}
	if embedded && n.RootKey != "" {
		p.add("network.root_key", "the embedded network makes its own root key; remove this")
	}

	var names []string
	for i := range n.Canisters {
		c, key := &n.Canisters[i], fmt.Sprintf("network.canister[%d]", i)
		switch {
		case c.Name == "":
			p.add(key+".name", "every canister needs a name, which routes use")
		case slices.Contains(names, c.Name):
			p.add(key+".name", "%q is the name of another canister", c.Name)
		}
		if _, err := candid.ParsePrincipal(c.Name); err == nil && c.Name != "" {
			p.add(key+".name", "%q is a principal; a name must not look like one", c.Name)
		}
		names = append(names, c.Name)
		c.validateWasm(p, key+".wasm", path)
	}
	return names
}

func (c *Canister) validateWasm(p *problems, key string, path func(string) string) {
	if name, ok := c.Builtin(); ok {
		if !slices.Contains(builtins, name) {
			p.add(key, "there is no module %q in the relay; known: %s%s", c.Wasm, builtin, strings.Join(builtins, ", "+builtin))
		}
		return
	}
	if c.Wasm == "" {
		p.add(key, `must name a Wasm file, or "builtin:relay"`)
		return
	}
	c.Wasm = path(c.Wasm)
	if info, err := os.Stat(c.Wasm); err != nil {
		p.add(key, "%v", err)
	} else if info.IsDir() {
		p.add(key, "%s is a folder, not a Wasm file", c.Wasm)
	}
}

func (n *Network) validateRemote(p *problems) {
	u, err := url.Parse(n.URL)
	switch {
	case n.URL == "":
		p.add("network.url", `must be "embedded", or the URL of a network, for example "http://127.0.0.1:8000" or "https://icp-api.io"`)
	case err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https"):
		p.add("network.url", `%q is neither "embedded" nor an http or https URL`, n.URL)
	case n.RootKey == "" && !n.IsMainnet() && !isLoopback(u.Hostname()):
		p.add("network.root_key", "needed for %s: only a network on this machine may be asked for its own root key (without a key of yours, anybody in between could forge certificates)", n.URL)
	}
	if n.Listen != "" {
		p.add("network.listen", `is for url = "embedded" only`)
	}
	if len(n.Canisters) > 0 {
		p.add("network.canister[0]", `canisters are installed in the embedded network only; with url = %q deploy them with your own tool and name them by principal in the routes`, n.URL)
	}
	if n.RootKey != "" {
		if _, err := hex.DecodeString(n.RootKey); err != nil {
			p.add("network.root_key", "must be the hexadecimal DER of the network's public key: %v", err)
		}
	}
}

// IsMainnet reports whether the URL is one of the Internet Computer's own
// API addresses, whose root key is a constant.
func (n *Network) IsMainnet() bool {
	u, err := url.Parse(n.URL)
	if err != nil || u.Scheme != "https" {
		return false
	}
	host := u.Hostname()
	for _, domain := range []string{"icp-api.io", "icp0.io", "ic0.app", "internetcomputer.org"} {
		if host == domain || strings.HasSuffix(host, "."+domain) {
			return true
		}
	}
	return false
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || strings.HasSuffix(host, ".localhost") || (ip != nil && ip.IsLoopback())
}

func validateRoutes(routes []Route, names []string, p *problems) {
	if len(routes) == 0 {
		p.at(0, "route", "there is none: without a [[route]] no client can connect to anything")
	}
	seen := make(map[string]bool)
	for i := range routes {
		r, key := &routes[i], fmt.Sprintf("route[%d]", i)
		switch {
		case r.Canister == "":
			p.add(key+".canister", `must be a principal, the name of an embedded canister, or "*" for any`)
		case r.IsAny() && r.Adapter == "relay":
			p.add(key+".canister", `"*" cannot go with adapter = "relay": each relay canister has settings of its own`)
		case !r.IsAny():
			checkReference(p, key+".canister", r.Canister, names)
		}
		if r.Canister != "" && seen[r.Canister] {
			p.add(key+".canister", "%q has a route already", r.Canister)
		}
		seen[r.Canister] = true
		if r.Adapter == "" {
			p.add(key+".adapter", "must be one of %s", strings.Join(adapters, ", "))
		} else {
			checkOneOf(p, key+".adapter", r.Adapter, adapters...)
		}
		switch {
		case r.Relay != nil && r.Adapter != "relay":
			p.add(key+".relay", `is for adapter = "relay" only, this route has %q`, r.Adapter)
		case r.Relay != nil:
			r.Relay.validate(p, key+".relay", names)
		case r.Adapter == "relay":
			p.add(key, "a relay route needs a [[route.relay.call]] or a [[route.relay.feed]], or it would do nothing")
		}
	}
}

func (r *Relay) validate(p *problems, key string, names []string) {
	if len(r.Calls) == 0 && len(r.Feeds) == 0 {
		p.add(key, "a relay route needs a [[route.relay.call]] or a [[route.relay.feed]], or it would do nothing")
	}
	if len(r.Calls) > 1 {
		p.add(key+".call[1]", "at most one call: every message goes whole to one method")
	}
	for _, list := range []struct {
		name    string
		targets []Target
	}{{"call", r.Calls}, {"feed", r.Feeds}} {
		seen := make(map[Target]bool)
		for i, t := range list.targets {
			at := fmt.Sprintf("%s.%s[%d]", key, list.name, i)
			if t.Target == "" {
				p.add(at+".target", "must be a principal or the name of an embedded canister")
			} else {
				checkReference(p, at+".target", t.Target, names)
			}
			if t.Method == "" {
				p.add(at+".method", "must name a method of the target")
			}
			if seen[t] {
				p.add(at, "%s.%s is listed already", t.Target, t.Method)
			}
			seen[t] = true
		}
	}
	for i, admin := range r.Admins {
		if _, err := candid.ParsePrincipal(admin); err != nil {
			p.add(key+".admins", "entry %d: %q is not a principal: %v", i, admin, err)
		}
	}
	checkDuration(p, key+".ack_interval", r.AckInterval)
	checkDuration(p, key+".keep_alive_timeout", r.KeepAliveTimeout)
	checkDuration(p, key+".watch_interval", r.WatchInterval)
}

// checkReference wants a principal or one of names.
func checkReference(p *problems, key, value string, names []string) {
	if slices.Contains(names, value) {
		return
	}
	if _, err := candid.ParsePrincipal(value); err != nil {
		known := "there is no [[network.canister]]"
		if len(names) > 0 {
			known = "known names: " + strings.Join(names, ", ")
		}
		p.add(key, "%q is neither a principal nor the name of an embedded canister (%s)", value, known)
	}
}

func checkAddress(p *problems, key, value string) {
	host, port, err := net.SplitHostPort(value)
	switch {
	case err != nil:
		p.add(key, `%q is not an address like "127.0.0.1:8080"`, value)
	case port == "":
		p.add(key, `%q has no port; 0 lets the system choose one`, value)
	default:
		if _, err := net.LookupPort("tcp", port); err != nil {
			p.add(key, "%q is not a port", port)
		}
		if host != "" && host != "localhost" && net.ParseIP(host) == nil {
			p.add(key, `%q is not an IP address; "0.0.0.0" listens on all`, host)
		}
	}
}

func checkOneOf(p *problems, key, value string, allowed ...string) {
	if !slices.Contains(allowed, value) {
		p.add(key, "%q is not one of %s", value, strings.Join(allowed, ", "))
	}
}

func checkNotNegative[T int | int64](p *problems, key string, value T) {
	if value < 0 {
		p.add(key, "%d is negative; 0 or no setting means the default", value)
	}
}

func checkDuration(p *problems, key string, value Duration) {
	if value < 0 {
		p.add(key, "%s is negative; 0 or no setting means the default", time.Duration(value))
	}
}
