package execution

// cyclesAPI: the canister's balance and the cycles of a call (interface specification, "Cycles").
var cyclesAPI = []systemFunction{
	{"canister_cycle_balance", "", "l", modeNoStart, func(e *env, s []uint64) error { return e.cycles64(s, e.balance) }},
	{"canister_cycle_balance128", "I", "", modeNoStart, func(e *env, s []uint64) error {
		return e.putCycles("canister_cycle_balance128", s[0], e.balance)
	}},
	// There is no freezing here, so the whole balance is liquid.
	{"canister_liquid_cycle_balance128", "I", "", modeNoStart, func(e *env, s []uint64) error {
		return e.putCycles("canister_liquid_cycle_balance128", s[0], e.balance)
	}},
	{"msg_cycles_available", "", "l", modeMessageCycles, func(e *env, s []uint64) error { return e.cycles64(s, e.stillAvailable()) }},
	{"msg_cycles_available128", "I", "", modeMessageCycles, func(e *env, s []uint64) error {
		return e.putCycles("msg_cycles_available128", s[0], e.stillAvailable())
	}},
	{"msg_cycles_refunded", "", "l", modeCallbacks, func(e *env, s []uint64) error { return e.cycles64(s, e.refunded) }},
	{"msg_cycles_refunded128", "I", "", modeCallbacks, func(e *env, s []uint64) error {
		return e.putCycles("msg_cycles_refunded128", s[0], e.refunded)
	}},
	{"msg_cycles_accept", "l", "l", modeMessageCycles, func(e *env, s []uint64) error {
		s[0] = e.accept(cyclesOf(s[0])).lo
		return nil
	}},
	{"msg_cycles_accept128", "llI", "", modeMessageCycles, func(e *env, s []uint64) error {
		return e.putCycles("msg_cycles_accept128", s[2], e.accept(cycles{s[0], s[1]}))
	}},
	{"cycles_burn128", "llI", "", modeInit | modePreUpgrade | modeUpdate | modeReplicatedQuery | modeCallbacks | modeCleanup | modeTask,
		func(e *env, s []uint64) error {
			burn := minCycles(cycles{s[0], s[1]}, e.balance)
			e.balance = e.balance.sub(burn)
			e.burned = e.burned.add(burn)
			return e.putCycles("cycles_burn128", s[2], burn)
		}},
	{"mint_cycles", "l", "l", modeUpdate | modeCallbacks | modeTask, func(e *env, _ []uint64) error { return e.cannotMint("mint_cycles") }},
	{"mint_cycles128", "llI", "", modeUpdate | modeCallbacks | modeTask, func(e *env, _ []uint64) error { return e.cannotMint("mint_cycles128") }},
}

const modeMessageCycles = modeUpdate | modeReplicatedQuery | modeCallbacks

// cyclesMintingCanister is the one canister that may mint, on mainnet.
const cyclesMintingCanister = "rkp4c-7iaaa-aaaaa-aaaca-cai"

func (e *env) cannotMint(name string) error {
	return violated("ic0.%s cannot be executed on non Cycles Minting Canister: %s != %s", name, e.self, cyclesMintingCanister)
}

func (e *env) cycles64(s []uint64, amount cycles) error {
	if amount.hi != 0 {
		return &trapped{"cycles amount exceeds 64-bit representation"}
	}
	s[0] = amount.lo
	return nil
}

// stillAvailable is zero once the call is responded to: the rest went back with the response.
func (e *env) stillAvailable() cycles {
	if !e.mayRespond || e.response != nil {
		return cycles{}
	}
	return e.available
}

func (e *env) accept(limit cycles) cycles {
	n := minCycles(limit, e.stillAvailable())
	e.available = e.available.sub(n)
	e.balance = e.balance.add(n)
	e.accepted = e.accepted.add(n)
	return n
}

// costAPI: what actions cost (interface specification, "Cycle cost calculation").
var costAPI = []systemFunction{
	{"cost_call", "llI", "", modeAll, func(e *env, s []uint64) error {
		return e.putCycles("cost_call", s[2], priceOf(s[0]+s[1]))
	}},
	{"cost_create_canister", "I", "", modeAll, func(e *env, s []uint64) error {
		return e.putCycles("cost_create_canister", s[0], cyclesOf(priceCreate))
	}},
	{"cost_http_request", "llI", "", modeAll, func(e *env, s []uint64) error {
		return e.putCycles("cost_http_request", s[2], cyclesOf(priceHTTPRequest))
	}},
	{"cost_sign_with_ecdsa", "IIiI", "i", modeAll, costOfKey("cost_sign_with_ecdsa", 1)},
	{"cost_sign_with_schnorr", "IIiI", "i", modeAll, costOfKey("cost_sign_with_schnorr", 2)},
	{"cost_vetkd_derive_key", "IIiI", "i", modeAll, costOfKey("cost_vetkd_derive_key", 1)},
}

// costOfKey answers with the price for the names of keys that a local network
// usually has, 1 for an unknown curve and 2 for an unknown key.
func costOfKey(name string, curves uint64) func(e *env, s []uint64) error {
	return func(e *env, s []uint64) error {
		key, err := e.bytesAt(name, s[0], s[1])
		if err != nil {
			return err
		}
		dst, err := e.writableAt(name, s[3], 16)
		if err != nil {
			return err
		}
		switch {
		case s[2] >= curves:
			s[0] = 1
		case string(key) != "key_1" && string(key) != "test_key_1" && string(key) != "dfx_test_key":
			s[0] = 2
		default:
			copy(dst, cyclesOf(priceSignature).bytes())
			s[0] = 0
		}
		return nil
	}
}
