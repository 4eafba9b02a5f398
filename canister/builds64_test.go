//go:build wasm64

package canister_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/icrelay/icrelay/candid"
	"github.com/icrelay/icrelay/canister"
	"github.com/icrelay/icrelay/localnet/execution"
)

// A canister stays with the build that it was installed with. The other one is
// refused, in both directions, and clients, queues and order go on.
func TestUpgradeToTheOtherBuild(t *testing.T) {
	for _, c := range []struct {
		name        string
		from, to    []byte
		code, words string
	}{
		{"wasm32 to wasm64", canister.Wasm32(), canister.Wasm(), "IC0503", "Detected implicit upgrade from classical orthogonal persistence"},
		{"wasm64 to wasm32", canister.Wasm(), canister.Wasm32(), "IC0504", "Missing upgrade option"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			target := w.installTarget()
			s := settings{calls: []method{{target, "put"}}}
			w.relay = w.install(c.from, s.argument(t))
			a := w.open(client(1), 1, gateway1)
			a.send(candid.EncodeText("1"))
			// the third waits for the second
			if text := w.result(a.start(3, candid.EncodeText("3"))); text != "" {
				t.Fatal(text)
			}
			before := w.pollAll(gateway1, 0)

			upgrade := func(to []byte) error {
				t.Helper()
				if err := w.machine.Stop(t.Context(), w.relay); err != nil {
					t.Fatal(err)
				}
				err := w.machine.Install(t.Context(), w.relay, execution.ModeUpgrade, to, s.argument(t), controller)
				if err := w.machine.Start(t.Context(), w.relay); err != nil {
					t.Fatal(err)
				}
				return err
			}
			err := upgrade(c.to)
			var reject *execution.Reject
			if !errors.As(err, &reject) || reject.ErrorCode != c.code || !strings.Contains(reject.Text, c.words) {
				t.Fatalf("upgrade: %v", err)
			}

			if diff := cmp.Diff(before, w.pollAll(gateway1, 0)); diff != "" {
				t.Error(diff)
			}
			if text := w.result(a.start(2, candid.EncodeText("2"))); text != "" {
				t.Fatal(text)
			}
			if diff := cmp.Diff([]string{"1", "2", "3"}, w.texts(target, "log")); diff != "" {
				t.Error(diff)
			}
			if err := upgrade(c.from); err != nil {
				t.Errorf("upgrade to the same build: %v", err)
			}
		})
	}
}
