package execution

import (
	"fmt"
	"unicode/utf8"
)

// maxTimeout is MAX_CALL_TIMEOUT in seconds (interface specification, "call_with_best_effort_response").
const maxTimeout = 300

// callAPI: calls of other canisters (interface specification, "Inter-canister method calls").
var callAPI = []systemFunction{
	{"call_new", "IIIIIIII", "", modeCalls, func(e *env, s []uint64) error {
		e.discardPending()
		callee, err := e.principalAt("call_new", s[0], s[1])
		if err != nil {
			return err
		}
		if s[3] > maxMethodName {
			return violated("Size of method_name %d exceeds the allowed limit of %d", s[3], maxMethodName)
		}
		name, err := e.bytesAt("call_new", s[2], s[3])
		if err != nil {
			return err
		}
		if !utf8.Valid(name) {
			return violated("ic0_call_new: the method name is not valid UTF-8")
		}
		e.concluded = false
		e.pending = &outgoing{
			callee: callee,
			method: string(name),
			reply:  closure{s[4], s[5]},
			reject: closure{s[6], s[7]},
		}
		return nil
	}},
	{"call_on_cleanup", "II", "", modeCalls, func(e *env, s []uint64) error {
		if err := e.checkPending("call_on_cleanup"); err != nil {
			return err
		}
		if e.pending.cleanup != nil {
			return violated("ic0.call_on_cleanup can be called at most once between `ic0.call_new` and `ic0.call_perform`")
		}
		e.pending.cleanup = &closure{s[0], s[1]}
		return nil
	}},
	{"call_data_append", "II", "", modeCalls, func(e *env, s []uint64) error {
		if err := e.checkPending("call_data_append"); err != nil {
			return err
		}
		b, err := e.sentAt("call_data_append", s[0], s[1])
		if err != nil {
			return err
		}
		if n := len(e.pending.arg) + len(b); n > maxCallBytes {
			return violated("Request to %s:%s has a payload size of %d, which exceeds the allowed limit of %d.", e.pending.callee, e.pending.method, n, maxCallBytes)
		}
		e.pending.arg = append(e.pending.arg, b...)
		return nil
	}},
	{"call_with_best_effort_response", "i", "", modeCalls, func(e *env, s []uint64) error {
		if err := e.checkPending("call_with_best_effort_response"); err != nil {
			return err
		}
		if e.pending.bounded {
			return violated("ic0_call_with_best_effort_response failed because a timeout is already set.")
		}
		e.pending.bounded = true
		e.pending.timeout = uint32(min(s[0], maxTimeout)) // #nosec G115 -- bounded here
		return nil
	}},
	{"call_cycles_add", "l", "", modeCallCycles, func(e *env, s []uint64) error {
		return e.addCycles("call_cycles_add", cyclesOf(s[0]))
	}},
	{"call_cycles_add128", "ll", "", modeCallCycles, func(e *env, s []uint64) error {
		return e.addCycles("call_cycles_add128", cycles{s[0], s[1]})
	}},
	{"call_perform", "", "i", modeCalls, func(e *env, s []uint64) error {
		if err := e.checkPending("call_perform"); err != nil {
			return err
		}
		o := e.pending
		e.pending, e.concluded = nil, true
		if err := e.enqueue(o); err != nil {
			e.balance = e.balance.add(o.cycles)
			s[0] = codeSysTransient
			return nil
		}
		e.calls = append(e.calls, o)
		s[0] = 0
		return nil
	}},
}

const modeCallCycles = modeUpdate | modeCallbacks | modeTask

func (e *env) checkPending(name string) error {
	if e.pending != nil {
		return nil
	}
	if e.concluded {
		return violated("ic0.%s called after `ic0.call_perform`: a call must be started with `ic0.call_new`", name)
	}
	return violated("ic0.%s called when no call is under construction.", name)
}

// discardPending gives up the call under construction; its cycles come back.
func (e *env) discardPending() {
	if e.pending != nil {
		e.balance = e.balance.add(e.pending.cycles)
		e.pending = nil
	}
}

func (e *env) addCycles(name string, amount cycles) error {
	if err := e.checkPending(name); err != nil {
		return err
	}
	if e.balance.less(amount) {
		return &coded{icContractViolation, fmt.Sprintf("Canister %s is out of cycles: please top up the canister with at least %v additional cycles", e.self, amount.sub(e.balance)), ""}
	}
	e.balance = e.balance.sub(amount)
	e.pending.cycles = e.pending.cycles.add(amount)
	return nil
}
