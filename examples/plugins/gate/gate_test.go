// Package gate_test tests the token that the gate comes with. The gate itself is
// tested end to end (e2e/plugins.test.mjs).
package gate_test

import (
	"os"
	"testing"

	"go.uber.org/goleak"

	"github.com/icrelay/icrelay/candid"
	"github.com/icrelay/icrelay/localnet/execution"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type token struct {
	*testing.T
	machine *execution.Machine
	id      candid.Principal
}

func newToken(t *testing.T) *token {
	t.Helper()
	k := &token{T: t, machine: execution.New(execution.Options{})}
	t.Cleanup(func() {
		if err := k.machine.Close(); err != nil {
			t.Error(err)
		}
	})
	wasm, err := os.ReadFile("token.wasm")
	if err != nil {
		t.Fatal(err)
	}
	if k.id, err = k.machine.CreateCanister(nil); err != nil {
		t.Fatal(err)
	}
	if err := k.machine.Install(t.Context(), k.id, execution.ModeInstall, wasm, candid.EncodeEmpty(), candid.Anonymous); err != nil {
		t.Fatal(err)
	}
	return k
}

var (
	accountType  = candid.RecordOf(candid.Field{Label: "owner", Type: candid.PrincipalType}, candid.Field{Label: "subaccount", Type: candid.OptOf(candid.BlobType)})
	transferType = candid.RecordOf(
		candid.Field{Label: "from_subaccount", Type: candid.OptOf(candid.BlobType)},
		candid.Field{Label: "to", Type: accountType},
		candid.Field{Label: "amount", Type: candid.NatType},
		candid.Field{Label: "fee", Type: candid.OptOf(candid.NatType)},
	)
)

func (k *token) call(sender candid.Principal, method string, args *candid.Builder) candid.Value {
	k.Helper()
	arg, err := args.Bytes()
	if err != nil {
		k.Fatal(err)
	}
	done := make(chan execution.Result, 1)
	if err := k.machine.Submit(execution.Ingress{Sender: sender, Canister: k.id, Method: method, Arg: arg}, func(r execution.Result) { done <- r }); err != nil {
		k.Fatal(err)
	}
	r := <-done
	if r.Reject != nil {
		k.Fatal(r.Reject)
	}
	values, err := candid.Decode(r.Reply, candid.Limits{})
	if err != nil || len(values) != 1 {
		k.Fatalf("%v, %v", values, err)
	}
	return values[0]
}

// balance asks as the gate does: without a field for the subaccount, unless there is one.
func (k *token) balance(owner candid.Principal, subaccount []byte) uint64 {
	k.Helper()
	typ := candid.RecordOf(candid.Field{Label: "owner", Type: candid.PrincipalType})
	account := candid.Fields{"owner": owner}
	if subaccount != nil {
		typ, account["subaccount"] = accountType, subaccount
	}
	n, ok := k.call("\x01", "icrc1_balance_of", candid.NewBuilder().Add(typ, account)).Uint64()
	if !ok {
		k.Fatal("no number")
	}
	return n
}

func (k *token) transfer(from, to candid.Principal, subaccount []byte, amount uint64, more candid.Fields) candid.Value {
	k.Helper()
	account := candid.Fields{"owner": to}
	if subaccount != nil {
		account["subaccount"] = subaccount
	}
	arg := candid.Fields{"to": account, "amount": amount}
	for label, value := range more {
		arg[label] = value
	}
	return k.call(from, "icrc1_transfer", candid.NewBuilder().Add(transferType, arg))
}

func TestToken(t *testing.T) {
	const ann, ben = candid.Principal("\x0aann"), candid.Principal("\x0aben")
	k := newToken(t)
	zeros := make([]byte, 32)
	other := append(make([]byte, 31), 1)
	want := func(what string, owner candid.Principal, subaccount []byte, amount uint64) {
		t.Helper()
		if n := k.balance(owner, subaccount); n != amount {
			t.Fatalf("%s: %d, want %d", what, n, amount)
		}
	}
	want("nobody", ann, nil, 0)
	k.call("\x02", "faucet", candid.NewBuilder().Add(candid.PrincipalType, ann).Add(candid.NatType, uint64(10)))
	want("from the faucet", ann, nil, 10)
	want("the subaccount of zeros is none", ann, zeros, 10)

	if n, ok := k.transfer(ann, ben, nil, 4, nil).Tag("Ok"); !ok {
		t.Fatalf("transfer: %v", n)
	}
	want("sender", ann, nil, 6)
	want("receiver", ben, nil, 4)

	short, ok := k.transfer(ann, ben, nil, 7, nil).Tag("Err")
	if reason, isShort := short.Tag("InsufficientFunds"); !ok || !isShort {
		t.Fatalf("too much: %v", short)
	} else if n, _ := reason.Field("balance").Uint64(); n != 6 {
		t.Fatalf("balance %d", n)
	}
	fee, ok := k.transfer(ann, ben, nil, 1, candid.Fields{"fee": uint64(1)}).Tag("Err")
	if _, isFee := fee.Tag("BadFee"); !ok || !isFee {
		t.Fatalf("with a fee: %v", fee)
	}
	want("after refusals", ann, nil, 6)

	k.transfer(ann, ann, nil, 6, nil)
	want("to oneself", ann, nil, 6)
	k.transfer(ann, ben, other, 6, nil)
	want("all is gone", ann, nil, 0)
	want("into a subaccount", ben, other, 6)
	want("and not beside it", ben, nil, 4)
	k.transfer(ben, ann, nil, 6, candid.Fields{"from_subaccount": other})
	want("out of a subaccount", ann, nil, 6)
}
