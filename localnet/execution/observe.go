package execution

import (
	"github.com/icrelay/icrelay/candid"
	"github.com/icrelay/icrelay/localnet/wasm"
)

// Execution is one execution of canister code: what the Internet Computer
// charges for as one message. Of an update that makes a call and waits for it
// there are two in its canister, the method and the callback.
type Execution struct {
	Canister candid.Principal
	// Kind says what ran: "update", "reply callback", "reject callback",
	// "cleanup", "system task", "replicated query", "non replicated query",
	// "composite query", "inspect message", "init", "pre upgrade".
	Kind   string
	Caller candid.Principal
	Method string // of updates and queries
	// Instructions are what performance_counter(0) says at the end of it (package
	// wasm tells how they are counted).
	Instructions uint64
	// DirtyPages is the number of pages of 4096 bytes of the memory that it wrote
	// to. The Internet Computer charges 1,000 instructions for each, which
	// performance_counter does not see. 0 with a 32-bit memory: nobody counts there.
	DirtyPages int
	Argument   int // bytes of the argument, or of the reply that the callback got
	Reply      int // bytes
	Calls      []SentCall
	Err        error // why it came to nothing, nil if it returned
}

// SentCall is a call that an execution made.
type SentCall struct {
	Callee   candid.Principal
	Method   string
	Argument int // bytes
}

// observe tells Options.OnExecution. No lock is held.
func (m *Machine) observe(e *env, inst wasm.Instance, instructions uint64, err error) {
	if m.opts.OnExecution == nil {
		return
	}
	x := Execution{
		Canister:     e.self,
		Kind:         e.mode.String(),
		Caller:       e.caller,
		Method:       e.method,
		Instructions: instructions,
		DirtyPages:   wasm.DirtyPages(inst),
		Argument:     len(e.arg),
		Err:          err,
	}
	if err == nil {
		if e.response != nil {
			x.Reply = len(e.response.reply)
		}
		for _, o := range e.calls {
			x.Calls = append(x.Calls, SentCall{Callee: o.callee, Method: o.method, Argument: len(o.arg)})
		}
	}
	m.opts.OnExecution(x)
}
