package execution

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"fmt"
	"strings"
	"testing"

	"github.com/icrelay/icrelay/candid"
)

var (
	idArg        = candid.RecordOf(field("canister_id", candid.PrincipalType))
	settingsArgs = candid.RecordOf(field("canister_id", candid.PrincipalType), field("settings", candid.RecordOf(
		field("controllers", candid.OptOf(candid.VecOf(candid.PrincipalType))),
		field("wasm_memory_limit", candid.OptOf(candid.NatType)),
		field("wasm_memory_threshold", candid.OptOf(candid.NatType)),
		field("freezing_threshold", candid.OptOf(candid.NatType)),
		field("log_visibility", candid.OptOf(visibilityType)),
		field("environment_variables", candid.OptOf(candid.VecOf(candid.RecordOf(field("name", candid.TextType), field("value", candid.TextType))))))))
	modeType = candid.VariantOf(field("install", candid.NullType), field("reinstall", candid.NullType),
		field("upgrade", candid.OptOf(candid.RecordOf(field("skip_pre_upgrade", candid.OptOf(candid.BoolType)),
			field("wasm_memory_persistence", candid.OptOf(candid.VariantOf(field("keep", candid.NullType), field("replace", candid.NullType))))))))
	installArgs = candid.RecordOf(field("mode", modeType), field("canister_id", candid.PrincipalType),
		field("wasm_module", candid.BlobType), field("arg", candid.BlobType))
	chunkArgs   = candid.RecordOf(field("canister_id", candid.PrincipalType), field("chunk", candid.BlobType))
	chunkedArgs = candid.RecordOf(field("mode", modeType), field("target_canister", candid.PrincipalType),
		field("chunk_hashes_list", candid.VecOf(chunkHashType)), field("wasm_module_hash", candid.BlobType), field("arg", candid.BlobType))
	provisionalArgs = candid.RecordOf(field("amount", candid.OptOf(candid.NatType)), field("specified_id", candid.OptOf(candid.PrincipalType)))
	topUpArgs       = candid.RecordOf(field("canister_id", candid.PrincipalType), field("amount", candid.NatType))
	infoArgs        = candid.RecordOf(field("canister_id", candid.PrincipalType), field("num_requested_changes", candid.OptOf(candid.Nat64Type)))
)

