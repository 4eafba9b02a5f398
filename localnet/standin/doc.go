// Package standin has small stand-ins for canisters of the Internet Computer
// that developers' tools call before they do what they were asked for: icp, for
// one, creates a canister by asking the cycles minting canister for subnets and
// the cycles ledger for a canister, and tops up through the ledger.
//
// They are written in Go, live at the ids that they have on the Internet
// Computer, and offer what those tools call and nothing more: a method that is
// missing here is rejected as one that the canister does not have. There is no
// ICP, no rate of exchange and no list of blocks, and there are no archives.
//
// Money is not real: every principal has [OpeningBalance] cycles at the ledger
// from the start. What is spent of it is accounted for, so that a program meets
// "insufficient funds" where it would on the Internet Computer.
//
// The stand-ins have no goroutines. The machine runs their calls one at a time,
// which is all the locking they need.
package standin

import (
	"github.com/icrelay/icrelay/candid"
	"github.com/icrelay/icrelay/localnet/execution"
)

// The ids of the canisters, on the Internet Computer and here.
const (
	CyclesMintingCanister = candid.Principal("\x00\x00\x00\x00\x00\x00\x00\x04\x01\x01") // rkp4c-7iaaa-aaaaa-aaaca-cai
	CyclesLedger          = candid.Principal("\x00\x00\x00\x00\x02\x10\x00\x02\x01\x01") // um5iw-rqaaa-aaaaq-qaaba-cai
)

// Canisters returns new stand-ins for a network of one subnet, whose id is given
// with other ids that it is also known by.
func Canisters(subnet candid.Principal, aliases ...candid.Principal) map[candid.Principal]*execution.Native {
	subnets := append([]candid.Principal{subnet}, aliases...)
	return map[candid.Principal]*execution.Native{
		CyclesMintingCanister: newMinting(subnets),
		CyclesLedger:          newLedger(subnets),
	}
}
