package echo_test

import (
	"context"
	"fmt"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/icrelay/icrelay/adapters/cdk"
	"github.com/icrelay/icrelay/bridge"
	"github.com/icrelay/icrelay/bridge/adaptertest"
	"github.com/icrelay/icrelay/candid"
	"github.com/icrelay/icrelay/client"
	"github.com/icrelay/icrelay/ic"
	"github.com/icrelay/icrelay/internal/testnet"
	"github.com/icrelay/icrelay/localnet/echo"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const missing = candid.Principal("\x00\x00\x00\x00\x00\x00\xff\xff\x01\x01")

// start starts a network with the canister.
func start(t testing.TB) (*testnet.Network, candid.Principal) {
	t.Helper()
	network := testnet.Start(t)
	id := network.Create()
	if err := network.InstallBuiltin(t.Context(), id, echo.New()); err != nil {
		t.Fatal(err)
	}
	return network, id
}

// TestConformance is the suite of all adapters over this canister.
func TestConformance(t *testing.T) {
	adaptertest.Run(t, func(t *testing.T) adaptertest.Target {
		network, id := start(t)
		identity := testnet.Identity(t)
		return adaptertest.Target{
			Adapter:     cdk.New(network.Client, identity),
			Canister:    id,
			Gateway:     identity.Principal(),
			Verifier:    network.Verifier,
			Unrelated:   cdk.New(network.Client, testnet.Identity(t)),
			Unreachable: cdk.New(network.DeadClient(), identity),
			Missing:     missing,
			Content:     func(n int) []byte { return fmt.Append(nil, n) }, // any bytes will do
		}
	})
}

// peer is a client with the gateway that it has chosen.
type peer struct {
	t        testing.TB
	network  *testnet.Network
	canister candid.Principal
	gateway  ic.Identity
	identity ic.Identity
	key      candid.ClientKey
	sequence uint64
}

func newPeer(t testing.TB, network *testnet.Network, canister candid.Principal, gateway ic.Identity) *peer {
	t.Helper()
	identity := testnet.Identity(t)
	return &peer{t: t, network: network, canister: canister, gateway: gateway, identity: identity,
		key: candid.ClientKey{Principal: identity.Principal(), Nonce: 7}}
}

func (p *peer) call(method string, arg []byte) error {
	reply, err := p.network.Client.Call(p.t.Context(), p.identity, p.canister, method, arg)
	if err != nil {
		return err
	}
	text, refused, err := candid.DecodeResult(reply)
	if refused {
		return bridge.Refused("%s", text)
	}
	return err
}

func (p *peer) open() error {
	return p.call("ws_open", candid.EncodeOpenArgs(p.key.Nonce, p.gateway.Principal()))
}

func (p *peer) send(content string) error {
	p.sequence++
	return p.call("ws_message", candid.EncodeMessageArgs(candid.WebsocketMessage{ClientKey: p.key, SequenceNum: p.sequence, Content: []byte(content)}))
}

// TestPollsBesideCalls: each poll's messages, certificate and witness belong
// together while calls go on, and an answered message is in the next poll.
func TestPollsBesideCalls(t *testing.T) {
	network, id := start(t)
	gateway := testnet.Identity(t)
	adapter := cdk.New(network.Client, gateway)
	poll := func(from uint64) ([]candid.OutputMessage, error) {
		batch, err := adapter.Poll(context.Background(), id, from)
		if err != nil || len(batch.Messages) == 0 {
			return nil, err
		}
		return batch.Messages, bridge.VerifyBatch(network.Verifier, id, batch, time.Now())
	}
	const senders, each = 4, 25
	var senderGroup, pollerGroup sync.WaitGroup
	stop := make(chan struct{})
	for range 2 {
		pollerGroup.Go(func() {
			for from := uint64(0); ; {
				messages, err := poll(from)
				if err != nil {
					t.Error(err)
					return
				}
				if from += uint64(len(messages)); from == senders*(each+1) {
					return
				}
				select {
				case <-stop:
					t.Errorf("%d messages at the end", from)
					return
				default:
				}
			}
		})
	}
	for range senders {
		p := newPeer(t, network, id, gateway)
		senderGroup.Go(func() {
			if err := p.open(); err != nil {
				t.Error(err)
				return
			}
			seen := uint64(0)
			for n := range each {
				if err := p.send(fmt.Sprint(n)); err != nil {
					t.Error(err)
					return
				}
				mine := 0
				for from := seen; ; {
					messages, err := poll(from)
					if err != nil {
						t.Error(err)
						return
					}
					if len(messages) == 0 {
						break
					}
					from += uint64(len(messages))
					for _, m := range messages {
						if m.ClientKey == p.key {
							mine++
							seen = from
						}
					}
				}
				if mine == 0 {
					t.Errorf("message %d of %s was answered and is not to be polled", n, p.key)
					return
				}
			}
		})
	}
	senderGroup.Wait()
	patience := time.AfterFunc(20*time.Second, func() { close(stop) })
	defer patience.Stop()
	pollerGroup.Wait()
}

// TestThroughGateway: clients on sockets get their own messages back, in order,
// with certificates that they have verified.
func TestThroughGateway(t *testing.T) {
	network, id := start(t)
	identity := testnet.Identity(t)
	gateway, err := bridge.New(bridge.Options{
		Principal: identity.Principal(),
		Routes:    []bridge.Route{{Canister: id, Adapter: cdk.New(network.Client, identity), Name: "echo"}},
		Verifier:  network.Verifier,
		Polling:   bridge.Polling{Interval: 10 * time.Millisecond, IdleInterval: 50 * time.Millisecond, MaxBackoff: time.Second},
	})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(gateway)
	t.Cleanup(func() {
		gateway.Stop(context.Background())
		server.Close()
	})
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	const clients, each = 5, 20
	talk := func(who int, identity ic.Identity) error {
		conn, err := client.Dial(ctx, client.Options{
			URL: "ws" + strings.TrimPrefix(server.URL, "http"), Canister: id, Identity: identity, Verifier: network.Verifier})
		if err != nil {
			return err
		}
		defer func() { _ = conn.Close() }()
		for n := range each {
			if err := conn.Send(ctx, fmt.Appendf(nil, "%d says %d", who, n)); err != nil {
				return err
			}
		}
		for n := range each {
			got, err := conn.Receive(ctx)
			if want := fmt.Sprintf("%d says %d", who, n); err != nil || string(got) != want {
				return fmt.Errorf("received %q, want %q: %w", got, want, err)
			}
		}
		return nil
	}
	var group sync.WaitGroup
	for who := range clients {
		identity := testnet.Identity(t)
		group.Go(func() {
			if err := talk(who, identity); err != nil {
				t.Errorf("client %d: %v", who, err)
			}
		})
	}
	group.Wait()
}
