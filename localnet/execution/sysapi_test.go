package execution

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/icrelay/icrelay/candid"
	"github.com/icrelay/icrelay/localnet/wasm"
)

// specModes is the table of the interface specification, "Overview of imports":
// each function with the contexts in which it may be called.
const specModes = `
msg_arg_data_size I U RQ NRQ CQ Ry CRy F
msg_arg_data_copy I U RQ NRQ CQ Ry CRy F
msg_caller_size *
msg_caller_copy *
msg_caller_info_data_size U RQ NRQ CQ Ry Rt CRy CRt C CC F
msg_caller_info_data_copy U RQ NRQ CQ Ry Rt CRy CRt C CC F
msg_caller_info_signer_size U RQ NRQ CQ Ry Rt CRy CRt C CC F
msg_caller_info_signer_copy U RQ NRQ CQ Ry Rt CRy CRt C CC F
msg_reject_code Ry Rt CRy CRt C
msg_reject_msg_size Rt CRt
msg_reject_msg_copy Rt CRt
msg_deadline U RQ NRQ CQ Ry Rt CRy CRt
msg_reply_data_append U RQ NRQ CQ Ry Rt CRy CRt
msg_reply U RQ NRQ CQ Ry Rt CRy CRt
msg_reject U RQ NRQ CQ Ry Rt CRy CRt
msg_cycles_available128 U RQ Rt Ry
msg_cycles_refunded128 Rt Ry
msg_cycles_accept128 U RQ Rt Ry
cycles_burn128 I G U RQ Ry Rt C T
canister_self_size *
canister_self_copy *
canister_cycle_balance128 *
canister_liquid_cycle_balance128 *
canister_status *
canister_version *
subnet_self_size *
subnet_self_copy *
msg_method_name_size F
msg_method_name_copy F
accept_message F
call_new U CQ Ry Rt CRy CRt T
call_on_cleanup U CQ Ry Rt CRy CRt T
call_data_append U CQ Ry Rt CRy CRt T
call_with_best_effort_response U CQ Ry Rt CRy CRt T
call_cycles_add128 U Ry Rt T
call_perform U CQ Ry Rt CRy CRt T
stable64_size * s
stable64_grow * s
stable64_write * s
stable64_read * s
root_key_size I G U RQ Ry Rt C T
root_key_copy I G U RQ Ry Rt C T
certified_data_set I G U Ry Rt T
data_certificate_present *
data_certificate_size NRQ CQ
data_certificate_copy NRQ CQ
time *
global_timer_set I G U Ry Rt C T
performance_counter * s
is_controller * s
in_replicated_execution * s
cost_call * s
cost_create_canister * s
cost_http_request * s
cost_sign_with_ecdsa * s
cost_sign_with_schnorr * s
cost_vetkd_derive_key * s
env_var_count *
env_var_name_size *
env_var_name_copy *
env_var_name_exists *
env_var_value_size *
env_var_value_copy *
debug_print * s
trap * s
msg_cycles_available U RQ Rt Ry
msg_cycles_refunded Rt Ry
msg_cycles_accept U RQ Rt Ry
canister_cycle_balance *
call_cycles_add U Ry Rt T
stable_size * s
stable_grow * s
stable_write * s
stable_read * s
`

// notInSpec are functions of older interfaces that modules still import.
var notInSpec = []string{"mint_cycles", "mint_cycles128"}

func TestSystemAPIIsComplete(t *testing.T) {
	have := map[string]bool{}
	for _, f := range systemAPI() {
		if have[f.name] {
			t.Errorf("%s is there twice", f.name)
		}
		have[f.name] = true
	}
	for _, line := range strings.Split(strings.TrimSpace(specModes), "\n") {
		name, _, _ := strings.Cut(line, " ")
		if !have[name] {
			t.Errorf("%s is missing", name)
		}
		delete(have, name)
	}
	for name := range have {
		if !slices.Contains(notInSpec, name) {
			t.Errorf("%s is not in the specification", name)
		}
	}
}

