package standin

import (
	"fmt"
	"math/big"
	"strings"
	"testing"

	"github.com/icrelay/icrelay/candid"
	"github.com/icrelay/icrelay/localnet/execution"
	"github.com/icrelay/icrelay/localnet/wasm/wasmtest"
)

// forwarder installs a canister that passes what it is called with on to one
// method, with cycles, and replies with what comes back.
func (n network) forwarder(callee candid.Principal, method string, cycles int64) candid.Principal {
	n.t.Helper()
	var id strings.Builder
	for _, b := range callee.Bytes() {
		_, _ = fmt.Fprintf(&id, `\x%02x`, b)
	}
	module := wasmtest.Assemble(fmt.Sprintf(`
		import ic0 msg_reply () ()
		import ic0 msg_reply_data_append (i32 i32) ()
		import ic0 msg_arg_data_copy (i32 i32 i32) ()
		import ic0 msg_arg_data_size () (i32)
		import ic0 msg_reject_msg_copy (i32 i32 i32) ()
		import ic0 msg_reject_msg_size () (i32)
		import ic0 msg_reject (i32 i32) ()
		import ic0 call_new (i32 i32 i32 i32 i32 i32 i32 i32) ()
		import ic0 call_data_append (i32 i32) ()
		import ic0 call_cycles_add128 (i64 i64) ()
		import ic0 call_perform () (i32)
		memory 1
		table 2
		data 0 "%s"
		data 16 "%s"
		elem 0 $reply $reject
		func $forward () ()
		  i32.const 64
		  i32.const 0
		  call $msg_arg_data_size
		  call $msg_arg_data_copy
		  i32.const 0
		  i32.const %d
		  i32.const 16
		  i32.const %d
		  i32.const 0
		  i32.const 0
		  i32.const 1
		  i32.const 0
		  call $call_new
		  i32.const 64
		  call $msg_arg_data_size
		  call $call_data_append
		  i64.const 0
		  i64.const %d
		  call $call_cycles_add128
		  call $call_perform
		  drop
		end
		func $reply (i32) ()
		  i32.const 64
		  i32.const 0
		  call $msg_arg_data_size
		  call $msg_arg_data_copy
		  i32.const 64
		  call $msg_arg_data_size
		  call $msg_reply_data_append
		  call $msg_reply
		end
		func $reject (i32) ()
		  i32.const 64
		  i32.const 0
		  call $msg_reject_msg_size
		  call $msg_reject_msg_copy
		  i32.const 64
		  call $msg_reject_msg_size
		  call $msg_reject
		end
		export $forward "canister_update forward"`, id.String(), method, len(callee), len(method), cycles))
	canister, err := n.CreateCanister([]candid.Principal{alice})
	if err != nil {
		n.t.Fatal(err)
	}
	if err := n.Install(n.t.Context(), canister, execution.ModeInstall, module, nil, alice); err != nil {
		n.t.Fatal(err)
	}
	return canister
}

// cyclesOf asks the management canister as alice, who controls the forwarders.
func (n network) cyclesOf(id candid.Principal) *big.Int {
	n.t.Helper()
	arg := candid.RecordOf(field("canister_id", candid.PrincipalType))
	balance, ok := n.call(alice, candid.ManagementCanister, "canister_status", arg, candid.Fields{"canister_id": id}).Field("cycles").Big()
	if !ok {
		n.t.Fatal("no cycles")
	}
	return balance
}

func (n network) wantSpent(id candid.Principal, before *big.Int, want int64) {
	n.t.Helper()
	const messages = 20_000_000 // the messages themselves
	spent := new(big.Int).Sub(before, n.cyclesOf(id))
	if d := spent.Int64() - want; d < 0 || d > messages {
		n.t.Errorf("%v cycles spent, want %d", spent, want)
	}
}

func TestCallsFromCanisters(t *testing.T) {
	n := start(t)
	t.Run("deposit", func(t *testing.T) {
		n.t = t
		c := n.forwarder(CyclesLedger, "deposit", trillion)
		before := n.cyclesOf(c)
		reply := n.call(alice, c, "forward", depositArgs, candid.Fields{"to": sub(bob, 7)})
		if balance, _ := reply.Field("balance").Uint64(); balance != trillion-Fee {
			t.Errorf("balance %d", balance)
		}
		n.wantBalance(sub(bob, 7), trillion-Fee)
		n.wantSpent(c, before, trillion)
	})
	t.Run("deposit below the fee", func(t *testing.T) {
		n.t = t
		c := n.forwarder(CyclesLedger, "deposit", Fee-1)
		before := n.cyclesOf(c)
		if r := n.submit(alice, c, "forward", encode(depositArgs, candid.Fields{"to": of(bob)})); r.Reject == nil || !strings.Contains(r.Reject.Text, "less than the cycles ledger fee") {
			t.Errorf("%v", r)
		}
		n.wantSpent(c, before, 0)
	})
	t.Run("create through the minting canister", func(t *testing.T) {
		n.t = t
		c := n.forwarder(CyclesMintingCanister, "create_canister", 2*trillion)
		before := n.cyclesOf(c)
		id, ok := wantOk(t, n.call(alice, c, "forward", creationType, creation(subnet))).Principal()
		if got := n.controllers(id); !ok || len(got) != 1 || got[0] != c {
			t.Errorf("controllers %v", got)
		}
		n.wantSpent(c, before, 2*trillion)
		before = n.cyclesOf(c)
		refund, _ := wantErr(t, n.call(alice, c, "forward", creationType, creation(bob)), "Refunded").Field("refund_amount").Uint64()
		if refund != 2*trillion {
			t.Errorf("refund %d", refund)
		}
		n.wantSpent(c, before, 0)
	})
}
