package app

import (
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/icrelay/icrelay/adapters/relay"
	"github.com/icrelay/icrelay/bridge"
	"github.com/icrelay/icrelay/candid"
	"github.com/icrelay/icrelay/client"
	"github.com/icrelay/icrelay/ic"
	"github.com/icrelay/icrelay/internal/config"
	"github.com/icrelay/icrelay/internal/testnet"
)

// Names become principals, and the gateway's own is added where it belongs.
func TestRelaySettings(t *testing.T) {
	const (
		chat    = candid.Principal("\x00\x00\x00\x00\x00\x00\x00\x01\x01\x01")
		gateway = candid.Principal("\x00\x00\x00\x00\x00\x00\x00\x02\x01\x01")
		other   = candid.Principal("\x00\x00\x00\x00\x00\x00\x00\x03\x01\x01")
	)
	named := map[string]candid.Principal{"chat": chat}
	route := &config.Relay{
		Calls:            []config.Call{{Target: "chat", Method: "say", Tag: "say", PassClient: true, Reply: config.ReplySender, ReplyTag: "said", ErrorTag: "failed"}, {Target: other.String(), Method: "post"}},
		Feeds:            []config.Feed{{Target: "chat", Method: "since", Tag: "item", Recipient: "to", Last: 5, Interval: config.Duration(2 * time.Second)}},
		Hooks:            []config.Hook{{Target: "chat", Open: "opened", Close: "closed"}},
		Pushers:          []string{"chat", other.String(), chat.String()},
		Admins:           []string{other.String()},
		Gateways:         []string{other.String()},
		AckInterval:      config.Duration(10 * time.Second),
		KeepAliveTimeout: config.Duration(5 * time.Second),
		WatchInterval:    config.Duration(time.Second),
		MaxMessages:      7,
		MaxCallsInFlight: 8,
		Resume:           config.Duration(2 * time.Minute),
		ResumeTag:        "Resumed",
	}
	want := relay.Settings{
		Calls: []relay.Call{
			{Target: relay.Target{Canister: chat, Method: "say"}, Tag: "say", PassClient: true, Reply: relay.ReplySender, ReplyTag: "said", ErrorTag: "failed"},
			{Target: relay.Target{Canister: other, Method: "post"}},
		},
		Feeds:            []relay.Feed{{Target: relay.Target{Canister: chat, Method: "since"}, Tag: "item", Recipient: "to", Last: 5, Interval: 2 * time.Second}},
		Hooks:            []relay.Hook{{Canister: chat, Open: "opened", Close: "closed"}},
		Pushers:          []candid.Principal{chat, other},
		Admins:           []candid.Principal{other, gateway},
		Gateways:         []candid.Principal{other, gateway},
		AckInterval:      10 * time.Second,
		KeepAliveTimeout: 5 * time.Second,
		WatchInterval:    time.Second,
		MaxMessages:      7,
		MaxCallsInFlight: 8,
		Resume:           2 * time.Minute,
		ResumeTag:        "Resumed",
	}
	untrusted := *route
	untrusted.UntrustedGateway = true
	if got, err := relaySettings(&untrusted, named, gateway); err != nil || len(got.Admins) != 1 || got.Admins[0] != other || len(got.Gateways) != 2 {
		t.Errorf("with an untrusted gateway: admins %v, gateways %v, %v", got.Admins, got.Gateways, err)
	}
	got, err := relaySettings(route, named, gateway)
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("%v %s", err, diff)
	}
	if len(route.Admins) != 1 || len(route.Gateways) != 1 {
		t.Error("the configuration was changed")
	}

	// Who is listed already is not added, and no list of gateways means any gateway.
	got, err = relaySettings(&config.Relay{Admins: []string{gateway.String()}}, named, gateway)
	want = relay.Settings{Admins: []candid.Principal{gateway}}
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" || err != nil {
		t.Errorf("%v %s", err, diff)
	}

	for name, tc := range map[string]struct {
		route config.Relay
		want  string
	}{
		"an unknown call's target": {config.Relay{Calls: []config.Call{{Target: "chat", Method: "m"}, {Target: "game", Method: "m"}}}, "call[1].target: "},
		"an unknown feed's target": {config.Relay{Feeds: []config.Feed{{Target: "game", Method: "m"}}}, "feed[0].target: "},
		"an unknown hook's target": {config.Relay{Hooks: []config.Hook{{Target: "game", Open: "m"}}}, "hook[0].target: "},
		"an unknown pusher":        {config.Relay{Pushers: []string{"game"}}, "pushers[0]: "},
		"a name as admin":          {config.Relay{Admins: []string{"chat"}}, "admins[0]: "},
		"a name as gateway":        {config.Relay{Gateways: []string{"chat"}}, "gateways[0]: "},
		"a feed by name and by id": {config.Relay{Feeds: []config.Feed{{Target: "chat", Method: "m"}, {Target: chat.String(), Method: "m", Tag: "t"}}}, "feed[1]: " + chat.String() + ".m is listed already"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := relaySettings(&tc.route, named, gateway); err == nil || !strings.HasPrefix(err.Error(), tc.want) {
				t.Errorf("err = %v, want %q", err, tc.want)
			}
		})
	}
}

