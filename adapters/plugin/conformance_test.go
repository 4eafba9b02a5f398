//go:build unix

package plugin

import (
	"context"
	"fmt"
	"log/slog"
	"testing"

	"github.com/icrelay/icrelay/adapters/cdk"
	"github.com/icrelay/icrelay/adapters/relay"
	"github.com/icrelay/icrelay/bridge"
	"github.com/icrelay/icrelay/bridge/adaptertest"
	"github.com/icrelay/icrelay/candid"
	"github.com/icrelay/icrelay/canister"
	"github.com/icrelay/icrelay/ic"
	"github.com/icrelay/icrelay/internal/testnet"
)

var textType = candid.RecordOf(candid.Field{Label: "text", Type: candid.TextType})

// textMessage is what the echo canister takes.
func textMessage(t testing.TB, text string) []byte {
	t.Helper()
	raw, err := candid.NewBuilder().Add(textType, candid.Fields{"text": text}).Bytes()
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// The suite over a process that passes everything on to cdk.
func TestConformanceOfCDK(t *testing.T) {
	t.Parallel()
	b := startProcess(t, nil)
	adaptertest.Run(t, func(t *testing.T) adaptertest.Target {
		network := testnet.Start(t)
		id := network.Create()
		network.InstallFile(id, testnet.EchoFile, candid.EncodeEmpty())
		return b.target(t, network, id, func(client *ic.Client, identity ic.Identity) bridge.Adapter { return cdk.New(client, identity) },
			func(n int) []byte { return textMessage(t, fmt.Sprint(n)) })
	})
}

// The suite over a process that passes everything on to relay.
func TestConformanceOfRelay(t *testing.T) {
	t.Parallel()
	b := startProcess(t, nil)
	entry := candid.RecordOf(candid.Field{Label: "author", Type: candid.TextType}, candid.Field{Label: "text", Type: candid.TextType})
	adaptertest.Run(t, func(t *testing.T) adaptertest.Target {
		network := testnet.Start(t)
		guestbook, id := network.Create(), network.Create()
		settings := relay.Settings{
			Calls: []relay.Call{{Target: relay.Target{Canister: guestbook, Method: "post"}}},
			Feeds: []relay.Feed{{Target: relay.Target{Canister: guestbook, Method: "since"}}},
		}
		arg, err := settings.Argument()
		if err != nil {
			t.Fatal(err)
		}
		network.InstallFile(guestbook, "examples/motoko/guestbook/guestbook.wasm", candid.EncodeEmpty())
		network.InstallCode(id, canister.Wasm32(), arg)
		return b.target(t, network, id,
			func(client *ic.Client, identity ic.Identity) bridge.Adapter {
				return relay.New(client, identity, settings, slog.New(slog.DiscardHandler))
			},
			func(n int) []byte {
				raw, err := candid.NewBuilder().Add(entry, candid.Fields{"author": "somebody", "text": fmt.Sprint(n)}).Bytes()
				if err != nil {
					t.Fatal(err)
				}
				return raw
			})
	})
}

// target has the process serve a network's canister in the four ways that the suite wants.
func (b *processBench) target(t *testing.T, network *testnet.Network, id candid.Principal, newBase func(*ic.Client, ic.Identity) bridge.Adapter, content func(int) []byte) adaptertest.Target {
	t.Helper()
	add := func(client *ic.Client, identity ic.Identity) bridge.Adapter {
		a, err := b.Route(t.Context(), Route{Base: newBase(client, identity), BaseName: "any"})
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	identity := testnet.Identity(t)
	return adaptertest.Target{
		Adapter:     add(network.Client, identity),
		Canister:    id,
		Gateway:     identity.Principal(),
		Verifier:    network.Verifier,
		Unrelated:   add(network.Client, testnet.Identity(t)),
		Unreachable: add(network.DeadClient(), identity),
		Missing:     candid.Principal("\x00\x00\x00\x00\x00\x00\xff\xff\x01\x01"),
		Stop:        func(ctx context.Context) error { return network.Machine().Stop(ctx, id) },
		Start:       func(ctx context.Context) error { return network.Machine().Start(ctx, id) },
		Content:     content,
	}
}
