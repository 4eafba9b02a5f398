package relay

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/icrelay/icrelay/bridge"
	"github.com/icrelay/icrelay/candid"
	"github.com/icrelay/icrelay/ic"
	"github.com/icrelay/icrelay/internal/testnet"
	"github.com/icrelay/icrelay/localnet/execution"
)

var versionType = candid.RecordOf(
	candid.Field{Label: "version", Type: candid.TextType},
	candid.Field{Label: "interface", Type: candid.Nat32Type},
)

// A standIn answers relay_version as a relay canister of another time would,
// and counts what it is asked. Of the CDK's methods it has ws_open, which always
// says Ok, and a poll.
type standIn struct {
	number  atomic.Uint32 // of its interface
	version string
	asked   atomic.Int64 // relay_version
	opened  atomic.Int64
}

func (s *standIn) install(t *testing.T, n *testnet.Network) candid.Principal {
	t.Helper()
	id := n.Create()
	err := n.InstallBuiltin(t.Context(), id, &execution.Native{
		Interface: "service : {}",
		Methods: map[string]execution.NativeMethod{
			"relay_version": {Query: true, Run: func(call *execution.NativeCall) ([]byte, *execution.Reject) {
				s.asked.Add(1)
				reply, err := candid.NewBuilder().Add(versionType, candid.Fields{"version": s.version, "interface": s.number.Load()}).Bytes()
				if err != nil {
					return nil, call.Trap("%v", err)
				}
				return reply, nil
			}},
			"ws_open": {Run: func(*execution.NativeCall) ([]byte, *execution.Reject) {
				s.opened.Add(1)
				return candid.EncodeResult(""), nil
			}},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// openEnvelope is a new client's ws_open.
func openEnvelope(t *testing.T, canister, gateway candid.Principal, nonce uint64) bridge.Envelope {
	t.Helper()
	identity := testnet.Identity(t)
	env := ic.NewCall(canister, "ws_open", candid.EncodeOpenArgs(nonce, gateway), time.Now())
	if err := ic.Sign(env, identity); err != nil {
		t.Fatal(err)
	}
	key := candid.ClientKey{Principal: identity.Principal(), Nonce: nonce}
	return bridge.Envelope{Canister: canister, Client: key, RequestID: env.RequestID(), Expiry: time.Now().Add(time.Minute), Bytes: env.Encode()}
}

// A relay canister that this gateway does not know is refused with a sentence
// that says what both are and what to do, by Version, by Check, and to every
// client. Nothing is forwarded to it.
func TestUnknownInterface(t *testing.T) {
	n := testnet.Start(t)
	gateway := testnet.Identity(t)
	for _, tc := range []struct {
		name    string
		install func() candid.Principal
		want    []string
	}{
		{"newer", func() candid.Principal {
			s := &standIn{version: "7.1.0"}
			s.number.Store(Interface + 1)
			return s.install(t, n)
		}, []string{"(7.1.0) speaks version 2 of its interface, this gateway version 1", "use a gateway as new as the canister", "relay canister wasm"}},
		{"older", func() candid.Principal { return (&standIn{version: "0.0.1"}).install(t, n) },
			[]string{"(0.0.1) speaks version 0 of its interface, this gateway version 1", "upgrade the canister", "relay canister wasm"}},
		{"without relay_version", func() candid.Principal {
			id := n.Create()
			n.InstallFile(id, testnet.EchoFile, candid.EncodeEmpty())
			return id
		}, []string{"has no method relay_version", "older than this gateway", "version 1 of its interface", "relay canister wasm"}},
		{"a relay_version of another kind", func() candid.Principal {
			id := n.Create()
			if err := n.InstallBuiltin(t.Context(), id, &execution.Native{Methods: map[string]execution.NativeMethod{
				"relay_version": {Query: true, Run: func(*execution.NativeCall) ([]byte, *execution.Reject) { return candid.EncodeText("7"), nil }},
			}}); err != nil {
				t.Fatal(err)
			}
			return id
		}, []string{"is no relay canister"}},
		{"empty", n.Create, []string{"no Wasm module"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			id := tc.install()
			adapter := New(n.Client, gateway, Settings{}, slog.New(slog.DiscardHandler))
			_, err := adapter.Version(t.Context(), id)
			text, refused := bridge.RefusalText(err)
			if !refused {
				t.Fatalf("Version = %v, want a refusal", err)
			}
			for _, want := range tc.want {
				if !strings.Contains(text, want) {
					t.Errorf("Version: %q is not in %q", want, text)
				}
			}
			if err := adapter.Check(t.Context(), id); err == nil || !strings.Contains(err.Error(), "clients are turned away: "+text) {
				t.Errorf("Check = %v", err)
			}
			err = adapter.Open(t.Context(), openEnvelope(t, id, gateway.Principal(), 1))
			if got, refused := bridge.RefusalText(err); !refused || got != text {
				t.Errorf("Open = %v, want the refusal %q", err, text)
			}
		})
	}
}

// That nobody answers is no refusal: it may be tried again.
func TestVersionUnreachable(t *testing.T) {
	n := testnet.Start(t)
	adapter := New(n.DeadClient(), testnet.Identity(t), Settings{}, slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	_, err := adapter.Version(ctx, someCanister)
	if _, refused := bridge.RefusalText(err); err == nil || refused {
		t.Errorf("Version = %v", err)
	}
	if err := adapter.Check(ctx, someCanister); err == nil || !strings.Contains(err.Error(), "does not answer") {
		t.Errorf("Check = %v", err)
	}
	// The question under way is somebody else's, and takes long.
	adapter = New(n.DeadClient(), testnet.Identity(t), Settings{}, slog.New(slog.DiscardHandler))
	<-adapter.handshake.turn
	ended, end := context.WithCancel(t.Context())
	end()
	if err := adapter.Open(ended, openEnvelope(t, someCanister, someCanister, 1)); !errors.Is(err, context.Canceled) {
		t.Errorf("Open = %v, want the context's end", err)
	}
}

// Clients that come while the network is not reached wait, and share the
// questions whether it is there again.
func TestOpensWaitForTheNetwork(t *testing.T) {
	n := testnet.Start(t)
	s := &standIn{version: "1"}
	s.number.Store(Interface)
	id := s.install(t, n)
	var asked atomic.Int64
	var down atomic.Bool
	down.Store(true)
	client, err := ic.NewClient(ic.Options{URL: n.URL(), Verifier: n.Verifier, Wrap: func(next http.RoundTripper) http.RoundTripper {
		return roundTripper(func(r *http.Request) (*http.Response, error) {
			if down.Load() {
				asked.Add(1)
				return nil, errors.New("no route to host")
			}
			return next.RoundTrip(r)
		})
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	gateway := testnet.Identity(t)
	adapter := New(client, gateway, Settings{}, slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	const size = 50
	results := make(chan error, size)
	start := time.Now()
	for i := range size {
		env := openEnvelope(t, id, gateway.Principal(), uint64(i))
		go func() { results <- adapter.Open(ctx, env) }()
	}
	for asked.Load() < 4 {
		select {
		case err := <-results:
			t.Fatalf("Open = %v without a network", err)
		case <-time.After(5 * time.Millisecond):
		}
	}
	// One question at a time, and its answer holds for all for a while.
	if most := 2 + int64(time.Since(start)/notReached); asked.Load() > most {
		t.Errorf("%d questions in %s, want %d at most", asked.Load(), time.Since(start), most)
	}
	down.Store(false)
	for range size {
		if err := <-results; err != nil {
			t.Errorf("Open = %v", err)
		}
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// Many clients that come at once cost one question. What the answer means holds
// for a while, and then the canister may have been upgraded.
func TestHandshakeIsRemembered(t *testing.T) {
	n := testnet.Start(t)
	gateway := testnet.Identity(t)
	s := &standIn{version: "next"}
	s.number.Store(Interface + 1)
	id := s.install(t, n)
	adapter := New(n.Client, gateway, Settings{}, slog.New(slog.DiscardHandler))
	nonce := uint64(0)
	open := func() error {
		nonce++
		return adapter.Open(t.Context(), openEnvelope(t, id, gateway.Principal(), nonce))
	}
	openMany := func() (refusals int64) {
		var group sync.WaitGroup
		var count atomic.Int64
		for i := range 20 {
			env := openEnvelope(t, id, gateway.Principal(), 1000+uint64(i))
			group.Go(func() {
				if _, refused := bridge.RefusalText(adapter.Open(t.Context(), env)); refused {
					count.Add(1)
				}
			})
		}
		group.Wait()
		return count.Load()
	}
	expire := func() {
		adapter.handshake.mu.Lock()
		defer adapter.handshake.mu.Unlock()
		adapter.handshake.until = time.Time{}
	}
	want := func(asked, opened int64) {
		t.Helper()
		if got := fmt.Sprint(s.asked.Load(), s.opened.Load()); got != fmt.Sprint(asked, opened) {
			t.Errorf("asked for its version and opened = %s, want %d %d", got, asked, opened)
		}
	}

	if refusals := openMany(); refusals != 20 {
		t.Errorf("%d clients refused, want all 20", refusals)
	}
	want(1, 0)
	s.number.Store(Interface) // an upgrade
	if err := open(); err == nil {
		t.Error("the refusal is forgotten at once")
	}
	want(1, 0)
	expire()
	if err := open(); err != nil {
		t.Errorf("Open after the upgrade = %v", err)
	}
	want(2, 1)
	if refusals := openMany(); refusals != 0 {
		t.Errorf("%d clients refused after the upgrade", refusals)
	}
	want(2, 21)
	s.number.Store(Interface + 1)
	expire()
	if err := open(); err == nil {
		t.Error("not refused after an upgrade to an interface that the gateway does not know")
	}
	want(3, 21)
}
