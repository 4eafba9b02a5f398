//go:build wasm64 && cgo

package localnet

import "testing"

// TestICP64: what the Motoko compiler emits by default, handled by icp, which asks
// for enhanced orthogonal persistence where a module has it.
func TestICP64(t *testing.T) {
	n, err := Start(t.Context(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	icp := newICP(t, n)
	first, second := absolute(t, "execution/testdata/persistent-a64.wasm"), absolute(t, "execution/testdata/persistent-b64.wasm")
	misfit := absolute(t, "execution/testdata/persistent-c64.wasm")
	id := icp.on("create", "--detached", "--quiet")
	icp.on("install", id, "--wasm", first)
	icp.wantCall("(1 : nat)", id, "add", "(7 : nat)")
	icp.on("install", id, "--wasm", second, "--mode", "upgrade", "--yes")
	icp.wantCall("(1 : nat, 7 : nat, 0 : nat, 0 : nat)", id, "state", "()", "--query")
	icp.wantCall(`("new")`, id, "addition", "()", "--query")
	icp.onFails("IC0503", "install", id, "--wasm", misfit, "--mode", "upgrade", "--yes")
	icp.wantCall("(2 : nat)", id, "add", "(7 : nat)")
	icp.on("install", id, "--wasm", first, "--mode", "reinstall", "--yes")
	icp.wantCall("(0 : nat, 0 : nat, 0 : nat, 0 : nat)", id, "state", "()", "--query")
	if s := icp.status(id); s.Status != "Running" || s.ModuleHash == nil {
		t.Errorf("status %+v", s)
	}
}