const twoRelays = `
[gateway]
listen = "127.0.0.1:0"
[network]
url = "https://icp-api.io"
[[route]]
canister = "ryjl3-tyaaa-aaaaa-aaaba-cai"
adapter = "relay"
relay.call = [{ target = "qoctq-giaaa-aaaaa-aaaea-cai", method = "post" }]
[[route]]
canister = "*"
adapter = "cdk"
[[route]]
canister = "rrkah-fqaaa-aaaaa-aaaaq-cai"
adapter = "relay"
relay.feed = [{ target = "qoctq-giaaa-aaaaa-aaaea-cai", method = "since" }]
relay.gateways = ["qoctq-giaaa-aaaaa-aaaea-cai"]
`

// The install argument is that of the chosen route, with the gateway in it.
func TestRelayArgument(t *testing.T) {
	one, _, _ := strings.Cut(twoRelays, "[[route]]\ncanister = \"rrkah")
	for _, tc := range []struct {
		name, text, canister string
		want                 []string // {gateway} is the gateway's principal
	}{
		{"the only one", one, "", []string{
			`record { target = principal "qoctq-giaaa-aaaaa-aaaea-cai"; method = "post" };`,
			"admins = vec {\n    principal \"{gateway}\";\n  };",
			"gateways = null;",
			"ack_interval_ms = null;",
			"interface = opt (1 : nat32);",
		}},
		{"the first", twoRelays, "ryjl3-tyaaa-aaaaa-aaaba-cai", []string{`method = "post"`, "feeds = vec {}"}},
		{"the second", twoRelays, "rrkah-fqaaa-aaaaa-aaaaq-cai", []string{
			`method = "since"`, "calls = vec {}",
			"gateways = opt vec {\n    principal \"qoctq-giaaa-aaaaa-aaaea-cai\";\n    principal \"{gateway}\";\n  };",
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			cfg := load(t, tc.text)
			text, _, err := RelayArgument(cfg, tc.canister, FormatCandid)
			if err != nil {
				t.Fatal(err)
			}
			identity, created, err := ic.LoadOrCreateIdentity(cfg.Gateway.Identity)
			if err != nil || created {
				t.Fatalf("identity created again: %v, %v", created, err)
			}
			for _, want := range tc.want {
				if want = strings.ReplaceAll(want, "{gateway}", identity.Principal().String()); !strings.Contains(text, want) {
					t.Errorf("%q is not in:\n%s", want, text)
				}
			}
		})
	}
	for _, tc := range []struct{ name, text, canister, want string }{
		{"names of embedded canisters", guestbook, "", "principals"},
		{"several", twoRelays, "", "choose one with --canister: ryjl3-tyaaa-aaaaa-aaaba-cai, rrkah-fqaaa-aaaaa-aaaaq-cai"},
		{"another canister", twoRelays, "qoctq-giaaa-aaaaa-aaaea-cai", `canister = "qoctq-giaaa-aaaaa-aaaea-cai"`},
		{"a route of another adapter", twoRelays, "*", `canister = "*"`},
		{"no relay route", "[[route]]\ncanister = \"*\"\nadapter = \"cdk\"\n", "", "no route with adapter"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if _, _, err := RelayArgument(load(t, tc.text), tc.canister, FormatCandid); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("err = %v, want %q in it", err, tc.want)
			}
		})
	}
}

