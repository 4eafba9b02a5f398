package cdk

import (
	"fmt"
	"testing"

	"go.uber.org/goleak"

	"github.com/icrelay/icrelay/bridge/adaptertest"
	"github.com/icrelay/icrelay/candid"
	"github.com/icrelay/icrelay/internal/testnet"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// The suite over a Motoko canister that has the CDK's interface itself.
func TestConformance(t *testing.T) {
	message := candid.RecordOf(candid.Field{Label: "text", Type: candid.TextType})
	adaptertest.Run(t, func(t *testing.T) adaptertest.Target {
		network := testnet.Start(t)
		canister := network.Create()
		network.InstallFile(canister, "e2e/canisters/echo/echo.wasm", candid.EncodeEmpty())
		identity := testnet.Identity(t)
		return adaptertest.Target{
			Adapter:     New(network.Client, identity),
			Canister:    canister,
			Gateway:     identity.Principal(),
			Verifier:    network.Verifier,
			Unrelated:   New(network.Client, testnet.Identity(t)),
			Unreachable: New(network.DeadClient(), identity),
			Missing:     candid.Principal("\x00\x00\x00\x00\x00\x00\xff\xff\x01\x01"),
			Content: func(n int) []byte {
				raw, err := candid.NewBuilder().Add(message, candid.Fields{"text": fmt.Sprint(n)}).Bytes()
				if err != nil {
					t.Fatal(err)
				}
				return raw
			},
		}
	})
}
