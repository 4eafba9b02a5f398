package app

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/icrelay/icrelay/adapters/relay"
	"github.com/icrelay/icrelay/candid"
	"github.com/icrelay/icrelay/canister"
	"github.com/icrelay/icrelay/ic"
	"github.com/icrelay/icrelay/internal/config"
	"github.com/icrelay/icrelay/internal/testnet"
	"github.com/icrelay/icrelay/localnet/execution"
)

// A deployment is a relay canister that was deployed to a network beside a
// guestbook, with an identity as its admin and nothing else in its configuration.
type deployment struct {
	*testnet.Network
	guestbook, relay candid.Principal
	identity         string // file
	gateway          candid.Principal
}

func deploy(t *testing.T) *deployment {
	t.Helper()
	d := &deployment{Network: testnet.Start(t), identity: t.TempDir() + "/identity.pem"}
	identity, _, err := ic.LoadOrCreateIdentity(d.identity)
	if err != nil {
		t.Fatal(err)
	}
	d.gateway = identity.Principal()
	d.guestbook, d.relay = d.Create(), d.Create()
	d.InstallFile(d.guestbook, "examples/motoko/guestbook/guestbook.wasm", candid.EncodeEmpty())
	arg, err := relay.Settings{Admins: []candid.Principal{d.gateway}}.Argument()
	if err != nil {
		t.Fatal(err)
	}
	d.InstallCode(d.relay, canister.Wasm32(), arg)
	return d
}

// file is a configuration for the deployment, with more in its [route.relay].
func (d *deployment) file(t *testing.T, identity, settings string) *config.Config {
	t.Helper()
	return load(t, fmt.Sprintf(`
[gateway]
listen = "127.0.0.1:0"
identity = %q
[network]
url = %q
[[route]]
canister = %q
adapter = "relay"
[route.relay]
call = [{ target = %[4]q, method = "post" }]
feed = [{ target = %[4]q, method = "since" }]
watch_interval = "50ms"
%[5]s
`, identity, d.URL(), d.relay, d.guestbook, settings))
}

// configure runs the command and returns what it prints.
func configure(t *testing.T, cfg *config.Config, name string, dryRun bool) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var out strings.Builder
	err := Configure(ctx, cfg, name, dryRun, &out, quiet())
	return out.String(), err
}

// wantLines wants that these parts are in the output, and that it has so many lines.
func wantLines(t *testing.T, out string, err error, lines int, parts ...string) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Count(out, "\n"); got != lines {
		t.Errorf("%d lines, want %d", got, lines)
	}
	for _, part := range parts {
		if !strings.Contains(out, part) {
			t.Errorf("%q is not in it", part)
		}
	}
	if t.Failed() {
		t.Fatalf("printed:\n%s", out)
	}
}

// The configuration is shown, applied, and known to be applied; and a client
// that is connected meanwhile stays and notices what changed.
func TestConfigure(t *testing.T) {
	d := deploy(t)
	call := fmt.Sprintf(`call { target = %q, method = "post" } is only in the file`, d.guestbook)
	feed := fmt.Sprintf(`feed { target = %q, method = "since" } is only in the file`, d.guestbook)
	cfg := d.file(t, d.identity, "")
	r := start(t, d.file(t, d.identity, ""))
	conn := r.dial(d.relay)

	for range 2 { // a dry run changes nothing
		out, err := configure(t, cfg, "", true)
		wantLines(t, out, err, 4, "relay canister "+d.relay.String()+" (", "interface 1)", call, feed, "nothing was changed")
	}
	out, err := configure(t, cfg, "", false)
	wantLines(t, out, err, 4, call, feed, "configured as in the file\n")
	out, err = configure(t, cfg, d.relay.String(), true)
	wantLines(t, out, err, 2, "nothing would change")
	out, err = configure(t, cfg, d.relay.String(), false)
	wantLines(t, out, err, 2, "which it was already")

	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := conn.Send(ctx, entry(t, "ann", "hello")); err != nil {
		t.Fatal(err)
	}
	if got, err := conn.Receive(ctx); err != nil || !strings.Contains(string(got), "hello") {
		t.Errorf("received %q, %v", got, err)
	}

	// Admins beside the gateway, gateways, and back again.
	cfg = d.file(t, d.identity, fmt.Sprintf("gateways = [%q]\nadmins = [%[1]q]\nack_interval = \"2m\"", d.guestbook))
	out, err = configure(t, cfg, "", false)
	wantLines(t, out, err, 6, fmt.Sprintf("admins %s is only in the file", d.guestbook), fmt.Sprintf("gateways %s is only in the file", d.guestbook),
		fmt.Sprintf("gateways %s is only in the file", d.gateway), "ack_interval is 5m0s in the canister, 2m0s in the file", "configured as in the file\n")
	out, err = configure(t, d.file(t, d.identity, ""), "", false)
	wantLines(t, out, err, 6, fmt.Sprintf("gateways %s is only in the canister", d.gateway), "configured as in the file\n")
}

