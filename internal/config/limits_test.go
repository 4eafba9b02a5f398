package config

import (
	"fmt"
	"net/netip"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/icrelay/icrelay/bridge"
)

// What is wrong with settings that keep clients in check.
func TestLimitProblems(t *testing.T) {
	gateway := func(settings string) string { return replaced(t, "[gateway.limits]", settings+"\n[gateway.limits]") }
	limits := func(settings string) string { return replaced(t, `idle_timeout = "2m"`, settings) }
	open := func(settings string) string {
		return good + "[[route]]\ncanister = \"*\"\nadapter = \"cdk\"\n" + settings
	}
	tests := []struct {
		name, text string
		want       []string
	}{
		{"proxies", gateway(`trusted_proxies = ["10.0.0.0/8", "nonsense", "10.0.0.1/8", "0.0.0.0/0", "::/0", "::ffff:10.0.0.0/104", "10.0.0.0/33"]`), []string{
			`:4: gateway.trusted_proxies[1]: "nonsense" is neither an address nor a network`,
			`:4: gateway.trusted_proxies[2]: "10.0.0.1/8" has bits behind its length: the network is 10.0.0.0/8`,
			`:4: gateway.trusted_proxies[3]: "0.0.0.0/0" trusts everybody`,
			`:4: gateway.trusted_proxies[4]: "::/0" trusts everybody`,
			`:4: gateway.trusted_proxies[5]: "::ffff:10.0.0.0/104" is IPv4 written as IPv6`,
			`:4: gateway.trusted_proxies[6]: "10.0.0.0/33" is neither`,
		}},
		{"origins", gateway("allowed_origins = [\n\"https://example.com\",\n\"example.com\", \"https://example.com/path\"]"), []string{
			`:4: gateway.allowed_origins[1]: "example.com": it does not begin with a scheme`,
			`:4: gateway.allowed_origins[2]: "https://example.com/path": it has more`,
		}},
		{"a name for the metrics", gateway(`metrics_listen = "metrics"`), []string{`:4: gateway.metrics_listen: "metrics" is not an address`}},
		{"metrics where clients are", strings.Replace(gateway(`metrics_listen = "127.0.0.1:7000"`), `listen = "127.0.0.1:0"`, `listen = "127.0.0.1:7000"`, 1),
			[]string{`:4: gateway.metrics_listen: gateway.listen = "127.0.0.1:7000" and gateway.metrics_listen = "127.0.0.1:7000" cannot both`}},
		{"profiles at the clients' address", gateway("profiling = true"), []string{`:4: gateway.profiling: profiles are served at a listener of their own: set gateway.metrics_listen`}},

		{"negative", limits("connection_rate = -1\nframe_burst = -5\nmax_http_connections = -1"), []string{
			":5: gateway.limits.connection_rate: -1 is negative", ":6: gateway.limits.frame_burst: -5 is negative", ":7: gateway.limits.max_http_connections: -1 is negative"}},
		{"too much", limits("max_connections = 2000000000"), []string{":5: gateway.limits.max_connections: 2000000000 is too much: at most 134217728"}},
		{"not a number", limits("frame_rate = \"many\"\nbyte_rate = 1.5"), []string{`:5: gateway.limits.frame_rate: must be a whole number, not "many"`, ":6: gateway.limits.byte_rate: must be a whole number, not 1.5"}},
		{"burst below the frame's size", limits("byte_burst = 1000000"), []string{":5: gateway.limits.byte_burst: byte_burst (1000000) must not be less than max_frame_bytes (2162688)"}},
		{"frame's size above the burst", limits("max_frame_bytes = 5000000\nbyte_burst = 4000000"), []string{":6: gateway.limits.byte_burst: byte_burst (4000000) must not be less than max_frame_bytes (5000000)"}},
		{"first frame after the opening", limits("first_frame_timeout = \"20s\"\nopen_timeout = \"10s\""), []string{":5: gateway.limits.first_frame_timeout: first_frame_timeout (20s) must not be longer than open_timeout (10s)"}},
		{"first frame after the default opening", limits(`first_frame_timeout = "2m"`), []string{":5: gateway.limits.first_frame_timeout: first_frame_timeout (2m) must not be longer than open_timeout (1m)"}},
		{"too short", limits("header_timeout = \"1ms\"\nfirst_frame_timeout = \"1ms\""), []string{":5: gateway.limits.header_timeout: 1ms is too short", ":6: gateway.limits.first_frame_timeout: 1ms is too short"}},

		{"lists of a route to one canister", replaced(t, `adapter = "relay"`, "adapter = \"relay\"\nallow = [\"guestbook\"]\ndeny = []"),
			[]string{`:18: route[0].allow: is for canister = "*" only`, `:19: route[0].deny: is for canister = "*" only`}},
		{"nobody allowed", open("allow = []\n"), []string{":27: route[1].allow: allows nobody"}},
		{"lists of anything", open("allow = [\"aaaaa-aa\", \"somebody\", \"guestbook\", \"guestbook\"]\ndeny = [\"2vxsx-fae\", \"guestbook\", \"relay\"]\n"), []string{
			`:27: route[1].allow[0]: "aaaaa-aa" is the principal of no canister`,
			`:27: route[1].allow[1]: "somebody" is neither a principal nor the name`,
			`:27: route[1].allow[3]: "guestbook" is listed already`,
			`:28: route[1].deny[0]: "2vxsx-fae" is the principal of no canister`,
			`:28: route[1].deny[1]: "guestbook" is allowed and denied`,
			`:28: route[1].deny[2]: "relay" has a route of its own`,
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) { wantProblems(t, test.text, test.want) })
	}
}

