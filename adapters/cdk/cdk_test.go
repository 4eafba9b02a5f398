package cdk

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"go.uber.org/goleak"

	"github.com/icrelay/icrelay/bridge"
	"github.com/icrelay/icrelay/bridge/adaptertest"
	"github.com/icrelay/icrelay/candid"
	"github.com/icrelay/icrelay/ic"
	"github.com/icrelay/icrelay/internal/testnet"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// The suite over a Motoko canister that has the CDK's interface itself.
func TestConformance(t *testing.T) {
	message := candid.RecordOf(candid.Field{Label: "text", Type: candid.TextType})
	adaptertest.Run(t, func(t *testing.T) adaptertest.Target {
		network := testnet.Start(t)
		canister := network.Create()
		network.InstallFile(canister, testnet.EchoFile, candid.EncodeEmpty())
		identity := testnet.Identity(t)
		return adaptertest.Target{
			Adapter:     New(network.Client, identity),
			Canister:    canister,
			Gateway:     identity.Principal(),
			Verifier:    network.Verifier,
			Unrelated:   New(network.Client, testnet.Identity(t)),
			Unreachable: New(network.DeadClient(), identity),
			Missing:     candid.Principal("\x00\x00\x00\x00\x00\x00\xff\xff\x01\x01"),
			Stop:        func(ctx context.Context) error { return network.Machine().Stop(ctx, canister) },
			Start:       func(ctx context.Context) error { return network.Machine().Start(ctx, canister) },
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

// What a reject means: whether the same envelope may be submitted again, and
// whether the client is told that it was refused.
func TestRejects(t *testing.T) {
	for _, tc := range []struct {
		name                        string
		reject                      ic.RejectError
		again, refused, unavailable bool
	}{
		{"overloaded", ic.RejectError{Code: 2, ErrorCode: "IC0201"}, true, false, true},
		{"overloaded, certified", ic.RejectError{Code: 2, ErrorCode: "IC0201", Certified: true}, false, false, true},
		{"stopped", ic.RejectError{Code: 5, ErrorCode: "IC0508"}, true, false, true},
		{"stopping", ic.RejectError{Code: 5, ErrorCode: "IC0509"}, true, false, true},
		{"stopping when its turn came", ic.RejectError{Code: 5, ErrorCode: "IC0509", Certified: true}, false, false, true},
		{"trapped", ic.RejectError{Code: 5, ErrorCode: "IC0503", Certified: true}, false, true, false},
		{"no such canister", ic.RejectError{Code: 3, ErrorCode: "IC0301"}, false, true, false},
		{"nothing is known", ic.RejectError{Code: 6, Certified: true}, false, false, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			err := fmt.Errorf("call: %w", &tc.reject)
			if got := mayPass(err); got != tc.again {
				t.Errorf("submitted again: %v", got)
			}
			if _, refused := bridge.RefusalText(failure("ws_message", err)); refused != tc.refused {
				t.Errorf("refused: %v", refused)
			}
			if !errors.As(failure("ws_message", err), new(*ic.RejectError)) && !tc.refused {
				t.Error("the log would not say why")
			}
			if got := errors.As(failure("ws_message", err), new(*bridge.UnavailableError)); got != tc.unavailable {
				t.Errorf("the client is told why: %v", got)
			}
		})
	}
}
