package config

import (
	"encoding/hex"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/icrelay/icrelay/candid"
	"github.com/icrelay/icrelay/ic"
)

// remote is a configuration for a network at a URL.
func remote(network string) string { return "[network]\n" + network + "\n" + routeOfAny }

func listOf(n int, each func(i int) string) string {
	parts := make([]string, n)
	for i := range parts {
		parts[i] = each(i)
	}
	return "[" + strings.Join(parts, ", ") + "]"
}

func principals(n int) string {
	return listOf(n, func(i int) string {
		return fmt.Sprintf("%q", candid.SelfAuthenticating([]byte{byte(i)}))
	})
}

// What could be read but would fail later: when something starts, when a
// canister is installed, or with the first client.
func TestRules(t *testing.T) {
	limits := func(settings string) string { return replaced(t, `idle_timeout = "2m"`, settings) }
	tests := []struct {
		name, text string
		want       []string
	}{
		{"idle below the default ping", limits(`idle_timeout = "20s"`), []string{":5: gateway.limits.idle_timeout: idle_timeout (20s) must be longer than ping_interval (30s)"}},
		{"ping above the default idle", limits(`ping_interval = "2m"`), []string{":5: gateway.limits.ping_interval: idle_timeout (1m30s) must be longer than ping_interval (2m)"}},
		{"polling above its default idle", limits("") + "[gateway.polling]\ninterval = \"2s\"\n", []string{":25: gateway.polling.interval: idle_interval (1s) must not be shorter than interval (2s)"}},
		{"idle polling below its default", limits("") + "[gateway.polling]\nidle_interval = \"50ms\"\n", []string{":25: gateway.polling.idle_interval: idle_interval (50ms) must not be shorter"}},
		{"backoff below polling", limits("") + "[gateway.polling]\nmax_backoff = \"1s\"\nidle_interval = \"10s\"\ninterval = \"2s\"\n", []string{":25: gateway.polling.max_backoff: max_backoff (1s) must not"}},

		{"ping of a nanosecond", limits(`ping_interval = "1ns"`), []string{":5: gateway.limits.ping_interval: 1ns is too short: at least 100ms"}},
		{"everything too short", limits("open_timeout = \"1ms\"\ncall_timeout = \"1ms\"\npoll_timeout = \"1ms\"\nidle_timeout = \"1ms\"\nwrite_timeout = \"1ms\"\nstop_timeout = \"99ms\"\n[gateway.polling]\ninterval = \"4ms\"\nidle_interval = \"1us\"\nmax_backoff = \"5ms\""),
			[]string{":5: gateway.limits.open", ":6: gateway.limits.call", ":7: gateway.limits.poll", ":8: gateway.limits.idle", ":9: gateway.limits.write", ":10: gateway.limits.stop",
				":12: gateway.polling.interval: 4ms is too short: at least 5ms", ":13: gateway.polling.idle_interval", ":14: gateway.polling.max_backoff: 5ms is too short: at least 100ms"}},
		{"too long", limits(`idle_timeout = "25h"`), []string{":5: gateway.limits.idle_timeout: 25h is too long: at most 24h"}},
		{"relay canister without a route", strings.Split(good, "[[route]]")[0] + "[[route]]\ncanister = \"guestbook\"\nadapter = \"cdk\"\n", []string{`:14: network.canister[1].wasm: no [[route]] with adapter = "relay" has canister = "relay"`}},
		{"relay canister with a cdk route", strings.Split(good, "[[route]]")[0] + "[[route]]\ncanister = \"relay\"\nadapter = \"cdk\"\n", []string{`:14: network.canister[1].wasm: no [[route]] with adapter = "relay"`}},
		{"a canister named *", replaced(t, `name = "guestbook"`, `name = "*"`), []string{`:10: network.canister[0].name: "*"`, ":19: route[0].relay.call[0].target: ", ":22: route[0].relay.feed[0].target: "}},
		{"a route to nobody", "[[route]]\ncanister = \"2vxsx-fae\"\nadapter = \"cdk\"\n[[route]]\ncanister = \"aaaaa-aa\"\nadapter = \"cdk\"\n", []string{`:2: route[0].canister: "2vxsx-fae" is the principal of no canister`, `:5: route[1].canister: "aaaaa-aa" is`}},

		{"key of another kind", remote("url = \"http://example.com\"\nroot_key = \"302a300506032b6570032100" + strings.Repeat("00", 32) + "\""), []string{":3: network.root_key: must be the hexadecimal DER of the network's public key, 133 bytes"}},
		{"URL with a query", remote(`url = "https://icp-api.io/?a=b"`), []string{":2: network.url: \"https://icp-api.io/?a=b\" has more"}},
		{"URL with an empty query", remote(`url = "https://icp-api.io/?"`), []string{":2: network.url: "}},
		{"URL with a fragment", remote(`url = "https://icp-api.io/#"`), []string{":2: network.url: "}},
		{"URL with a user", remote(`url = "https://me@icp-api.io"`), []string{":2: network.url: "}},
		{"URL without a host", remote(`url = "http://:8000"`), []string{":2: network.url: "}},
		{"URL with a port of too many digits", remote(`url = "http://127.0.0.1:80000"`), []string{`:2: network.url: "80000" is not a port`}},

		{"one port twice", strings.ReplaceAll(good, "127.0.0.1:0", "127.0.0.1:4000"), []string{`:8: network.listen: gateway.listen = "127.0.0.1:4000" and network.listen = "127.0.0.1:4000" cannot both`}},
		{"one port twice, by other names", strings.Replace(replaced(t, `"127.0.0.1:0"`, `":4000"`), "127.0.0.1:0", "localhost:4000", 1), []string{":8: network.listen: "}},
		{"the network's default port", "[gateway]\nlisten = \"0.0.0.0:4943\"\n" + routeOfAny, []string{`:2: gateway.listen: gateway.listen = "0.0.0.0:4943" and network.listen = "127.0.0.1:4943"`}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) { wantProblems(t, test.text, test.want) })
	}
}

