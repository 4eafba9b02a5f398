package localnet

import (
	"bytes"
	"crypto/sha256"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/aviate-labs/agent-go"
	"github.com/aviate-labs/agent-go/candid/idl"
	"github.com/aviate-labs/agent-go/identity"
	"github.com/aviate-labs/agent-go/principal"

	"github.com/icrelay/icrelay/candid"
)

// TestAgentGo uses the network with agent-go as it is.
func TestAgentGo(t *testing.T) {
	who, err := identity.NewRandomEd25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	n, id := startReal(t, candid.Principal(who.Sender().Raw))
	host, err := url.Parse(n.URL())
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	canister := principal.Principal{Raw: id.Bytes()}
	for name, options := range map[string][]agent.ClientOption{
		"v4 and v3": nil,
		"v3 and v2": {agent.WithLegacyAPI()},
	} {
		t.Run(name, func(t *testing.T) {
			a, err := agent.New(agent.Config{
				Identity:     who,
				FetchRootKey: true,
				PollTimeout:  10 * time.Second,
				ClientConfig: append([]agent.ClientOption{
					agent.WithHostURL(host), agent.WithHttpClient(&http.Client{Transport: transport})}, options...),
			})
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(a.GetRootKey(), n.RootKey()) {
				t.Error("another root key")
			}
			var before, counted, after idl.Nat
			if err := a.Query(canister, "get", nil, []any{&before}); err != nil {
				t.Fatalf("verified query: %v", err)
			}
			if err := a.Call(canister, "inc", nil, []any{&counted}); err != nil {
				t.Fatalf("call: %v", err)
			}
			if err := a.Query(canister, "get", nil, []any{&after}); err != nil {
				t.Fatal(err)
			}
			if counted.BigInt().Int64() != before.BigInt().Int64()+1 || after.String() != counted.String() {
				t.Errorf("%v, then %v, then %v", before, counted, after)
			}
			if err := a.Call(canister, "incAndTrap", nil, nil); err == nil || !strings.Contains(err.Error(), "on purpose") {
				t.Errorf("trap: %v", err)
			}
			hash, err := a.GetCanisterModuleHash(canister)
			if sum := sha256.Sum256(readFile(t, "testdata/tester/tester.wasm")); err != nil || !bytes.Equal(hash, sum[:]) {
				t.Errorf("module hash %x, %v", hash, err)
			}
			controllers, err := a.GetCanisterControllers(canister)
			if err != nil || len(controllers) != 1 || !bytes.Equal(controllers[0].Raw, who.Sender().Raw) {
				t.Errorf("controllers %v, %v", controllers, err)
			}
			did, err := a.GetCanisterMetadata(canister, "candid:service")
			if err != nil || !bytes.Contains(did, []byte("incAndTrap")) {
				t.Errorf("candid:service %q, %v", did, err)
			}
		})
	}
}
