package standin

import (
	"context"
	"errors"
	"math/big"
	"testing"

	"go.uber.org/goleak"

	"github.com/icrelay/icrelay/candid"
	"github.com/icrelay/icrelay/localnet/execution"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	alice  = candid.Principal("\x01alice\x02")
	bob    = candid.Principal("\x01bob\x02")
	subnet = candid.Principal("\x01subnet\x02")
	other  = candid.Principal("\x01other\x02")
	absent = candid.Principal("\x00\x00\x00\x00\x00\x00\x00\x63\x01\x01")

	trillion = 1_000_000_000_000
)

// The arguments as tools write them, with every field that is looked at.
var (
	accountType  = candid.RecordOf(field("owner", candid.PrincipalType), field("subaccount", candid.OptOf(candid.BlobType)))
	settingsType = candid.RecordOf(field("controllers", candid.OptOf(candid.VecOf(candid.PrincipalType))))
	creationType = candid.RecordOf(
		field("subnet_selection", candid.OptOf(candid.VariantOf(field("Subnet", candid.RecordOf(field("subnet", candid.PrincipalType)))))),
		field("settings", candid.OptOf(settingsType)))
	createType   = candid.RecordOf(field("from_subaccount", candid.OptOf(candid.BlobType)), field("amount", candid.NatType), field("creation_args", candid.OptOf(creationType)))
	withdrawType = candid.RecordOf(field("amount", candid.NatType), field("from_subaccount", candid.OptOf(candid.BlobType)), field("to", candid.PrincipalType))
	transferType = candid.RecordOf(field("to", accountType), field("amount", candid.NatType), field("fee", candid.OptOf(candid.NatType)), field("from_subaccount", candid.OptOf(candid.BlobType)))
	depositArgs  = candid.RecordOf(field("to", accountType), field("memo", candid.OptOf(candid.BlobType)))
)

type network struct {
	*execution.Machine
	t testing.TB
}

func start(t testing.TB) network {
	t.Helper()
	m := execution.New(execution.Options{Subnet: subnet, Natives: Canisters(subnet, other)})
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	return network{m, t}
}

func (n network) submit(sender, canister candid.Principal, method string, arg []byte) execution.Result {
	n.t.Helper()
	done := make(chan execution.Result, 1)
	err := n.Submit(execution.Ingress{Sender: sender, Canister: canister, Method: method, Arg: arg}, func(r execution.Result) { done <- r })
	var rej *execution.Reject
	switch {
	case errors.As(err, &rej):
		return execution.Result{Reject: rej}
	case err != nil:
		n.t.Fatal(err)
	}
	return <-done
}

// call calls a method and returns its reply.
func (n network) call(sender, canister candid.Principal, method string, t candid.Type, v any) candid.Value {
	n.t.Helper()
	return n.value(n.submit(sender, canister, method, encode(t, v)))
}

func (n network) value(r execution.Result) candid.Value {
	n.t.Helper()
	if r.Reject != nil {
		n.t.Fatal(r.Reject)
	}
	values, err := candid.Decode(r.Reply, candid.Limits{})
	if err != nil || len(values) != 1 {
		n.t.Fatalf("%v, %v", values, err)
	}
	return values[0]
}

func (n network) balance(a candid.Fields) *big.Int {
	n.t.Helper()
	v, ok := n.value(n.Query(context.Background(), alice, CyclesLedger, "icrc1_balance_of", encode(accountType, a))).Big()
	if !ok {
		n.t.Fatal("no number")
	}
	return v
}

func (n network) wantBalance(a candid.Fields, want int64) {
	n.t.Helper()
	if got := n.balance(a); got.Cmp(big.NewInt(want)) != 0 {
		n.t.Errorf("balance %v, want %d", got, want)
	}
}

func of(owner candid.Principal) candid.Fields { return candid.Fields{"owner": owner} }

func sub(owner candid.Principal, last byte) candid.Fields {
	b := make([]byte, subaccountLen)
	b[subaccountLen-1] = last
	return candid.Fields{"owner": owner, "subaccount": b}
}

// wantErr checks that a reply is variant { Err = variant { tag } }.
func wantErr(t testing.TB, v candid.Value, tag string) candid.Value {
	t.Helper()
	failure, ok := v.Tag("Err")
	reason, ok2 := failure.Tag(tag)
	if !ok || !ok2 {
		t.Fatalf("%v, want Err with %s", v, tag)
	}
	return reason
}

func wantOk(t testing.TB, v candid.Value) candid.Value {
	t.Helper()
	result, ok := v.Tag("Ok")
	if !ok {
		t.Fatalf("%v, want Ok", v)
	}
	return result
}

