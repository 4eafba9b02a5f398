//go:build wasm64 && cgo

package execution

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/icrelay/icrelay/candid"
)

// upgradeCode upgrades through the management canister; persistence is "keep", "replace" or "".
func upgradeCode(t testing.TB, m *Machine, id candid.Principal, module, arg []byte, persistence string) Result {
	t.Helper()
	mode := candid.Tag{Label: "upgrade"}
	if persistence != "" {
		mode.Value = candid.Fields{"wasm_memory_persistence": candid.Tag{Label: persistence}}
	}
	return manage(t, m, user, "install_code", installArgs, candid.Fields{"mode": mode, "canister_id": id, "wasm_module": module, "arg": arg})
}

// Enhanced orthogonal persistence (interface specification, "IC method
// install_code"): an upgrade keeps the memory, and with it data that nothing serializes.
func TestEnhancedPersistence(t *testing.T) {
	use64(t)
	m := newMachine(t, Options{})
	v1, v2, misfit := moduleFile(t, "persistent-a"), moduleFile(t, "persistent-b"), moduleFile(t, "persistent-c")
	id := install(t, m, v1, nil)
	none := args(t)
	for _, n := range []int{3, 4, 5} {
		submit(t, m, id, "add", args(t, n))
	}
	wantValue(t, submit(t, m, id, "allocate", args(t, 1_000_000)), "1000000")
	wantValue(t, ask(t, m, id, "state", none), "3, 12, 1000000, 3")

	t.Run("keep", func(t *testing.T) {
		stored := m.canisters[id].code.stable.stored
		first(t, upgradeCode(t, m, id, v1, none, "keep"))
		wantValue(t, ask(t, m, id, "state", none), "3, 12, 1000000, 0")
		first(t, upgradeCode(t, m, id, v2, none, "keep"))
		wantValue(t, ask(t, m, id, "state", none), "3, 12, 1000000, 0")
		wantValue(t, ask(t, m, id, "addition", none), `"new"`)
		wantValue(t, submit(t, m, id, "add", args(t, 8)), "4")
		wantValue(t, ask(t, m, id, "state", none), "4, 20, 1000000, 1")
		if now := m.canisters[id].code.stable.stored; now != stored {
			t.Errorf("%d pages of stable memory were written, %d before", now, stored)
		}
	})
	t.Run("what canister_pre_upgrade did is kept", func(t *testing.T) {
		wantValue(t, ask(t, m, id, "marks", none), `"pp"`)
	})
	t.Run("the Go interface keeps", func(t *testing.T) {
		if err := m.Install(context.Background(), id, ModeUpgrade, v2, none, user); err != nil {
			t.Fatal(err)
		}
		wantValue(t, ask(t, m, id, "state", none), "4, 20, 1000000, 0")
	})
	t.Run("the Go interface refuses to lose it", func(t *testing.T) {
		moduleSuffix = ""
		classical := moduleFile(t, "counter")
		moduleSuffix = "64"
		err := m.Install(context.Background(), id, ModeUpgrade, classical, args(t, 1), user)
		if err == nil || !strings.Contains(err.Error(), "Missing upgrade option") {
			t.Errorf("%v", err)
		}
		wantValue(t, ask(t, m, id, "state", none), "4, 20, 1000000, 0")
	})
	t.Run("after the instances were freed", func(t *testing.T) {
		if err := m.do(context.Background(), func() { m.canisters[id].code.dropMain(); m.canisters[id].code.trim() }); err != nil {
			t.Fatal(err)
		}
		first(t, upgradeCode(t, m, id, v2, none, "keep"))
		wantValue(t, ask(t, m, id, "state", none), "4, 20, 1000000, 0")
	})
	t.Run("the option is missing", func(t *testing.T) {
		wantReject(t, upgradeCode(t, m, id, v2, none, ""), 5, "IC0504", "Missing upgrade option: Enhanced orthogonal persistence requires the `wasm_memory_persistence` upgrade option.")
		wantValue(t, ask(t, m, id, "state", none), "4, 20, 1000000, 0")
	})
	t.Run("keep with a module that cannot", func(t *testing.T) {
		moduleSuffix = ""
		classical := moduleFile(t, "counter")
		moduleSuffix = "64"
		wantReject(t, upgradeCode(t, m, id, classical, args(t, 1), "keep"), 5, "IC0504", "Invalid upgrade option")
		wantValue(t, ask(t, m, id, "state", none), "4, 20, 1000000, 0")
	})
	t.Run("a misfit is refused and nothing lost", func(t *testing.T) {
		wantReject(t, upgradeCode(t, m, id, misfit, none, "keep"), 5, "IC0503", "incompatible")
		wantValue(t, ask(t, m, id, "state", none), "4, 20, 1000000, 0")
		wantValue(t, submit(t, m, id, "add", args(t, 1)), "5")
	})
	t.Run("reinstall", func(t *testing.T) {
		reinstall := candid.Fields{"mode": "reinstall", "canister_id": id, "wasm_module": v1, "arg": none}
		first(t, manage(t, m, user, "install_code", installArgs, reinstall))
		wantValue(t, ask(t, m, id, "state", none), "0, 0, 0, 0")
		wantValue(t, submit(t, m, id, "add", args(t, 1)), "1")
	})
}

// From classical persistence to enhanced: what the compiler emits refuses that,
// unless it was told to. The canister stays what it was, on the other engine.
func TestFromClassicalToEnhanced(t *testing.T) {
	m := newMachine(t, Options{})
	id := installFile(t, m, "counter", args(t, 5))
	wantValue(t, submit(t, m, id, "inc", args(t)), "6")
	use64(t)
	wantReject(t, upgradeCode(t, m, id, moduleFile(t, "counter"), args(t, 1), ""), 5, "IC0503", "Detected implicit upgrade from classical orthogonal persistence")
	wantValue(t, submit(t, m, id, "inc", args(t)), "7")
	if err := m.Install(context.Background(), id, ModeReinstall, moduleFile(t, "counter"), args(t, 1), user); err != nil {
		t.Fatal(err)
	}
	wantValue(t, submit(t, m, id, "inc", args(t)), "2")
}

// Recursion that the stack has no room for is a trap, and the state stays.
func TestDeepRecursion(t *testing.T) {
	use64(t)
	m := newMachine(t, Options{Limits: Limits{MessageTime: 20 * time.Second}})
	id := install(t, m, moduleFile(t, "persistent-a"), nil)
	wantValue(t, submit(t, m, id, "add", args(t, 4)), "1")
	wantValue(t, submit(t, m, id, "deep", args(t, 5_000)), "5000")
	for range 3 {
		wantReject(t, submit(t, m, id, "deep", args(t, 10_000_000)), 5, "IC0502", "stack overflow")
	}
	wantValue(t, ask(t, m, id, "state", args(t)), "1, 4, 0, 1")
	wantValue(t, submit(t, m, id, "deep", args(t, 100)), "100")
}

// A memory that cannot grow further is a trap of the canister's.
func TestMemoryIsFull(t *testing.T) {
	use64(t)
	m := newMachine(t, Options{Limits: Limits{MessageTime: 20 * time.Second}})
	id := install(t, m, moduleFile(t, "persistent-a"), nil)
	r := submit(t, m, id, "allocate", args(t, 300_000_000)) // of 8 bytes each
	if r.Reject == nil || !strings.Contains(r.Reject.Text, "emory") {
		t.Errorf("result %+v", r)
	}
	wantValue(t, submit(t, m, id, "add", args(t, 4)), "1")
}
