// Package agentgo holds the project's own formats and its embedded network
// against aviate-labs/agent-go, another implementation of the same
// specifications.
package agentgo

import (
	"bytes"
	"encoding/hex"
	"math/rand/v2"
	"net/url"
	"testing"

	agent "github.com/aviate-labs/agent-go"
	agentcandid "github.com/aviate-labs/agent-go/candid"
	"github.com/aviate-labs/agent-go/candid/idl"
	"github.com/aviate-labs/agent-go/identity"
	"github.com/aviate-labs/agent-go/principal"

	"github.com/icrelay/icrelay/candid"
	"github.com/icrelay/icrelay/internal/testnet"
)

func TestPrincipals(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for length := range candid.MaxPrincipalLength + 1 {
		raw := make([]byte, length)
		for i := range raw {
			raw[i] = byte(random.Uint32())
		}
		ours, theirs := candid.Principal(raw), principal.Principal{Raw: raw}
		if ours.String() != theirs.Encode() {
			t.Errorf("%x: ours %s, agent-go's %s", raw, ours, theirs.Encode())
		}
		back, err := candid.ParsePrincipal(theirs.Encode())
		if err != nil || back != ours {
			t.Errorf("%s: %v, %v", theirs.Encode(), back, err)
		}
	}
}

func TestArguments(t *testing.T) {
	type openArgs struct {
		Nonce   uint64              `ic:"client_nonce"`
		Gateway principal.Principal `ic:"gateway_principal"`
	}
	gateway := candid.SelfAuthenticating([]byte("a key"))
	theirs, err := agentcandid.Marshal([]any{openArgs{7, principal.Principal{Raw: gateway.Bytes()}}})
	if err != nil {
		t.Fatal(err)
	}
	if nonce, principal, err := candid.DecodeOpenArgs(theirs); err != nil || nonce != 7 || principal != gateway {
		t.Errorf("agent-go's arguments: %d, %s, %v", nonce, principal, err)
	}
	var decoded openArgs
	if err := agentcandid.Unmarshal(candid.EncodeOpenArgs(7, gateway), []any{&decoded}); err != nil || decoded.Nonce != 7 || !bytes.Equal(decoded.Gateway.Raw, gateway.Bytes()) {
		t.Errorf("our arguments: %+v, %v", decoded, err)
	}
}

// An agent of somebody else calls and queries a canister on the embedded network.
func TestNetwork(t *testing.T) {
	network := testnet.Start(t)
	guestbook := network.Create()
	network.InstallFile(guestbook, "examples/motoko/guestbook/guestbook.wasm", candid.EncodeEmpty())
	host, err := url.Parse(network.URL())
	if err != nil {
		t.Fatal(err)
	}
	id, err := identity.NewRandomEd25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	a, err := agent.New(agent.Config{
		ClientConfig: []agent.ClientOption{agent.WithHostURL(host)},
		Identity:     id,
		FetchRootKey: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := hex.EncodeToString(a.GetRootKey()), hex.EncodeToString(network.RootKey()); got != want {
		t.Errorf("root key %s, want %s", got, want)
	}
	type post struct {
		Author string `ic:"author"`
		Text   string `ic:"text"`
	}
	canister := principal.Principal{Raw: guestbook.Bytes()}
	if err := a.Call(canister, "post", []any{post{"ann", "hello"}}, nil); err != nil {
		t.Fatalf("call: %v", err)
	}
	type entry struct {
		Author string `ic:"author"`
		Text   string `ic:"text"`
	}
	var entries []entry
	if err := a.Query(canister, "since", []any{idl.NewNat(uint(0))}, []any{&entries}); err != nil {
		t.Fatalf("query: %v", err)
	}
	if len(entries) != 1 || entries[0] != (entry{"ann", "hello"}) {
		t.Errorf("entries = %+v", entries)
	}
}
