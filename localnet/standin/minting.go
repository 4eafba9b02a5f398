package standin

import (
	_ "embed" // for the interface
	"slices"

	"github.com/icrelay/icrelay/candid"
	"github.com/icrelay/icrelay/localnet/execution"
)

//go:embed minting.did
var mintingInterface string

var (
	typesToSubnets = candid.RecordOf(field("data", candid.VecOf(candid.TupleOf(candid.TextType, candid.VecOf(candid.PrincipalType)))))
	refunded       = candid.RecordOf(field("refund_amount", candid.NatType), field("create_error", candid.TextType))
)

// minting stands in for the cycles minting canister.
type minting struct{ subnets []candid.Principal }

func newMinting(subnets []candid.Principal) *execution.Native {
	m := &minting{subnets}
	return &execution.Native{
		Interface: mintingInterface,
		Methods: map[string]execution.NativeMethod{
			"get_default_subnets":         constant(candid.VecOf(candid.PrincipalType), subnets[:1]),
			"get_subnet_types_to_subnets": constant(typesToSubnets, candid.Fields{"data": []any{}}),
			"create_canister":             {Run: m.createCanister},
		},
	}
}

func (m *minting) createCanister(call *execution.NativeCall) ([]byte, *execution.Reject) {
	amount := call.Attached()
	id, refusal := create(call, m.subnets, call.Arg(0), amount)
	if refusal != "" {
		return failed("Refunded", refunded, candid.Fields{"refund_amount": amount, "create_error": refusal}), nil
	}
	call.Accept()
	return done(candid.PrincipalType, id), nil
}

// create makes a canister on the one subnet, which has these ids. args has the fields
// subnet_selection and settings. A refusal is a text for people.
func create(call *execution.NativeCall, subnets []candid.Principal, args candid.Value, amount amount) (id candid.Principal, refusal string) {
	if selection, ok := args.Field("subnet_selection").Opt(); ok {
		if wanted, ok := selection.Tag("Subnet"); ok {
			if id, ok := wanted.Field("subnet").Principal(); ok && !slices.Contains(subnets, id) {
				return "", "Subnet " + id.String() + " does not exist"
			}
		}
	}
	id, rej := call.CreateCanister(args, amount)
	if rej != nil {
		return "", rej.Text
	}
	return id, ""
}
