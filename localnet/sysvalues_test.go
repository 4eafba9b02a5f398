package localnet

import (
	"encoding/binary"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/icrelay/icrelay/candid"
	"github.com/icrelay/icrelay/localnet/wasm/wasmtest"
)

// observer is a module whose methods reply with what a function of the System
// API tells: query and update "name" with its bytes or its little-endian number.
func observer() []byte {
	var imports, bodies strings.Builder
	imports.WriteString(`
		import ic0 msg_reply () ()
		import ic0 msg_reply_data_append (i32 i32) ()
		import ic0 accept_message () ()
	`)
	method := func(name, body string) {
		fmt.Fprintf(&bodies, "func $m_%[1]s () ()\nlocals i32\n%[2]s\ncall $msg_reply\nend\nexport $m_%[1]s \"canister_update %[1]s\"\nexport $q_%[1]s \"canister_query q_%[1]s\"\nfunc $q_%[1]s () ()\ncall $m_%[1]s\nend\n", name, body)
	}
	number := func(name, size, call string) {
		method(name, "i32.const 0\n"+call+"\ni"+size+".store\ni32.const 0\ni32.const "+map[string]string{"32": "4", "64": "8"}[size]+"\ncall $msg_reply_data_append")
	}
	for _, f := range []string{"msg_caller", "canister_self", "subnet_self", "root_key"} {
		fmt.Fprintf(&imports, "import ic0 %[1]s_size () (i32)\nimport ic0 %[1]s_copy (i32 i32 i32) ()\n", f)
		method(f, fmt.Sprintf("call $%[1]s_size\nlocal.set 0\ni32.const 1000\ni32.const 0\nlocal.get 0\ncall $%[1]s_copy\ni32.const 1000\nlocal.get 0\ncall $msg_reply_data_append", f))
	}
	for _, f := range []struct{ name, size string }{
		{"canister_status", "32"}, {"in_replicated_execution", "32"}, {"env_var_count", "32"}, {"data_certificate_present", "32"},
		{"canister_version", "64"}, {"time", "64"}, {"msg_deadline", "64"},
	} {
		fmt.Fprintf(&imports, "import ic0 %s () (i%s)\n", f.name, f.size)
		number(f.name, f.size, "call $"+f.name)
	}
	imports.WriteString(`
		import ic0 is_controller (i32 i32) (i32)
		import ic0 performance_counter (i32) (i64)
		import ic0 env_var_name_size (i32) (i32)
		import ic0 env_var_name_copy (i32 i32 i32 i32) ()
		import ic0 env_var_name_exists (i32 i32) (i32)
		import ic0 env_var_value_size (i32 i32) (i32)
		import ic0 env_var_value_copy (i32 i32 i32 i32 i32) ()
		import ic0 cost_create_canister (i32) ()
		import ic0 cost_call (i64 i64 i32) ()
		import ic0 canister_cycle_balance128 (i32) ()
	`)
	number("caller_controls", "32", "i32.const 1000\ni32.const 0\ncall $msg_caller_size\ncall $msg_caller_copy\ni32.const 1000\ncall $msg_caller_size\ncall $is_controller")
	number("instructions", "64", "i32.const 0\ncall $performance_counter")
	number("instructions_after_work", "64", strings.Repeat("i32.const 1\ndrop\n", 1000)+"i32.const 0\ncall $performance_counter")
	number("has_color", "32", "i32.const 500\ni32.const 5\ncall $env_var_name_exists")
	number("has_colon", "32", "i32.const 505\ni32.const 5\ncall $env_var_name_exists")
	method("color", "i32.const 500\ni32.const 5\ncall $env_var_value_size\nlocal.set 0\ni32.const 500\ni32.const 5\ni32.const 1000\ni32.const 0\nlocal.get 0\ncall $env_var_value_copy\ni32.const 1000\nlocal.get 0\ncall $msg_reply_data_append")
	method("first_name", "i32.const 0\ncall $env_var_name_size\nlocal.set 0\ni32.const 0\ni32.const 1000\ni32.const 0\nlocal.get 0\ncall $env_var_name_copy\ni32.const 1000\nlocal.get 0\ncall $msg_reply_data_append")
	method("cost_of_creation", "i32.const 1000\ncall $cost_create_canister\ni32.const 1000\ni32.const 16\ncall $msg_reply_data_append")
	method("cost_of_call", "i64.const 10\ni64.const 1000\ni32.const 1000\ncall $cost_call\ni32.const 1000\ni32.const 16\ncall $msg_reply_data_append")
	method("balance", "i32.const 1000\ncall $canister_cycle_balance128\ni32.const 1000\ni32.const 16\ncall $msg_reply_data_append")
	return wasmtest.Assemble(imports.String() + "memory 1\ndata 500 \"colorcolon\"\n" + bodies.String())
}

