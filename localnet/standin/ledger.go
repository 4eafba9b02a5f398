package standin

import (
	_ "embed" // for the interface
	"math/big"

	"github.com/icrelay/icrelay/candid"
	"github.com/icrelay/icrelay/localnet/execution"
)

//go:embed ledger.did
var ledgerInterface string

const (
	// OpeningBalance is what every principal has from the start, in its account
	// without a subaccount.
	OpeningBalance = 1_000_000_000_000_000_000 // 1,000,000 T
	// Fee is what a transfer, a withdrawal and a deposit cost, as on the Internet Computer.
	Fee = 100_000_000

	// maxAccounts bounds the accounts whose balance is kept.
	maxAccounts = 100_000
	// maxAmountBits bounds amounts and balances.
	maxAmountBits = 128
	subaccountLen = 32
)

var (
	balanceType = candid.RecordOf(field("balance", candid.NatType))
	genericType = candid.RecordOf(field("error_code", candid.NatType), field("message", candid.TextType))
	depositType = candid.RecordOf(field("block_index", candid.NatType), field("balance", candid.NatType))
	createdType = candid.RecordOf(field("block_id", candid.NatType), field("canister_id", candid.PrincipalType))
	notMade     = candid.RecordOf(field("fee_block", candid.OptOf(candid.NatType)), field("refund_block", candid.OptOf(candid.NatType)),
		field("error", candid.TextType))
	notDrawn = candid.RecordOf(field("fee_block", candid.OptOf(candid.NatType)),
		field("rejection_code", candid.VariantOf(field("DestinationInvalid", candid.NullType))), field("rejection_reason", candid.TextType))
)

// account is an ICRC-1 account. The zero subaccount is the one of an account without a subaccount.
type account struct {
	owner      candid.Principal
	subaccount [subaccountLen]byte
}

// ledger stands in for the cycles ledger. It does not look at created_at_time:
// every call is a transaction of its own.
type ledger struct {
	subnets  []candid.Principal
	balances map[account]amount // of the accounts that have been used
	blocks   uint64
}

func newLedger(subnets []candid.Principal) *execution.Native {
	l := &ledger{subnets: subnets, balances: make(map[account]amount)}
	return &execution.Native{
		Interface: ledgerInterface,
		Methods: map[string]execution.NativeMethod{
			"create_canister":  {Run: l.createCanister},
			"withdraw":         {Run: l.withdraw},
			"deposit":          {Run: l.deposit},
			"icrc1_transfer":   {Run: l.transfer},
			"icrc1_balance_of": {Query: true, Run: l.balanceOf},
			"icrc1_name":       constant(candid.TextType, "Trillion Cycles"),
			"icrc1_symbol":     constant(candid.TextType, "TCYCLES"),
			"icrc1_decimals":   constant(candid.Nat8Type, 12),
			"icrc1_fee":        constant(candid.NatType, Fee),
		},
	}
}

// balance returns what an account holds. It must not be changed in place.
func (l *ledger) balance(a account) amount {
	if b := l.balances[a]; b != nil {
		return b
	}
	if a.subaccount == [subaccountLen]byte{} {
		return big.NewInt(OpeningBalance)
	}
	return new(big.Int)
}

// room reports whether the balance of one more account can be kept. Taking
// money is always possible for an account that is kept already.
func (l *ledger) room(a account) bool { return l.balances[a] != nil || len(l.balances) < maxAccounts }

func (l *ledger) add(a account, n amount) { l.balances[a] = new(big.Int).Add(l.balance(a), n) }

// block counts a transaction and returns its number.
func (l *ledger) block() uint64 {
	l.blocks++
	return l.blocks - 1
}

// debit is a transaction that takes an amount and the fee from the caller.
type debit struct {
	from  account
	n     amount
	total amount // with the fee
}

// begin reads what all transactions have in common and looks whether the caller
// can pay. The reply, if there is one, is the refusal.
func (l *ledger) begin(call *execution.NativeCall) (d debit, refusal []byte, rej *execution.Reject) {
	arg := call.Arg(0)
	n, ok := arg.Field("amount").Big()
	from, ok2 := accountOf(call.Caller, arg.Field("from_subaccount"))
	if !ok || !ok2 || n.Sign() < 0 {
		return debit{}, nil, call.Trap("failed to decode call arguments")
	}
	d = debit{from, n, new(big.Int).Add(n, big.NewInt(Fee))}
	switch balance := l.balance(from); {
	case balance.Cmp(d.total) < 0:
		return d, failed("InsufficientFunds", balanceType, candid.Fields{"balance": balance}), nil
	case !l.room(from):
		return d, tooMany(), nil
	}
	return d, nil, nil
}