// The rules stop at what they mean to stop.
func TestAccepted(t *testing.T) {
	relay := func(settings string) string { return good + "[route.relay]\n" + settings + "\n" }
	tests := map[string]string{
		"any port on both":             good,
		"one port of two addresses":    strings.Replace(replaced(t, "127.0.0.1:0", "127.0.0.1:4000"), "127.0.0.1:0", "127.0.0.2:4000", 1),
		"shortest":                     relay("ack_interval = \"51ms\"\nkeep_alive_timeout = \"50ms\"\nwatch_interval = \"10ms\""),
		"longest":                      relay("ack_interval = \"24h\""),
		"short acks alone":             relay("ack_interval = \"50ms\""),
		"63 admins":                    relay("admins = " + principals(63)),
		"zero":                         replaced(t, `idle_timeout = "2m"`, "idle_timeout = \"0s\"\nmax_connections = 0"),
		"mainnet's key by hand":        remote("url = \"http://example.com/ic/\"\nroot_key = \"" + hex.EncodeToString(ic.MainnetRootKey()) + "\""),
		"an unused port of the other":  remote("url = \"http://127.0.0.1:8080\""),
		"two relay routes, one by id":  good + "[[route]]\ncanister = \"ryjl3-tyaaa-aaaaa-aaaba-cai\"\nadapter = \"relay\"\nrelay.feed = [{ target = \"guestbook\", method = \"since\" }]\n",
		"a byte order mark":            "\xef\xbb\xbf" + good,
		"lines that end as on Windows": strings.ReplaceAll(good, "\n", "\r\n"),
	}
	for name, text := range tests {
		t.Run(name, func(t *testing.T) {
			if _, err := Load(write(t, text)); err != nil {
				t.Error(err)
			}
		})
	}
}

// The configuration has the defaults of durations, and the documentation tells them.
func TestDefaults(t *testing.T) {
	c, err := Load(write(t, routeOfAny))
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile("../../docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	for key, d := range map[string]Duration{
		"open_timeout":  c.Gateway.Limits.OpenTimeout,
		"call_timeout":  c.Gateway.Limits.CallTimeout,
		"poll_timeout":  c.Gateway.Limits.PollTimeout,
		"ping_interval": c.Gateway.Limits.PingInterval,
		"idle_timeout":  c.Gateway.Limits.IdleTimeout,
		"write_timeout": c.Gateway.Limits.WriteTimeout,
		"stop_timeout":  c.Gateway.Limits.StopTimeout,
		"interval":      c.Gateway.Polling.Interval,
		"idle_interval": c.Gateway.Polling.IdleInterval,
		"max_backoff":   c.Gateway.Polling.MaxBackoff,
	} {
		if row := fmt.Sprintf("| `%s` | `\"%s\"` |", key, d); !strings.Contains(string(text), row) {
			t.Errorf("docs/configuration.md has no row %s", row)
		}
	}
}
