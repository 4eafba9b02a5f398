package app

import (
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/icrelay/icrelay/ic"
)

// The embedded network alone, and beside it a gateway that knows it by its URL
// and the canisters by their principals: a client talks through both.
func TestNetworkAlone(t *testing.T) {
	identity := filepath.Join(t.TempDir(), "identity.pem") // that of the gateway is the relay canister's admin
	named := func(text string) string {
		return strings.Replace(text, "[gateway]", fmt.Sprintf("[gateway]\nidentity = %q", identity), 1)
	}
	printed, stop := launch(t, load(t, named(guestbook)), RunNetwork, "canister relay")
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()

	network, err := ic.NewClient(ic.Options{URL: printed["network"]})
	if err != nil {
		t.Fatal(err)
	}
	defer network.Close()
	status, err := network.Status(ctx)
	if err != nil {
		t.Fatalf("status of %v: %v", printed, err)
	}

	r := start(t, load(t, named(fmt.Sprintf(`
[gateway]
listen = "127.0.0.1:0"
[network]
url = %q
[[route]]
canister = %q
adapter = "relay"
relay.call = [{ target = %[3]q, method = "post" }]
relay.feed = [{ target = %[3]q, method = "since" }]
relay.watch_interval = "50ms"
`, printed["network"], printed["canister relay"], printed["canister guestbook"]))))
	if want := hex.EncodeToString(status.RootKey); r.info.Network.RootKeyHex != want {
		t.Errorf("the gateway's root key is %s, the network's %s", r.info.Network.RootKeyHex, want)
	}
	conn := r.dial(principal(t, printed["canister relay"]))
	want := entry(t, "ann", "hello")
	if err := conn.Send(ctx, want); err != nil {
		t.Fatal(err)
	}
	got, err := conn.Receive(ctx)
	if err != nil || !strings.Contains(string(got), "hello") {
		t.Errorf("received %q, %v", got, err)
	}
	if err := r.stop(); err != nil {
		t.Errorf("Run = %v", err)
	}
	if err := stop(); err != nil {
		t.Errorf("RunNetwork = %v", err)
	}
	if _, err := network.Status(ctx); err == nil {
		t.Error("the network still answers")
	}
}

// Only an embedded network can be run.
func TestNetworkAloneNeedsOne(t *testing.T) {
	cfg := load(t, "[network]\nurl = \"https://icp-api.io\"\n[[route]]\ncanister = \"*\"\nadapter = \"cdk\"\n")
	if err := RunNetwork(t.Context(), cfg, io.Discard, quiet()); err == nil || !strings.Contains(err.Error(), "network.url") {
		t.Errorf("err = %v, want one that names network.url", err)
	}
}
