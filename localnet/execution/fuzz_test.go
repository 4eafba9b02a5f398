package execution

import (
	"context"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/icrelay/icrelay/candid"
)

// FuzzManagement sends calls and queries with whatever arguments to each of the
// management canister's methods. Each is answered, with a reply that can be
// decoded or a reject that says why, and the machine goes on.
func FuzzManagement(f *testing.F) {
	names := slices.Sorted(maps.Keys(managementMethods()))
	at := func(method string) byte { return byte(slices.Index(names, method)) } //nolint:gosec // some twenty
	first := candid.Principal("\x00\x00\x00\x00\x00\x00\x00\x00\x01\x01")
	code := []byte("\x00asm\x01\x00\x00\x00")
	install := encode(f, installArgs, candid.Fields{"mode": candid.Tag{Label: "install"}, "canister_id": first, "wasm_module": code, "arg": []byte{}})
	id := encode(f, idArg, candid.Fields{"canister_id": first})
	for _, name := range names {
		f.Add(at(name), id, at("canister_status"), id)
	}
	f.Add(at("install_code"), install, at("uninstall_code"), id)
	f.Add(at("install_code"), install, at("install_code"), encode(f, installArgs, candid.Fields{
		"mode":        candid.Tag{Label: "upgrade", Value: candid.Fields{"skip_pre_upgrade": true, "wasm_memory_persistence": candid.Tag{Label: "keep"}}},
		"canister_id": first, "wasm_module": code, "arg": []byte("DIDL\x00\x00")}))
	f.Add(at("upload_chunk"), encode(f, chunkArgs, candid.Fields{"canister_id": first, "chunk": code}), at("stored_chunks"), id)
	f.Add(at("install_chunked_code"), encode(f, chunkedArgs, candid.Fields{"mode": candid.Tag{Label: "reinstall"}, "target_canister": first,
		"chunk_hashes_list": []any{}, "wasm_module_hash": make([]byte, 32), "arg": []byte{}}), at("clear_chunk_store"), id)
	f.Add(at("provisional_create_canister_with_cycles"), encode(f, provisionalArgs, candid.Fields{"amount": uint64(5)}), at("list_canisters"), candid.EncodeEmpty())
	f.Add(at("provisional_top_up_canister"), encode(f, topUpArgs, candid.Fields{"canister_id": first, "amount": uint64(1 << 60)}), at("fetch_canister_logs"), id)
	f.Fuzz(func(t *testing.T, one byte, arg []byte, two byte, other []byte) {
		m := New(Options{Limits: Limits{MessageTime: time.Second, InstallTime: time.Second}})
		defer func() {
			if err := m.Close(); err != nil {
				t.Error(err)
			}
		}()
		created, err := m.CreateCanister([]candid.Principal{user})
		if err != nil || created != first {
			t.Fatalf("the first canister is %s, %v", created, err)
		}
		for _, call := range []struct {
			method string
			arg    []byte
		}{{names[int(one)%len(names)], arg}, {names[int(two)%len(names)], other}, {"canister_status", encode(t, idArg, candid.Fields{"canister_id": created})}} {
			mustAnswer(t, call.method, submitAs(t, m, user, candid.ManagementCanister, call.method, call.arg))
			mustAnswer(t, call.method, m.Query(context.Background(), user, candid.ManagementCanister, call.method, call.arg))
		}
	})
}

func mustAnswer(t *testing.T, method string, r Result) {
	t.Helper()
	if r.Reject != nil {
		if r.Reject.Text == "" || r.Reject.Code < 1 || r.Reject.Code > 6 {
			t.Fatalf("%s: %+v", method, r.Reject)
		}
		return
	}
	if _, err := candid.Decode(r.Reply, candid.Limits{}); err != nil {
		t.Fatalf("%s: a reply that cannot be read: %v", method, err)
	}
}
