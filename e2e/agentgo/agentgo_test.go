// Package agentgo holds the project's own formats and its embedded network
// against aviate-labs/agent-go, another implementation of the same
// specifications.
package agentgo

import (
	"bytes"
	"encoding/hex"
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
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

// tampering changes one word in the responses to queries.
type tampering struct {
	next     http.RoundTripper
	from, to string
}

func (tr *tampering) RoundTrip(r *http.Request) (*http.Response, error) {
	response, err := tr.next.RoundTrip(r)
	if err != nil || !strings.HasSuffix(r.URL.Path, "/query") {
		return response, err
	}
	body, err := io.ReadAll(response.Body)
	if err = errors.Join(err, response.Body.Close()); err != nil {
		return nil, err
	}
	response.Body = io.NopCloser(bytes.NewReader(bytes.ReplaceAll(body, []byte(tr.from), []byte(tr.to))))
	return response, nil
}

// An agent of somebody else calls and queries a canister on the embedded
// network. It verifies the node's signature of every query.
func TestNetwork(t *testing.T) {
	network := testnet.Start(t)
	guestbook := network.Create()
	network.InstallFile(guestbook, "examples/motoko/guestbook/guestbook.wasm", candid.EncodeEmpty())
	canister := principal.Principal{Raw: guestbook.Bytes()}
	host, err := url.Parse(network.URL())
	if err != nil {
		t.Fatal(err)
	}
	id, err := identity.NewRandomEd25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	agentOver := func(transport http.RoundTripper) *agent.Agent {
		t.Helper()
		a, err := agent.New(agent.Config{
			ClientConfig: []agent.ClientOption{agent.WithHostURL(host), agent.WithHttpClient(&http.Client{Transport: transport})},
			Identity:     id,
			FetchRootKey: true,
		})
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	a := agentOver(transport)
	if got, want := hex.EncodeToString(a.GetRootKey()), hex.EncodeToString(network.RootKey()); got != want {
		t.Errorf("root key %s, want %s", got, want)
	}
	type entry struct {
		Author string `ic:"author"`
		Text   string `ic:"text"`
	}
	if err := a.Call(canister, "post", []any{entry{"ann", "hello"}}, nil); err != nil {
		t.Fatalf("call: %v", err)
	}
	since := func(a *agent.Agent) (entries []entry, err error) {
		return entries, a.Query(canister, "since", []any{idl.NewNat(uint(0))}, []any{&entries})
	}
	entries, err := since(a)
	if err != nil || len(entries) != 1 || entries[0] != (entry{"ann", "hello"}) {
		t.Errorf("query: %+v, %v", entries, err)
	}
	// That it verifies shows when somebody on the way changes the answer.
	if entries, err := since(agentOver(&tampering{transport, "hello", "hullo"})); err == nil || !strings.Contains(err.Error(), "invalid replied signature") {
		t.Errorf("tampered query: %+v, %v", entries, err)
	}
	// A rejected query is signed, too.
	if err := a.Query(canister, "missing", nil, nil); err == nil || !strings.Contains(err.Error(), "IC0536") {
		t.Errorf("rejected query: %v", err)
	}
	if err := agentOver(&tampering{transport, "missing", "mossing"}).Query(canister, "missing", nil, nil); err == nil || !strings.Contains(err.Error(), "invalid rejected signature") {
		t.Errorf("tampered reject: %v", err)
	}
}