// TestSystemAPIValues: the functions that tell a canister about itself, its
// caller and the network tell the truth. That all are there, and where they may
// be used, is tested with package execution.
func TestSystemAPIValues(t *testing.T) {
	user, stranger := newIdentity(t), newIdentity(t)
	n, err := Start(t.Context(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	})
	id, err := n.CreateCanister(user.Principal())
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Install(t.Context(), id, observer(), nil); err != nil {
		t.Fatal(err)
	}
	c := newClient(t, n)
	ctx := t.Context()
	update := func(method string) []byte {
		t.Helper()
		reply, err := c.Call(ctx, user, id, method, nil)
		if err != nil {
			t.Fatalf("%s: %v", method, err)
		}
		return reply
	}
	query := func(method string) []byte {
		t.Helper()
		reply, err := c.Query(ctx, user, id, "q_"+method, nil)
		if err != nil {
			t.Fatalf("query %s: %v", method, err)
		}
		return reply
	}
	value := func(b []byte) uint64 { // of 4, 8 or 16 bytes that fit
		return binary.LittleEndian.Uint64(append(append([]byte{}, b...), make([]byte, 8)...))
	}
	for _, test := range []struct {
		method string
		want   string
	}{
		{"msg_caller", string(user.Principal())},
		{"canister_self", string(id)},
		{"subnet_self", string(n.Subnet())},
		{"canister_status", "\x01\x00\x00\x00"},
		{"env_var_count", "\x00\x00\x00\x00"},
		{"has_color", "\x00\x00\x00\x00"},
		{"msg_deadline", "\x00\x00\x00\x00\x00\x00\x00\x00"}, // none: the call is not a best-effort one
		{"caller_controls", "\x01\x00\x00\x00"},
	} {
		if got := string(update(test.method)); got != test.want {
			t.Errorf("%s: %x, want %x", test.method, got, test.want)
		}
		if got := string(query(test.method)); got != test.want {
			t.Errorf("query %s: %x, want %x", test.method, got, test.want)
		}
	}
	if got := string(update("root_key")); got != string(n.RootKey()) {
		t.Errorf("root_key: %x", got)
	}
	for method, want := range map[string][2]uint64{"in_replicated_execution": {1, 0}, "data_certificate_present": {0, 1}} {
		if u, q := value(update(method)), value(query(method)); u != want[0] || q != want[1] {
			t.Errorf("%s: %d in an update, %d in a query", method, u, q)
		}
	}
	if reply, err := c.Query(ctx, stranger, id, "q_caller_controls", nil); err != nil || value(reply) != 0 {
		t.Errorf("a stranger controls the canister: %x, %v", reply, err)
	}
	before := time.Now()
	if at := time.Unix(0, int64(value(update("time")))); at.Before(before.Add(-time.Second)) || at.After(time.Now().Add(time.Second)) {
		t.Errorf("time %v", at)
	}
	if few, many := value(query("instructions")), value(query("instructions_after_work")); few == 0 || few > 1000 || many < few+1000 || many > few+10_000 {
		t.Errorf("%d instructions, and %d after 2,000 more", few, many)
	}
	if got := value(update("cost_of_creation")); got == 0 {
		t.Error("creating a canister costs nothing")
	}
	if got := value(update("cost_of_call")); got == 0 {
		t.Error("a call costs nothing")
	}
	if first, second := value(update("balance")), value(update("balance")); first == 0 || second > first {
		t.Errorf("balance %d, then %d", first, second)
	}

	// The version counts changes of the settings and of the state.
	version := value(query("canister_version"))
	field := func(label string, t candid.Type) candid.Field { return candid.Field{Label: label, Type: t} }
	variable := candid.RecordOf(field("name", candid.TextType), field("value", candid.TextType))
	settings, err := candid.NewBuilder().Add(candid.RecordOf(field("canister_id", candid.PrincipalType),
		field("settings", candid.RecordOf(field("environment_variables", candid.OptOf(candid.VecOf(variable)))))),
		candid.Fields{"canister_id": id, "settings": candid.Fields{"environment_variables": []candid.Fields{{"name": "color", "value": "dark blue"}}}}).Bytes()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.CallEffective(ctx, user, id, candid.ManagementCanister, "update_settings", settings); err != nil {
		t.Fatal(err)
	}
	if after := value(query("canister_version")); after != version+1 {
		t.Errorf("version %d after the settings changed, %d before", after, version)
	}
	update("time")
	if after := value(query("canister_version")); after != version+2 {
		t.Errorf("version %d after an update call, %d before both changes", after, version)
	}
	for method, want := range map[string]string{
		"env_var_count": "\x01\x00\x00\x00", "has_color": "\x01\x00\x00\x00", "has_colon": "\x00\x00\x00\x00",
		"first_name": "color", "color": "dark blue",
	} {
		if got := string(query(method)); got != want {
			t.Errorf("query %s: %q, want %q", method, got, want)
		}
	}
}
