package config

import (
	"strings"
	"time"

	"github.com/icrelay/icrelay/candid"
)

// Embedded is the network.url that starts the embedded network.
const Embedded = "embedded"

// Prefix of a wasm path that names a module inside the binary.
const builtin = "builtin:"

// anyCanister stands for every canister that no other route names.
const anyCanister = "*"

// Config is config.toml. docs/configuration.md describes every key.
type Config struct {
	Gateway  Gateway   `toml:"gateway"`
	Network  Network   `toml:"network"`
	Adapters []Adapter `toml:"adapter"`
	Routes   []Route   `toml:"route"`

	file string // where it was read
	dir  string // relative paths start here
}

// File is the name of the configuration file.
func (c *Config) File() string { return c.file }

// Dir is the folder of the configuration file.
func (c *Config) Dir() string { return c.dir }

// Gateway is the [gateway] table.
type Gateway struct {
	Listen   string `toml:"listen"`
	Identity string `toml:"identity"`
	Web      string `toml:"web"`
	TLS      *TLS   `toml:"tls"` // nil for none

	TrustedProxies []string `toml:"trusted_proxies"` // CIDRs; nil for loopback
	AllowedOrigins []string `toml:"allowed_origins"` // none for any
	RequireOrigin  bool     `toml:"require_origin"`
	MetricsListen  string   `toml:"metrics_listen"` // "": Listen, for this machine only; or MetricsOff
	Profiling      bool     `toml:"profiling"`      // at MetricsListen, which must be an address

	Limits  Limits  `toml:"limits"`
	Polling Polling `toml:"polling"`
	Log     Log     `toml:"log"`
}

// MetricsOff is the gateway.metrics_listen that shows metrics to nobody.
const MetricsOff = "off"

// Limits is the [gateway.limits] table; see bridge.Limits. Load fills in the defaults of durations; a number that is zero means bridge's default.
type Limits struct {
	MaxConnections             int `toml:"max_connections"`
	MaxConnectionsPerAddress   int `toml:"max_connections_per_address"`
	MaxConnectionsPerCanister  int `toml:"max_connections_per_canister"`
	MaxConnectionsPerPrincipal int `toml:"max_connections_per_principal"`

	ConnectionRate            int `toml:"connection_rate"`
	ConnectionBurst           int `toml:"connection_burst"`
	ConnectionRatePerAddress  int `toml:"connection_rate_per_address"`
	ConnectionBurstPerAddress int `toml:"connection_burst_per_address"`

	FrameRate  int `toml:"frame_rate"`
	FrameBurst int `toml:"frame_burst"`
	ByteRate   int `toml:"byte_rate"`
	ByteBurst  int `toml:"byte_burst"`

	MaxHeaderBytes               int      `toml:"max_header_bytes"`
	MaxHTTPConnections           int      `toml:"max_http_connections"`
	MaxHTTPConnectionsPerAddress int      `toml:"max_http_connections_per_address"`
	HeaderTimeout                Duration `toml:"header_timeout"`
	FirstFrameTimeout            Duration `toml:"first_frame_timeout"`

	MaxFrameBytes int64    `toml:"max_frame_bytes"`
	QueueMessages int      `toml:"queue_messages"`
	QueueBytes    int      `toml:"queue_bytes"`
	OpenTimeout   Duration `toml:"open_timeout"`
	CallTimeout   Duration `toml:"call_timeout"`
	PollTimeout   Duration `toml:"poll_timeout"`
	PingInterval  Duration `toml:"ping_interval"`
	IdleTimeout   Duration `toml:"idle_timeout"`
	WriteTimeout  Duration `toml:"write_timeout"`
	StopTimeout   Duration `toml:"stop_timeout"`
}

// Polling is the [gateway.polling] table; see bridge.Polling. Load fills in the defaults.
type Polling struct {
	Interval     Duration `toml:"interval"`
	IdleInterval Duration `toml:"idle_interval"`
	MaxBackoff   Duration `toml:"max_backoff"`
}

// Log is the [gateway.log] table.
type Log struct {
	Level  string `toml:"level"`  // debug, info, warn, error
	Format string `toml:"format"` // text, json
}

// Network is the [network] table.
type Network struct {
	URL       string     `toml:"url"`
	Listen    string     `toml:"listen"`   // embedded only
	RootKey   string     `toml:"root_key"` // hex DER; mainnet's own by default, fetched from a network on this machine
	Canisters []Canister `toml:"canister"` // embedded only
}

// Canister is one [[network.canister]].
type Canister struct {
	Name string `toml:"name"`
	Wasm string `toml:"wasm"` // a path, or builtin:relay
}

// Route is one [[route]].
type Route struct {
	Canister string   `toml:"canister"` // a principal, the name of an embedded canister, or "*"
	Adapter  string   `toml:"adapter"`  // cdk, relay, or the name of an [[adapter]]
	Base     string   `toml:"base"`     // cdk or relay, with an [[adapter]] only; Load fills in the default
	Relay    *Relay   `toml:"relay"`
	Settings Settings `toml:"settings"` // with an [[adapter]] only

	Allow []string `toml:"allow"` // with "*": only these canisters, if there are some
	Deny  []string `toml:"deny"`  // with "*": but not these
}

// Duration is a time.Duration written like "500ms", "5s" or "1m30s".
type Duration time.Duration

// String writes a Duration as users do: 1m30s, and 24h rather than 24h0m0s.
func (d Duration) String() string {
	text := time.Duration(d).String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

func defaults() Config {
	return Config{
		Gateway: Gateway{
			Listen:   "127.0.0.1:8080",
			Identity: ".relay/identity.pem",
			Log:      Log{Level: "info", Format: "text"},
		},
		Network: Network{URL: Embedded},
	}
}

// DefaultNetworkListen is where the embedded network listens unless told otherwise.
const DefaultNetworkListen = "127.0.0.1:4943"

// IsEmbedded reports whether the network runs in this process.
func (c *Config) IsEmbedded() bool { return c.Network.URL == Embedded }

// Builtin returns the name after "builtin:".
func (c Canister) Builtin() (name string, ok bool) {
	if len(c.Wasm) > len(builtin) && c.Wasm[:len(builtin)] == builtin {
		return c.Wasm[len(builtin):], true
	}
	return "", false
}

// Builtin is the built-in adapter of the route: the one that it names, or that
// its own adapter is built on.
func (r Route) Builtin() string {
	if r.Base != "" {
		return r.Base
	}
	return r.Adapter
}

// IsAny reports whether the route serves every canister that has no other.
func (r Route) IsAny() bool { return r.Canister == anyCanister }

// Principal resolves a principal, or the name of an embedded canister.
func Principal(reference string, named map[string]candid.Principal) (candid.Principal, error) {
	if p, ok := named[reference]; ok {
		return p, nil
	}
	return candid.ParsePrincipal(reference)
}