// Who is no admin is told how to become one; nothing changes.
func TestConfigureWithoutRights(t *testing.T) {
	d := deploy(t)
	stranger := t.TempDir() + "/stranger.pem"
	identity, _, err := ic.LoadOrCreateIdentity(stranger)
	if err != nil {
		t.Fatal(err)
	}
	for _, dryRun := range []bool{false, true} {
		_, err := configure(t, d.file(t, stranger, ""), "", dryRun)
		if err == nil {
			t.Fatalf("dry run %v: accepted", dryRun)
		}
		for _, want := range []string{d.relay.String(), identity.Principal().String(), stranger, "relay canister config", fmt.Sprintf("admins = [%q]", identity.Principal().String())} {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("dry run %v: %q is not in:\n%s", dryRun, want, err)
			}
		}
	}
	out, err := configure(t, d.file(t, d.identity, ""), "", true)
	wantLines(t, out, err, 4, "only in the file")

	// As it says: an admin puts it on the list, and then it may.
	out, err = configure(t, d.file(t, d.identity, fmt.Sprintf("admins = [%q]", identity.Principal())), "", false)
	wantLines(t, out, err, 5, "configured as in the file\n")
	out, err = configure(t, d.file(t, stranger, fmt.Sprintf("admins = [%q]", d.gateway)), "", false)
	wantLines(t, out, err, 2, "which it was already")
}

// What cannot be configured, and why.
func TestConfigureRefuses(t *testing.T) {
	n := testnet.Start(t)
	old, empty := n.Create(), n.Create()
	n.InstallFile(old, testnet.EchoFile, candid.EncodeEmpty())
	file := func(canister candid.Principal) string {
		return fmt.Sprintf("[network]\nurl = %q\n[[route]]\ncanister = %q\nadapter = \"relay\"\nrelay.call = [{ target = %[2]q, method = \"post\" }]\n", n.URL(), canister)
	}
	for _, tc := range []struct{ name, text, canister, want string }{
		{"the embedded network", guestbook, "", `network.url = "embedded"`},
		{"several routes", twoRelays, "", "choose one with --canister"},
		{"no such route", twoRelays, "aaaaa-aa", `canister = "aaaaa-aa"`},
		{"a canister older than relay_version", file(old), "", "canister " + old.String() + " has no method relay_version, so it is no relay canister, or one that is older than this gateway"},
		{"an empty canister", file(empty), "", "no Wasm module"},
		{"no canister", file("\x00\x00\x00\x00\x00\x00\xff\xff\x01\x01"), "", "not found"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			for _, dryRun := range []bool{false, true} {
				if out, err := configure(t, load(t, tc.text), tc.canister, dryRun); err == nil || !strings.Contains(err.Error(), tc.want) || out != "" {
					t.Errorf("dry run %v: err = %v, want %q in it; printed %q", dryRun, err, tc.want, out)
				}
			}
		})
	}
	t.Run("a network that does not answer", func(t *testing.T) {
		cfg := load(t, strings.Replace(file(old), n.URL(), n.DeadClient().URL(), 1))
		if _, err := configure(t, cfg, "", false); err == nil || !strings.HasPrefix(err.Error(), "network.url: ") {
			t.Errorf("err = %v, want one that names network.url", err)
		}
	})
}

// A relay canister that does not know a setting takes the configuration without it; that is not passed over.
func TestConfigureOlderCanister(t *testing.T) {
	n := testnet.Start(t)
	id := n.Create()
	identity, _, err := ic.LoadOrCreateIdentity(t.TempDir() + "/gateway.pem")
	if err != nil {
		t.Fatal(err)
	}
	known := relay.Settings{
		Calls:  []relay.Call{{Target: relay.Target{Canister: id, Method: "post"}}},
		Admins: []candid.Principal{identity.Principal()},
	}
	reply := func(b []byte, err error) execution.NativeMethod {
		return execution.NativeMethod{Query: true, Run: func(call *execution.NativeCall) ([]byte, *execution.Reject) {
			if err != nil {
				return nil, call.Trap("%v", err)
			}
			return b, nil
		}}
	}
	version := candid.RecordOf(candid.Field{Label: "version", Type: candid.TextType}, candid.Field{Label: "interface", Type: candid.Nat32Type})
	if err := n.InstallBuiltin(t.Context(), id, &execution.Native{Interface: "service : {}", Methods: map[string]execution.NativeMethod{
		"relay_version": reply(candid.NewBuilder().Add(version, candid.Fields{"version": "0.1.0", "interface": uint32(relay.Interface)}).Bytes()),
		"relay_config":  reply(known.Argument()),
		"relay_configure": {Run: func(*execution.NativeCall) ([]byte, *execution.Reject) {
			return candid.EncodeResult(""), nil
		}},
	}}); err != nil {
		t.Fatal(err)
	}
	wanted := known
	wanted.Resume = 2 * time.Minute
	var out strings.Builder
	c := configuration{adapter: relay.New(n.Client, identity, wanted, quiet()), canister: id, gateway: identity.Principal(), out: &out}
	err = c.apply(t.Context(), false)
	for _, want := range []string{"does not know all of it: resume is 0s in the canister, 2m0s in the file", "older than this gateway", "relay canister wasm"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in %v", want, err)
		}
	}
	c.adapter = relay.New(n.Client, identity, known, quiet())
	if err := c.apply(t.Context(), false); err != nil {
		t.Error(err)
	}
}