func (n network) controllers(id candid.Principal) []candid.Principal {
	n.t.Helper()
	info, ok := n.Info(id)
	if !ok {
		n.t.Fatalf("%s does not exist", id)
	}
	return info.Controllers
}

func TestMinting(t *testing.T) {
	n := start(t)
	query := func(method string) candid.Value {
		return n.value(n.Query(t.Context(), alice, CyclesMintingCanister, method, candid.EncodeEmpty()))
	}
	subnets, _ := query("get_default_subnets").Vec()
	if len(subnets) != 1 {
		t.Fatalf("%d subnets", len(subnets))
	}
	if id, _ := subnets[0].Principal(); id != subnet {
		t.Errorf("subnet %s", id)
	}
	if data, ok := query("get_subnet_types_to_subnets").Field("data").Vec(); !ok || len(data) != 0 {
		t.Error("types of subnets")
	}
	// From outside no cycles come with a call.
	reason := wantErr(t, n.call(alice, CyclesMintingCanister, "create_canister", creationType, candid.Fields{}), "Refunded")
	if text, _ := reason.Field("create_error").Text(); text == "" {
		t.Error("no reason")
	}
}

func TestCreateCanister(t *testing.T) {
	for name, c := range map[string]struct {
		args candid.Fields
		want []candid.Principal // controllers
		err  string
	}{
		"no settings":      {args: candid.Fields{"amount": 2 * trillion}, want: []candid.Principal{alice}},
		"subnet, settings": {args: candid.Fields{"amount": 2 * trillion, "creation_args": creation(subnet, bob)}, want: []candid.Principal{bob}},
		"the alias":        {args: candid.Fields{"amount": 2 * trillion, "creation_args": creation(other, bob)}, want: []candid.Principal{bob}},
		"another subnet":   {args: candid.Fields{"amount": 2 * trillion, "creation_args": creation(alice)}, err: "FailedToCreate"},
		"too little":       {args: candid.Fields{"amount": 1000}, err: "FailedToCreate"},
		"too much":         {args: candid.Fields{"amount": int64(OpeningBalance)}, err: "InsufficientFunds"}, // not even the fee
		"empty account":    {args: candid.Fields{"amount": trillion, "from_subaccount": sub(alice, 1)["subaccount"]}, err: "InsufficientFunds"},
	} {
		t.Run(name, func(t *testing.T) {
			n := start(t)
			reply := n.call(alice, CyclesLedger, "create_canister", createType, c.args)
			if c.err != "" {
				wantErr(t, reply, c.err)
				n.wantBalance(of(alice), OpeningBalance)
				return
			}
			id, _ := wantOk(t, reply).Field("canister_id").Principal()
			if got := n.controllers(id); len(got) != 1 || got[0] != c.want[0] {
				t.Errorf("controllers %v", got)
			}
			n.wantBalance(of(alice), OpeningBalance-2*trillion-Fee)
		})
	}
}

func creation(subnet candid.Principal, controllers ...candid.Principal) candid.Fields {
	f := candid.Fields{"subnet_selection": candid.Tag{Label: "Subnet", Value: candid.Fields{"subnet": subnet}}}
	if len(controllers) > 0 {
		f["settings"] = candid.Fields{"controllers": controllers}
	}
	return f
}

func TestWithdraw(t *testing.T) {
	n := start(t)
	id, err := n.CreateCanister(nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		to     candid.Principal
		amount int64
		err    string
	}{
		"a canister":         {to: id, amount: trillion},
		"no such canister":   {to: absent, amount: trillion, err: "FailedToWithdraw"},
		"a person":           {to: bob, amount: trillion, err: "InvalidReceiver"},
		"nobody":             {to: candid.Anonymous, amount: trillion, err: "InvalidReceiver"},
		"management":         {to: candid.ManagementCanister, amount: trillion, err: "InvalidReceiver"},
		"more than there is": {to: id, amount: OpeningBalance, err: "InsufficientFunds"},
	} {
		t.Run(name, func(t *testing.T) {
			n.t = t
			before := n.balance(of(alice))
			reply := n.call(alice, CyclesLedger, "withdraw", withdrawType, candid.Fields{"amount": c.amount, "to": c.to})
			want := before
			if c.err != "" {
				wantErr(t, reply, c.err)
			} else {
				wantOk(t, reply)
				want = new(big.Int).Sub(before, big.NewInt(c.amount+Fee))
			}
			n.wantBalance(of(alice), want.Int64())
		})
	}
}