func TestLimitsAccepted(t *testing.T) {
	text := strings.Replace(replaced(t, `idle_timeout = "2m"`, `open_timeout = "5s"
connection_rate = 7
byte_rate = 1000
`)+"[[route]]\ncanister = \"*\"\nadapter = \"cdk\"\ndeny = [\"guestbook\", \"ryjl3-tyaaa-aaaaa-aaaba-cai\"]\n", "[gateway.limits]", `
trusted_proxies = ["10.0.0.0/8", "192.0.2.7", "2001:db8::/32"]
allowed_origins = ["https://*.example.com", "null"]
require_origin = true
metrics_listen = "off"
[gateway.limits]`, 1)
	c, err := Load(write(t, text))
	if err != nil {
		t.Fatal(err)
	}
	want := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("192.0.2.7/32"), netip.MustParsePrefix("2001:db8::/32")}
	if got := c.Gateway.Proxies(); !slices.Equal(got, want) {
		t.Errorf("proxies = %v", got)
	}
	if l := c.Gateway.Limits; time.Duration(l.FirstFrameTimeout) != 5*time.Second || l.ConnectionRate != 7 {
		t.Errorf("limits = %+v: a short opening shortens the default of its first part", l)
	}
	if r := c.Routes[1]; len(r.Deny) != 2 || r.Allow != nil {
		t.Errorf("route = %+v", r)
	}
	if c, err = Load(write(t, good)); err != nil || c.Gateway.Proxies() != nil {
		t.Errorf("proxies = %v, %v; want the default", c.Gateway.Proxies(), err)
	}
	if c, err = Load(write(t, replaced(t, "[gateway.limits]", "trusted_proxies = []\n[gateway.limits]"))); err != nil || c.Gateway.Proxies() == nil {
		t.Errorf("proxies = %v, %v; want nobody", c.Gateway.Proxies(), err)
	}
}

// The documentation has a row for each limit, with its default.
func TestDocumentedLimits(t *testing.T) {
	text, err := os.ReadFile("../../docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	written := map[string]string{
		"max_connections_per_canister": "`max_connections`",
		"connection_burst":             "4 x `connection_rate`",
		"connection_burst_per_address": "10 x `connection_rate_per_address`",
		"frame_burst":                  "2 x `frame_rate`",
		"byte_burst":                   "4 x `byte_rate`",
	}
	defaults := reflect.ValueOf(bridge.DefaultLimits())
	fields := reflect.TypeFor[Limits]()
	for i := range fields.NumField() {
		field := fields.Field(i)
		key, value := field.Tag.Get("toml"), defaults.FieldByName(field.Name)
		want := fmt.Sprint(value)
		if d, ok := value.Interface().(time.Duration); ok {
			want = fmt.Sprintf("`%q`", Duration(d).String())
		}
		if w := written[key]; w != "" {
			want = w
		}
		if row := fmt.Sprintf("| `%s` | %s |", key, want); !strings.Contains(string(text), row) {
			t.Errorf("docs/configuration.md has no row %s", row)
		}
	}
	if fields.NumField() != defaults.NumField() {
		t.Errorf("%d settings, %d limits", fields.NumField(), defaults.NumField())
	}
}