func (l *ledger) take(d debit) { l.add(d.from, new(big.Int).Neg(d.total)) }

func tooMany() []byte {
	return failed("GenericError", genericType, candid.Fields{"error_code": 0, "message": "This network's cycles ledger holds no more accounts."})
}

func (l *ledger) createCanister(call *execution.NativeCall) ([]byte, *execution.Reject) {
	d, refusal, rej := l.begin(call)
	if refusal != nil || rej != nil {
		return refusal, rej
	}
	args, _ := call.Arg(0).Field("creation_args").Opt()
	id, failure := create(call, l.subnets, args, d.n)
	if failure != "" {
		return failed("FailedToCreate", notMade, candid.Fields{"error": failure}), nil
	}
	l.take(d)
	return done(createdType, candid.Fields{"block_id": l.block(), "canister_id": id}), nil
}

func (l *ledger) withdraw(call *execution.NativeCall) ([]byte, *execution.Reject) {
	d, refusal, rej := l.begin(call)
	if refusal != nil || rej != nil {
		return refusal, rej
	}
	to, ok := call.Arg(0).Field("to").Principal()
	if !ok {
		return nil, call.Trap("failed to decode call arguments")
	}
	if len(to) == 0 || to.IsAnonymous() || to[len(to)-1] == selfAuthenticating {
		return failed("InvalidReceiver", candid.RecordOf(field("receiver", candid.PrincipalType)), candid.Fields{"receiver": to}), nil
	}
	if !call.AddCycles(to, d.n) {
		return failed("FailedToWithdraw", notDrawn, candid.Fields{
			"rejection_code": "DestinationInvalid", "rejection_reason": "Canister " + to.String() + " not found"}), nil
	}
	l.take(d)
	return done(candid.NatType, l.block()), nil
}

// selfAuthenticating is the last byte of the principals that stand for keys.
const selfAuthenticating = 2

func (l *ledger) deposit(call *execution.NativeCall) ([]byte, *execution.Reject) {
	to, ok := readAccount(call.Arg(0).Field("to"))
	if !ok {
		return nil, call.Trap("failed to decode call arguments")
	}
	n := call.Attached()
	switch {
	case n.Cmp(big.NewInt(Fee)) < 0:
		return nil, call.Trap("The requested amount %v to be deposited is less than the cycles ledger fee: %d", n, Fee)
	case !l.room(to):
		return nil, call.Trap("This network's cycles ledger holds no more accounts.")
	}
	l.add(to, n.Sub(call.Accept(), big.NewInt(Fee)))
	return encode(depositType, candid.Fields{"block_index": l.block(), "balance": l.balance(to)}), nil
}

func (l *ledger) transfer(call *execution.NativeCall) ([]byte, *execution.Reject) {
	if fee, ok := call.Arg(0).Field("fee").Opt(); ok {
		if n, ok := fee.Uint64(); !ok || n != Fee {
			return failed("BadFee", candid.RecordOf(field("expected_fee", candid.NatType)), candid.Fields{"expected_fee": Fee}), nil
		}
	}
	d, refusal, rej := l.begin(call)
	if refusal != nil || rej != nil {
		return refusal, rej
	}
	to, ok := readAccount(call.Arg(0).Field("to"))
	switch {
	case !ok:
		return nil, call.Trap("failed to decode call arguments")
	case !l.room(to), l.balances[d.from] == nil && l.balances[to] == nil && len(l.balances)+2 > maxAccounts:
		return tooMany(), nil
	case new(big.Int).Add(l.balance(to), d.n).BitLen() > maxAmountBits:
		return failed("GenericError", genericType, candid.Fields{"error_code": 0, "message": "The receiver's balance would be too large."}), nil
	}
	l.take(d)
	l.add(to, d.n)
	return done(candid.NatType, l.block()), nil
}

func (l *ledger) balanceOf(call *execution.NativeCall) ([]byte, *execution.Reject) {
	a, ok := readAccount(call.Arg(0))
	if !ok {
		return nil, call.Trap("failed to decode call arguments")
	}
	return encode(candid.NatType, l.balance(a)), nil
}

// readAccount reads record { owner : principal; subaccount : opt blob }.
func readAccount(v candid.Value) (account, bool) {
	owner, ok := v.Field("owner").Principal()
	if !ok {
		return account{}, false
	}
	return accountOf(owner, v.Field("subaccount"))
}

// accountOf is an owner's account with a subaccount of type opt blob.
func accountOf(owner candid.Principal, subaccount candid.Value) (account, bool) {
	a := account{owner: owner}
	v, given := subaccount.Opt()
	if !given {
		return a, true
	}
	b, ok := v.Blob()
	return a, ok && copy(a.subaccount[:], b) == subaccountLen && len(b) == subaccountLen
}