func TestTransfer(t *testing.T) {
	n := start(t)
	transfer := func(args candid.Fields) candid.Value {
		return n.call(alice, CyclesLedger, "icrc1_transfer", transferType, args)
	}
	n.wantBalance(of(bob), OpeningBalance)
	n.wantBalance(sub(bob, 1), 0)
	wantOk(t, transfer(candid.Fields{"to": sub(bob, 1), "amount": 5}))
	n.wantBalance(sub(bob, 1), 5)
	n.wantBalance(of(bob), OpeningBalance)
	n.wantBalance(of(alice), OpeningBalance-5-Fee)
	wantOk(t, transfer(candid.Fields{"to": of(alice), "amount": 7, "fee": Fee})) // to oneself costs the fee
	n.wantBalance(of(alice), OpeningBalance-5-2*Fee)
	wantOk(t, transfer(candid.Fields{"to": sub(alice, 0), "amount": 7})) // the account without a subaccount, spelt out
	n.wantBalance(of(alice), OpeningBalance-5-3*Fee)
	if fee, _ := wantErr(t, transfer(candid.Fields{"to": of(bob), "amount": 5, "fee": 1}), "BadFee").Field("expected_fee").Uint64(); fee != Fee {
		t.Errorf("fee %d", fee)
	}
	reason := wantErr(t, transfer(candid.Fields{"to": of(bob), "amount": 5, "from_subaccount": sub(alice, 3)["subaccount"]}), "InsufficientFunds")
	if balance, _ := reason.Field("balance").Uint64(); balance != 0 {
		t.Errorf("balance %d", balance)
	}
}

func TestRefusedArguments(t *testing.T) {
	n := start(t)
	short := candid.Fields{"owner": bob, "subaccount": []byte{1}}
	for name, c := range map[string]struct {
		method string
		arg    []byte
	}{
		"no argument":        {"withdraw", candid.EncodeEmpty()},
		"no Candid":          {"withdraw", []byte("hello")},
		"short subaccount":   {"icrc1_transfer", encode(transferType, candid.Fields{"to": short, "amount": 1})},
		"text as amount":     {"create_canister", encode(candid.RecordOf(field("amount", candid.TextType)), candid.Fields{"amount": "1"})},
		"negative amount":    {"create_canister", encode(candid.RecordOf(field("amount", candid.IntType)), candid.Fields{"amount": -1})},
		"deposit, no owner":  {"deposit", candid.EncodeEmpty()},
		"deposit of nothing": {"deposit", encode(depositArgs, candid.Fields{"to": of(bob)})},
	} {
		t.Run(name, func(t *testing.T) {
			r := n.submit(alice, CyclesLedger, c.method, c.arg)
			if r.Reject == nil || r.Reject.ErrorCode != "IC0503" {
				t.Errorf("%v", r)
			}
		})
	}
	if r := n.submit(alice, CyclesLedger, "icrc2_approve", candid.EncodeEmpty()); r.Reject == nil || r.Reject.ErrorCode != "IC0536" {
		t.Errorf("a method that is not there: %v", r)
	}
}

// FuzzLedger calls every method with foreign bytes: nothing panics, nobody gains, and what an account
// loses is a withdrawal, a transfer or a creation that the reply tells of.
func FuzzLedger(f *testing.F) {
	methods := []string{"create_canister", "withdraw", "deposit", "icrc1_transfer", "icrc1_balance_of", "icrc1_fee"}
	for i, arg := range [][]byte{
		encode(createType, candid.Fields{"amount": 2 * trillion, "creation_args": creation(subnet, bob)}),
		encode(withdrawType, candid.Fields{"amount": 1, "to": absent}),
		encode(depositArgs, candid.Fields{"to": of(bob)}),
		encode(transferType, candid.Fields{"to": sub(bob, 1), "amount": 5}),
		encode(accountType, of(bob)),
		candid.EncodeEmpty(),
	} {
		f.Add(uint8(i), arg) //nolint:gosec // small
	}
	f.Fuzz(func(t *testing.T, method uint8, arg []byte) {
		n := start(t)
		r := n.submit(alice, CyclesLedger, methods[int(method)%len(methods)], arg)
		spent := new(big.Int).Sub(big.NewInt(OpeningBalance), n.balance(of(alice)))
		if spent.Sign() < 0 {
			t.Errorf("%v cycles came out of nowhere", spent.Neg(spent))
		}
		if spent.Sign() > 0 {
			if r.Reject != nil {
				t.Fatalf("%v cycles spent for %v", spent, r.Reject)
			}
			wantOk(t, n.value(r))
		}
	})
}