func encode(t testing.TB, typ candid.Type, v any) []byte {
	t.Helper()
	b, err := candid.NewBuilder().Add(typ, v).Bytes()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// manage calls the management canister from outside.
func manage(t testing.TB, m *Machine, sender candid.Principal, method string, typ candid.Type, v any) Result {
	t.Helper()
	return submitAs(t, m, sender, candid.ManagementCanister, method, encode(t, typ, v))
}

func first(t testing.TB, r Result) candid.Value {
	t.Helper()
	if r.Reject != nil {
		t.Fatal(r.Reject)
	}
	vs, err := candid.Decode(r.Reply, candid.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	if len(vs) == 0 {
		return candid.Value{}
	}
	return vs[0]
}

func provisional(t testing.TB, m *Machine, v candid.Fields) candid.Principal {
	t.Helper()
	id, ok := first(t, manage(t, m, user, "provisional_create_canister_with_cycles", provisionalArgs, v)).Field("canister_id").Principal()
	if !ok {
		t.Fatal("no canister_id")
	}
	return id
}

func TestManagementLifecycle(t *testing.T) {
	m := newMachine(t, Options{})
	stranger := candid.Principal("\x01stranger")
	id := provisional(t, m, candid.Fields{})
	wasm := moduleFile(t, "counter")
	var zipped bytes.Buffer
	z := gzip.NewWriter(&zipped)
	if _, err := z.Write(wasm); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}

	wantReject(t, submit(t, m, id, "get", args(t)), 5, "IC0537", "the canister contains no Wasm module")
	wantReject(t, ask(t, m, id, "get", args(t)), 5, "IC0537", "the canister contains no Wasm module")
	install := candid.Fields{"mode": "install", "canister_id": id, "wasm_module": zipped.Bytes(), "arg": args(t, 5)}
	wantReject(t, manage(t, m, stranger, "install_code", installArgs, install), 5, "IC0512", "Only controllers of canister "+id.String()+" can call ic00 method install_code")
	first(t, manage(t, m, user, "install_code", installArgs, install))
	wantValue(t, ask(t, m, id, "get", args(t)), "5")
	hash := sha256.Sum256(zipped.Bytes())
	if info, _ := m.Info(id); !bytes.Equal(info.ModuleHash, hash[:]) || len(info.Metadata) == 0 {
		t.Errorf("info %+v", info)
	}
	wantReject(t, manage(t, m, user, "install_code", installArgs, install), 5, "IC0514", "because the canister is not empty. Try installing with mode='reinstall' instead.")

	wantValue(t, submit(t, m, id, "inc", args(t)), "6")
	upgrade := candid.Fields{"mode": candid.Tag{Label: "upgrade"}, "canister_id": id, "wasm_module": wasm, "arg": args(t, 9)}
	first(t, manage(t, m, user, "install_code", installArgs, upgrade))
	wantValue(t, ask(t, m, id, "get", args(t)), "6")

	status := first(t, manage(t, m, user, "canister_status", idArg, candid.Fields{"canister_id": id}))
	if _, ok := status.Field("status").Tag("running"); !ok {
		t.Errorf("status %v", status)
	}
	if n, ok := status.Field("memory_metrics").Field("wasm_binary_size").Uint64(); !ok || n != uint64(len(wasm)) {
		t.Errorf("wasm_binary_size %d", n)
	}
	wantReject(t, manage(t, m, stranger, "canister_status", idArg, candid.Fields{"canister_id": id}), 5, "IC0512", "Only the controllers of the canister")
	if r := m.Query(context.Background(), user, candid.ManagementCanister, "canister_status", encode(t, idArg, candid.Fields{"canister_id": id})); r.Reject != nil {
		t.Error(r.Reject)
	}

	wantReject(t, manage(t, m, user, "delete_canister", idArg, candid.Fields{"canister_id": id}), 5, "IC0510", "must be stopped before it is deleted")
	first(t, manage(t, m, user, "stop_canister", idArg, candid.Fields{"canister_id": id}))
	wantReject(t, submit(t, m, id, "inc", args(t)), 5, "IC0508", "is stopped")
	wantReject(t, ask(t, m, id, "get", args(t)), 5, "IC0508", "is stopped")
	first(t, manage(t, m, user, "start_canister", idArg, candid.Fields{"canister_id": id}))
	wantValue(t, submit(t, m, id, "inc", args(t)), "7")

	first(t, manage(t, m, user, "uninstall_code", idArg, candid.Fields{"canister_id": id}))
	wantReject(t, submit(t, m, id, "inc", args(t)), 5, "IC0537", "no Wasm module")
	first(t, manage(t, m, user, "stop_canister", idArg, candid.Fields{"canister_id": id}))
	first(t, manage(t, m, user, "delete_canister", idArg, candid.Fields{"canister_id": id}))
	wantReject(t, submit(t, m, id, "inc", args(t)), 3, "IC0301", "not found")
	if _, ok := m.Info(id); ok {
		t.Error("the canister is still there")
	}
}

func TestManagementRefusals(t *testing.T) {
	m := newMachine(t, Options{})
	id := installFile(t, m, "counter", args(t, 1))
	absent := canisterID(99)
	for _, c := range []struct {
		name, method string
		arg          []byte
		code         int
		errorCode    string
		text         string
	}{
		{"unknown method", "fly", args(t), 5, "IC0536", "ic00 interface does not expose method fly"},
		{"not from outside", "raw_rand", args(t), 4, "IC0406", "ic00 method raw_rand can not be called via ingress messages"},
		{"create from outside", "create_canister", args(t), 4, "IC0406", "can not be called via ingress messages"},
		{"not there", "http_request", args(t), 4, "IC0407", "does not offer"},
		{"not candid", "start_canister", []byte("junk"), 4, "IC0408", "Error decoding candid"},
		{"no argument", "start_canister", args(t), 4, "IC0408", "canister_id"},
		{"wrong type", "start_canister", args(t, "text"), 4, "IC0408", "canister_id"},
		{"no canister", "start_canister", encode(t, idArg, candid.Fields{"canister_id": absent}), 3, "IC0301", "not found"},
		{"bad mode", "install_code", encode(t, idArg, candid.Fields{"canister_id": id}), 4, "IC0408", "wasm_module"},
		{"bad module", "install_code", encode(t, installArgs, candid.Fields{"mode": "reinstall", "canister_id": id, "wasm_module": []byte("x"), "arg": []byte{}}), 5, "IC0505", "Canister's Wasm module is not valid"},
	} {
		t.Run(c.name, func(t *testing.T) {
			wantReject(t, submit(t, m, candid.ManagementCanister, c.method, c.arg), c.code, c.errorCode, c.text)
		})
	}
	wantReject(t, ask(t, m, candid.ManagementCanister, "start_canister", args(t)), 5, "IC0536", "Query method start_canister not found.")
	wantValue(t, submit(t, m, id, "inc", args(t)), "2")
}

func TestManagementChunks(t *testing.T) {
	m := newMachine(t, Options{})
	id := provisional(t, m, candid.Fields{})
	wasm := moduleFile(t, "counter")
	var hashes []candid.Fields
	for rest := wasm; len(rest) > 0; {
		n := min(len(rest), 100_000)
		v := first(t, manage(t, m, user, "upload_chunk", chunkArgs, candid.Fields{"canister_id": id, "chunk": rest[:n]}))
		h, ok := v.Field("hash").Blob()
		if !ok {
			t.Fatal(v)
		}
		hashes = append(hashes, candid.Fields{"hash": h})
		rest = rest[n:]
	}
	stored := first(t, manage(t, m, user, "stored_chunks", idArg, candid.Fields{"canister_id": id}))
	if stored.Len() != len(hashes) {
		t.Errorf("%d chunks stored, expected %d", stored.Len(), len(hashes))
	}
	sum := sha256.Sum256(wasm)
	in := candid.Fields{"mode": "install", "target_canister": id, "chunk_hashes_list": hashes, "wasm_module_hash": sum[:], "arg": args(t, 3)}
	wrong := candid.Fields{"mode": "install", "target_canister": id, "chunk_hashes_list": hashes[1:], "wasm_module_hash": sum[:], "arg": args(t, 3)}
	wantReject(t, manage(t, m, user, "install_chunked_code", chunkedArgs, wrong), 5, "IC0504", "does not match given hash")
	first(t, manage(t, m, user, "install_chunked_code", chunkedArgs, in))
	wantValue(t, ask(t, m, id, "get", args(t)), "3")
	first(t, manage(t, m, user, "clear_chunk_store", idArg, candid.Fields{"canister_id": id}))
	in["mode"] = "reinstall"
	wantReject(t, manage(t, m, user, "install_chunked_code", chunkedArgs, in), 5, "IC0504", "was not found")
	wantReject(t, manage(t, m, user, "upload_chunk", chunkArgs, candid.Fields{"canister_id": id, "chunk": make([]byte, 1<<20+1)}), 5, "IC0504", "exceeds the maximum chunk size")
}

func TestManagementSettings(t *testing.T) {
	m := newMachine(t, Options{})
	other := candid.Principal("\x01other")
	id := provisional(t, m, candid.Fields{"amount": 123_456_789, "specified_id": canisterID(77)})
	if id != canisterID(77) {
		t.Errorf("id %v", id)
	}
	wantReject(t, manage(t, m, user, "provisional_create_canister_with_cycles", provisionalArgs, candid.Fields{"specified_id": canisterID(77)}), 2, "IC0205", "already")
	wantReject(t, manage(t, m, user, "provisional_create_canister_with_cycles", provisionalArgs, candid.Fields{"specified_id": user}), 4, "IC0408", "not a canister id")
	first(t, manage(t, m, other, "provisional_top_up_canister", topUpArgs, candid.Fields{"canister_id": id, "amount": 1}))
	status := first(t, manage(t, m, user, "canister_status", idArg, candid.Fields{"canister_id": id}))
	if n, _ := status.Field("cycles").Uint64(); n != 123_456_790 {
		t.Errorf("%d cycles", n)
	}
	set := candid.Fields{"canister_id": id, "settings": candid.Fields{
		"controllers": []candid.Principal{user, other}, "freezing_threshold": 5,
		"log_visibility":        candid.Tag{Label: "public"},
		"environment_variables": []candid.Fields{{"name": "B", "value": "2"}, {"name": "A", "value": "1"}},
	}}
	v := m.Version()
	first(t, manage(t, m, user, "update_settings", settingsArgs, set))
	if info, _ := m.Info(id); len(info.Controllers) != 2 || m.Version() == v {
		t.Errorf("info %+v", info)
	}
	status = first(t, manage(t, m, other, "canister_status", idArg, candid.Fields{"canister_id": id}))
	if n, _ := status.Field("settings").Field("freezing_threshold").Uint64(); n != 5 {
		t.Errorf("freezing threshold %d", n)
	}
	if got := status.Field("settings").Field("environment_variables").Len(); got != 2 {
		t.Errorf("%d environment variables", got)
	}
	many := make([]candid.Principal, 11)
	for i := range many {
		many[i] = candid.Principal([]byte{1, byte(i)})
	}
	wantReject(t, manage(t, m, user, "update_settings", settingsArgs, candid.Fields{"canister_id": id, "settings": candid.Fields{"controllers": many}}),
		4, "IC0408", "'controllers' length exceeds maximum size allowed of 10")
}

// The process sets variables of a canister without controllers, and more of them than the management canister takes.
func TestSetEnvironment(t *testing.T) {
	m := newMachine(t, Options{})
	id := installText(t, m, `
		import ic0 msg_reply () ()
		import ic0 msg_reply_data_append (i32 i32) ()
		import ic0 env_var_value_size (i32 i32) (i32)
		import ic0 env_var_value_copy (i32 i32 i32 i32 i32) ()
		memory 1
		data 0 "v7"
		func $value () ()
		i32.const 0
		i32.const 2
		i32.const 100
		i32.const 0
		i32.const 0
		i32.const 2
		call $env_var_value_size
		call $env_var_value_copy
		i32.const 100
		i32.const 0
		i32.const 2
		call $env_var_value_size
		call $msg_reply_data_append
		call $msg_reply
		end
		export $value "canister_query value"
	`)
	variables := make(map[string]string)
	for i := range maxEnvironment + 5 {
		variables[fmt.Sprintf("v%d", i)] = fmt.Sprintf("value %d", i)
	}
	version := m.Version()
	if err := m.SetEnvironment(t.Context(), id, variables); err != nil {
		t.Fatal(err)
	}
	if m.Version() == version {
		t.Error("the state's version has not changed")
	}
	if r := m.Query(t.Context(), user, id, "value", nil); string(r.Reply) != "value 7" {
		t.Errorf("the canister sees %q, %v", r.Reply, r.Reject)
	}
	for _, test := range []struct {
		name      string
		id        candid.Principal
		variables map[string]string
		want      string
	}{
		{"no such canister", canisterID(99), nil, "not found"},
		{"a long name", id, map[string]string{strings.Repeat("n", 129): ""}, "exceeds the maximum length of 128"},
		{"a long value", id, map[string]string{"v7": strings.Repeat("v", 129)}, "exceeds the maximum length of 128"},
	} {
		if err := m.SetEnvironment(t.Context(), test.id, test.variables); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v", test.name, err)
		}
	}
	if r := m.Query(t.Context(), user, id, "value", nil); string(r.Reply) != "value 7" {
		t.Errorf("after refusals the canister sees %q, %v", r.Reply, r.Reject)
	}
}