// everywhere is a module that calls one function, with zeroes as arguments, in
// every context there is. Each context but the last ones is one export.
func everywhere(f systemFunction) string {
	wasmType := func(letters string) string {
		var out []string
		for _, t := range valueTypes(letters, wasm.I32) {
			out = append(out, t.String())
		}
		return strings.Join(out, " ")
	}
	var body strings.Builder
	for i, p := range valueTypes(f.params, wasm.I32) {
		fmt.Fprintf(&body, "  %v.const 0\n", p)
		if f.params[i] == 'i' && moduleSuffix == "64" {
			body.WriteString("  i32.wrap_i64\n")
		}
	}
	fmt.Fprintf(&body, "  call $%s\n", f.name)
	if f.results != "" {
		body.WriteString("  drop\n")
	}
	imports := fmt.Sprintf("import ic0 %s (%s) (%s)\n", f.name, wasmType(f.params), wasmType(f.results))
	for _, g := range []string{"call_new (i32 i32 i32 i32 i32 i32 i32 i32) ()", "call_on_cleanup (i32 i32) ()", "call_perform () (i32)", "canister_self_copy (i32 i32 i32) ()", "global_timer_set (i64) (i64)", "msg_reply () ()"} {
		if name, _, _ := strings.Cut(g, " "); name != f.name {
			imports += "import ic0 " + g + "\n"
		}
	}
	// Calls itself: method at 100 (8 bytes), with table entries for reply, reject and cleanup.
	call := func(reply, reject, cleanup int, method int) string {
		return fmt.Sprintf(`
		  i32.const 0
		  i32.const 0
		  i32.const 10
		  call $canister_self_copy
		  i32.const 0
		  i32.const 10
		  i32.const %d
		  i32.const 3
		  i32.const %d
		  i32.const 0
		  i32.const %d
		  i32.const 0
		  call $call_new
		  i32.const %d
		  i32.const 0
		  call $call_on_cleanup
		  call $call_perform
		  drop
		end
		`, method, reply, reject, cleanup)
	}
	const ok, no = 100, 103
	return imports + `
		memory 1
		data 100 "ok_no_"
		table 3
		elem 0 $callback $fails
		func $f () ()
		` + body.String() + `
		end
		func $callback (i32) ()
		` + body.String() + `
		end
		func $fails (i32) ()
		  unreachable
		end
		func $reply () ()
		  call $msg_reply
		end
		func $update_Ry () ()` + call(0, 0, 2, ok) + `
		func $update_Rt () ()` + call(0, 0, 2, no) + `
		func $update_C () ()` + call(1, 1, 0, ok) + `
		func $timer () ()
		  i64.const 1
		  call $global_timer_set
		  drop
		  call $msg_reply
		end
		export $f "canister_update U"
		export $f "canister_query RQ"
		export $f "canister_composite_query CQ"
		export $f "canister_global_timer"
		export $reply "canister_query ok_"
		export $timer "canister_update T"
		export $update_Ry "canister_update Ry"
		export $update_Rt "canister_update Rt"
		export $update_C "canister_update C"
		export $update_Ry "canister_composite_query CRy"
		export $update_Rt "canister_composite_query CRt"
		export $update_C "canister_composite_query CC"
		`
}

// TestSystemAPIModes calls every function in every context, and expects it to
// be refused by name just where the specification does not list it.
func TestSystemAPIModes(t *testing.T) {
	m := newMachine(t, Options{})
	functions := map[string]systemFunction{}
	for _, f := range systemAPI() {
		functions[f.name] = f
	}
	all := strings.Fields("I G U RQ NRQ CQ Ry Rt CRy CRt C CC F T")
	for _, line := range strings.Split(strings.TrimSpace(specModes), "\n") {
		name, list, _ := strings.Cut(line, " ")
		allowed := strings.Fields(strings.Replace(list, "*", strings.Join(all, " "), 1))
		t.Run(name, func(t *testing.T) {
			for _, md := range append(slices.Clone(all), "s") {
				text := inMode(t, m, everywhere(functions[name]), md)
				refused := strings.Contains(text, fmt.Sprintf("Canister violated contract: %q cannot be executed in", "ic0_"+name))
				if want := !slices.Contains(allowed, md); refused != want {
					t.Errorf("in %s: refused %v, expected %v: %s", md, refused, want, text)
				}
			}
		})
	}
}

// inMode runs the module in one context and returns what went wrong.
func inMode(t *testing.T, m *Machine, text, md string) string {
	t.Helper()
	failed := func(err error) string {
		if err == nil {
			return ""
		}
		return err.Error()
	}
	var id candid.Principal
	tryInstall := func(extra string) error {
		var err error
		if id, err = m.CreateCanister(nil); err != nil {
			t.Fatal(err)
		}
		return m.Install(context.Background(), id, ModeInstall, assemble(forWidth(text+extra)), nil, user)
	}
	defer func() {
		ctx := context.Background()
		if err := m.Stop(ctx, id); err != nil {
			t.Error(err)
		}
		if err := m.Delete(ctx, id); err != nil {
			t.Error(err)
		}
	}()
	var result Result
	switch md {
	case "I":
		return failed(tryInstall(`export $f "canister_init"`))
	case "s":
		return failed(tryInstall(`start $f`))
	case "G":
		if err := tryInstall(`export $f "canister_pre_upgrade"`); err != nil {
			t.Fatal(err)
		}
		return failed(m.Install(context.Background(), id, ModeUpgrade, assemble(forWidth(text)), nil, user))
	case "F":
		if err := tryInstall(`export $f "canister_inspect_message"`); err != nil {
			t.Fatal(err)
		}
		result = submit(t, m, id, "ok_", nil)
	case "NRQ", "CQ", "CRy", "CRt", "CC":
		if err := tryInstall(""); err != nil {
			t.Fatal(err)
		}
		if md == "NRQ" {
			md = "RQ"
		}
		result = ask(t, m, id, md, nil)
	default:
		if err := tryInstall(""); err != nil {
			t.Fatal(err)
		}
		result = submit(t, m, id, md, nil)
		if md == "T" {
			// The timer is queued behind the first of these at the latest, so it has run when the second has.
			submit(t, m, id, "ok_", nil)
			submit(t, m, id, "ok_", nil)
			return logged(m, id)
		}
	}
	if result.Reject != nil {
		return result.Reject.Text
	}
	return ""
}

func logged(m *Machine, id candid.Principal) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out strings.Builder
	for _, r := range m.canisters[id].logs.records {
		out.Write(r.content)
		out.WriteByte('\n')
	}
	return out.String()
}