// The formats say the same, and the one that some tools misread comes with a note.
func TestRelayArgumentFormats(t *testing.T) {
	one, _, _ := strings.Cut(twoRelays, "[[route]]\ncanister = \"rrkah")
	cfg := load(t, one)
	bin, note, err := RelayArgument(cfg, "", FormatBin)
	if err != nil || note != "" {
		t.Fatal(note, err)
	}
	values, err := candid.Decode([]byte(bin), candid.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	calls, _ := values[0].Field("calls").Vec()
	if len(calls) != 1 {
		t.Errorf("calls = %v", calls)
	}
	text, note, err := RelayArgument(cfg, "", FormatHex)
	if err != nil || note != "" || text != hex.EncodeToString([]byte(bin))+"\n" {
		t.Errorf("hex = %q, %q, %v", text, note, err)
	}
	if _, _, err := RelayArgument(cfg, "", "json"); err == nil || !strings.Contains(err.Error(), "candid, hex or bin") {
		t.Errorf("json: %v", err)
	}
	if _, note, err := RelayArgument(cfg, "", FormatCandid); err != nil || note != "" {
		t.Errorf("one call: note %q, %v", note, err)
	}
	mixed := load(t, strings.Replace(one, "relay.call = [", `relay.call = [{ target = "qoctq-giaaa-aaaaa-aaaea-cai", method = "say", tag = "say" }, `, 1))
	if _, note, err := RelayArgument(mixed, "", FormatCandid); err != nil || !strings.Contains(note, "--format hex") {
		t.Errorf("calls of two kinds: note %q, %v", note, err)
	}
	if _, note, err := RelayArgument(mixed, "", FormatHex); err != nil || note != "" {
		t.Errorf("calls of two kinds as hex: note %q, %v", note, err)
	}
}

// The relay canister takes what the configuration's checks let through, at
// each of their bounds.
func TestSettingsAtTheirBounds(t *testing.T) {
	list := func(n int, format string) string {
		parts := make([]string, n)
		for i := range parts {
			parts[i] = strings.ReplaceAll(format, "%", fmt.Sprint(i))
		}
		return "[" + strings.Join(parts, ", ") + "]"
	}
	principals := func(n int) string {
		parts := make([]string, n)
		for i := range parts {
			parts[i] = fmt.Sprintf("%q", candid.SelfAuthenticating([]byte{byte(i)}))
		}
		return "[" + strings.Join(parts, ", ") + "]"
	}
	const post = `call = [{ target = "guestbook", method = "post" }]`
	long := strings.Repeat("ü", 500)
	for name, settings := range map[string]string{
		"many calls":       "call = " + list(256, `{ target = "guestbook", method = "post", tag = "t%" }`),
		"many feeds":       "feed = " + list(64, `{ target = "guestbook", method = "m%" }`),
		"many with last":   "feed = " + list(16, `{ target = "guestbook", method = "m%", last = 1000 }`),
		"many hooks":       "hook = " + list(64, `{ target = "guestbook", open = "m%", close = "m%" }`),
		"many principals":  post + "\nadmins = " + principals(63) + "\ngateways = " + principals(63) + "\npushers = " + principals(64),
		"shortest":         post + "\nack_interval = \"51ms\"\nkeep_alive_timeout = \"50ms\"",
		"short acks alone": post + "\nack_interval = \"50ms\"",
		"longest":          post + "\nack_interval = \"24h\"\nkeep_alive_timeout = \"23h59m59.999s\"",
		"long methods": fmt.Sprintf("feed = [{ target = \"guestbook\", method = %[1]q }]\nhook = [{ target = \"guestbook\", open = %[1]q }]\ncall = [{ target = \"guestbook\", method = %[1]q }]",
			strings.Repeat("ü", 20_000)),
		"long names": fmt.Sprintf("call = [{ target = \"guestbook\", method = \"m\", tag = %[1]q, reply = \"sender\", reply_tag = %[1]q, error_tag = %[1]q }]\n"+
			"feed = [{ target = \"guestbook\", method = \"m\", tag = %[1]q, recipient = %[1]q }]", long),
		"shortest timer":    `feed = [{ target = "guestbook", method = "since", last = 1000, interval = "100ms" }]`,
		"longest timer":     `feed = [{ target = "guestbook", method = "since", last = 0, interval = "24h" }]`,
		"largest limits":    post + "\nmax_messages = 1000\nmax_calls_in_flight = 200",
		"smallest limits":   post + "\nmax_messages = 1\nmax_calls_in_flight = 1",
		"zero":              post + "\nmax_messages = 0\nmax_calls_in_flight = 0\nack_interval = \"0s\"",
		"nothing but hooks": `hook = [{ target = "guestbook", close = "left" }]`,
		"only pushers":      `pushers = ["guestbook"]`,
		"all replies": `call = [{ target = "guestbook", method = "m", tag = "a", reply = "nobody" }, { target = "guestbook", method = "m", tag = "b", reply = "sender" },` +
			` { target = "guestbook", method = "m", tag = "c", reply = "everybody", reply_tag = "r", error_tag = "e", pass_client = true }, { target = "guestbook", method = "m" }]`,
	} {
		t.Run(name, func(t *testing.T) {
			text, _, _ := strings.Cut(guestbook, "relay.call")
			launch(t, load(t, text+"[route.relay]\n"+settings+"\n"), RunNetwork, "canister relay")
		})
	}
}

// A relay canister with an interface that the gateway does not know is not
// served: its clients are told why.
func TestUnknownRelayCanister(t *testing.T) {
	n := testnet.Start(t)
	id := n.Create()
	n.InstallFile(id, testnet.EchoFile, candid.EncodeEmpty())
	r := start(t, load(t, fmt.Sprintf(`
[gateway]
listen = "127.0.0.1:0"
[network]
url = %q
[[route]]
canister = %q
adapter = "relay"
relay.call = [{ target = %[2]q, method = "post" }]
`, n.URL(), id)))
	var closed *client.CloseError
	if _, err := r.tryDial(id); !errors.As(err, &closed) || closed.Code != bridge.CloseRefused || !strings.Contains(closed.Reason, "has no method relay_version") {
		t.Errorf("err = %v, want close code %d with the reason", err, bridge.CloseRefused)
	}
}