func TestManagementFromCanister(t *testing.T) {
	m := newMachine(t, Options{})
	caller := installFile(t, m, "caller", args(t))
	a, b := value(t, submit(t, m, caller, "random", args(t))), value(t, submit(t, m, caller, "random", args(t)))
	if a == b || len(a) < 64 {
		t.Errorf("random %s and %s", a, b)
	}
	counter := installFile(t, m, "counter", args(t, 1))
	got := value(t, submit(t, m, caller, "rawText", args(t, candid.ManagementCanister, "canister_status", encode(t, idArg, candid.Fields{"canister_id": counter}))))
	if !strings.Contains(got, "IC0512") {
		t.Error(got)
	}
	got = value(t, submit(t, m, caller, "rawText", args(t, candid.ManagementCanister, "canister_status", encode(t, idArg, candid.Fields{"canister_id": caller}))))
	if got != `"replied"` {
		t.Error(got)
	}
	got = value(t, submit(t, m, caller, "rawText", args(t, candid.ManagementCanister, "fly", args(t))))
	if !strings.Contains(got, "IC0536") {
		t.Error(got)
	}
	raw, err := candid.Decode(submit(t, m, caller, "raw", args(t, candid.ManagementCanister, "canister_info", encode(t, infoArgs, candid.Fields{"canister_id": counter, "num_requested_changes": 5}))).Reply, candid.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	info, _ := raw[0].Blob()
	if vs, err := candid.Decode(info, candid.Limits{}); err != nil || vs[0].Field("controllers").Len() != 1 {
		t.Errorf("canister_info %v, %v", vs, err)
	}
}

func TestLogs(t *testing.T) {
	m := newMachine(t, Options{Limits: Limits{LogBytes: 100}})
	id := installFile(t, m, "counter", args(t, 1))
	for range 20 {
		wantValue(t, submit(t, m, id, "print", args(t, "0123456789")), "")
	}
	wantReject(t, submit(t, m, id, "trapAfterWrite", args(t)), 5, "IC0503", "")
	logs := func(sender candid.Principal) Result {
		return m.Query(context.Background(), sender, candid.ManagementCanister, "fetch_canister_logs", encode(t, idArg, candid.Fields{"canister_id": id}))
	}
	records, _ := first(t, logs(user)).Field("canister_log_records").Vec()
	if len(records) == 0 || len(records) > 10 {
		t.Fatalf("%d records", len(records))
	}
	if b, _ := records[len(records)-1].Field("content").Blob(); !strings.Contains(string(b), "on purpose") {
		t.Errorf("last record %q", b)
	}
	wantReject(t, logs(candid.Anonymous), 4, "IC0406", "not allowed to access canister logs")
}
