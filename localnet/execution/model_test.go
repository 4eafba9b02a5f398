package execution

import (
	"context"
	"encoding/binary"
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"github.com/icrelay/icrelay/candid"
)

// scripted is a canister that does what its messages tell it to: the argument of
// "run" is a program, and so are the environments of callbacks. Its state is one
// number that remembers the order of everything that was kept.
const scripted = `
	import ic0 msg_arg_data_size () (i32)
	import ic0 msg_arg_data_copy (i32 i32 i32) ()
	import ic0 msg_reply_data_append (i32 i32) ()
	import ic0 msg_reply () ()
	import ic0 msg_reject (i32 i32) ()
	import ic0 call_new (i32 i32 i32 i32 i32 i32 i32 i32) ()
	import ic0 call_on_cleanup (i32 i32) ()
	import ic0 call_data_append (i32 i32) ()
	import ic0 call_perform () (i32)
	memory 20
	data 100 "\x00\x00\x00\x00\x00\x00\x00\x00\x01\x01run"
	table 1
	elem 0 $exec
	global $heap i32 mut 1000

	func $exec (i32) ()
	  locals i32 i32 i32 i32 i32
	  loop
	    local.get 0
	    i32.load8_u
	    local.set 1
	    local.get 0
	    i32.const 1
	    i32.add
	    local.set 0
	    local.get 1
	    i32.eqz
	    if
	      return
	    end
	    local.get 1
	    i32.const 1
	    i32.eq
	    if ; remember a number
	      i32.const 0
	      i32.const 0
	      i32.load
	      i32.const 31
	      i32.mul
	      local.get 0
	      i32.load8_u
	      i32.add
	      i32.store
	      local.get 0
	      i32.const 1
	      i32.add
	      local.set 0
	    end
	    local.get 1
	    i32.const 2
	    i32.eq
	    if
	      unreachable
	    end
	    local.get 1
	    i32.const 3
	    i32.eq
	    if
	      i32.const 0
	      i32.const 4
	      call $msg_reply_data_append
	      call $msg_reply
	    end
	    local.get 1
	    i32.const 4
	    i32.eq
	    if
	      i32.const 110
	      i32.const 3
	      call $msg_reject
	    end
	    local.get 1
	    i32.const 5
	    i32.eq
	    if ; call: target, then four programs with their lengths
	      i32.const 107
	      local.get 0
	      i32.load8_u
	      i32.store8
	      local.get 0
	      i32.const 1
	      i32.add
	      local.tee 2 ; the length of the callee's program
	      i32.load16_u
	      local.get 2
	      i32.add
	      i32.const 2
	      i32.add
	      local.tee 3 ; of the reply callback's
	      i32.load16_u
	      local.get 3
	      i32.add
	      i32.const 2
	      i32.add
	      local.tee 4 ; of the reject callback's
	      i32.load16_u
	      local.get 4
	      i32.add
	      i32.const 2
	      i32.add
	      local.tee 5 ; of the cleanup's
	      i32.load16_u
	      local.get 5
	      i32.add
	      i32.const 2
	      i32.add
	      local.set 0
	      i32.const 100
	      i32.const 10
	      i32.const 110
	      i32.const 3
	      i32.const 0
	      local.get 3
	      i32.const 2
	      i32.add
	      i32.const 0
	      local.get 4
	      i32.const 2
	      i32.add
	      call $call_new
	      i32.const 0
	      local.get 5
	      i32.const 2
	      i32.add
	      call $call_on_cleanup
	      local.get 2
	      i32.const 2
	      i32.add
	      local.get 2
	      i32.load16_u
	      call $call_data_append
	      call $call_perform
	      drop
	    end
	    br 0
	  end
	end

	func $run () ()
	  locals i32
	  global.get $heap
	  local.tee 0
	  i32.const 0
	  call $msg_arg_data_size
	  call $msg_arg_data_copy
	  local.get 0
	  call $msg_arg_data_size
	  i32.add
	  global.set $heap
	  local.get 0
	  call $exec
	end

	func $state () ()
	  i32.const 0
	  i32.const 4
	  call $msg_reply_data_append
	  call $msg_reply
	end
	export $run "canister_update run"
	export $state "canister_query state"`

// step is one instruction of a program.
type step struct {
	op                             byte // 1 remember, 2 trap, 3 reply, 4 reject, 5 call
	n                              byte // the number, or the target
	callee, reply, reject, cleanup []step
}

func compileSteps(p []step) []byte {
	var out []byte
	for _, s := range p {
		out = append(out, s.op)
		switch s.op {
		case 1:
			out = append(out, s.n)
		case 5:
			out = append(out, s.n)
			for _, q := range [][]step{s.callee, s.reply, s.reject, s.cleanup} {
				b := compileSteps(q)
				out = binary.LittleEndian.AppendUint16(out, uint16(len(b)))
				out = append(out, b...)
			}
		}
	}
	return append(out, 0)
}

func drawProgram(t *rapid.T, depth int, cleanup bool) []step {
	n := rapid.IntRange(0, 4).Draw(t, "length")
	var p []step
	for range n {
		op := rapid.SampledFrom([]byte{1, 1, 1, 2, 3, 3, 4, 5, 5, 5}).Draw(t, "op")
		if op == 5 && depth == 0 || cleanup && op > 2 {
			op = 1
		}
		s := step{op: op, n: rapid.ByteRange(1, 200).Draw(t, "n")}
		if op == 5 {
			s.n = rapid.ByteRange(0, 2).Draw(t, "target")
			s.callee = drawProgram(t, depth-1, false)
			s.reply = drawProgram(t, depth-1, false)
			s.reject = drawProgram(t, depth-1, false)
			s.cleanup = drawProgram(t, 0, true)
		}
		p = append(p, s)
	}
	return p
}

// The model: the rules of the interface specification for messages, with the
// machine's order of execution (canisters take turns, each in order of arrival).
type modelMessage struct {
	program  []step
	cleanup  []step
	context  *modelContext // nil: a new call
	caller   *modelCall    // of a new call
	callback bool
}

type modelContext struct {
	canister    int
	caller      *modelCall
	responded   bool
	outstanding int
}

// modelCall is a call that waits for its response; nil is the call from outside.
type modelCall struct {
	context *modelContext
	step    step
}

type model struct {
	state  [3]uint32
	queues [3][]modelMessage
	ready  []int
	answer string
}

func (m *model) push(canister int, msg modelMessage) {
	m.queues[canister] = append(m.queues[canister], msg)
	for _, c := range m.ready {
		if c == canister {
			return
		}
	}
	m.ready = append(m.ready, canister)
}

func (m *model) respond(call *modelCall, kind string) {
	if call == nil {
		m.answer = kind
		return
	}
	program := call.step.reject
	if kind == "reply" {
		program = call.step.reply
	}
	m.push(call.context.canister, modelMessage{program: program, cleanup: call.step.cleanup, context: call.context, callback: true})
}

func (m *model) run() {
	for len(m.ready) > 0 {
		c := m.ready[0]
		m.ready = m.ready[1:]
		msg := m.queues[c][0]
		m.queues[c] = m.queues[c][1:]
		if len(m.queues[c]) > 0 {
			m.ready = append(m.ready, c)
		}
		m.process(c, msg)
	}
}

func (m *model) process(c int, msg modelMessage) {
	ctx := msg.context
	if ctx == nil {
		ctx = &modelContext{canister: c, caller: msg.caller}
	} else {
		ctx.outstanding--
	}
	state, calls, response, ok := m.state[c], []step(nil), "", true
	for _, s := range msg.program {
		switch s.op {
		case 1:
			state = state*31 + uint32(s.n)
		case 2:
			ok = false
		case 3, 4:
			if ctx.responded || response != "" {
				ok = false
			}
			response = map[byte]string{3: "reply", 4: "reject"}[s.op]
		case 5:
			calls = append(calls, s)
		}
		if !ok {
			break
		}
	}
	if ok {
		m.state[c] = state
		for _, s := range calls {
			ctx.outstanding++
			m.push(int(s.n), modelMessage{program: s.callee, caller: &modelCall{context: ctx, step: s}})
		}
		if response != "" {
			ctx.responded = true
			m.respond(ctx.caller, response)
		}
	} else if msg.callback {
		state = m.state[c]
		for _, s := range msg.cleanup {
			if s.op == 2 {
				state = m.state[c]
				break
			}
			state = state*31 + uint32(s.n)
		}
		m.state[c] = state
	}
	if ctx.outstanding == 0 && !ctx.responded {
		ctx.responded = true
		m.respond(ctx.caller, "trap")
	}
}

// TestAgainstModel: for random programs of calls, traps, responses and cleanups
// between three canisters, the machine and the model agree on every state and on
// the answer.
func TestAgainstModel(t *testing.T) {
	m := newMachine(t, Options{})
	module := assemble(forWidth(scripted))
	var ids [3]candid.Principal
	for i := range ids {
		ids[i] = install(t, m, module, nil)
		if ids[i] != canisterID(uint64(i)) {
			t.Fatalf("canister %d is %v", i, ids[i])
		}
	}
	rapid.Check(t, func(rt *rapid.T) {
		for _, id := range ids {
			if err := m.Install(context.Background(), id, ModeReinstall, module, nil, user); err != nil {
				rt.Fatal(err)
			}
		}
		program := drawProgram(rt, 3, false)
		var want model
		want.push(0, modelMessage{program: program})
		want.run()

		r := submit(t, m, ids[0], "run", compileSteps(program))
		kind := "reply"
		if r.Reject != nil {
			kind = map[string]string{"IC0406": "reject"}[r.Reject.ErrorCode]
			if kind == "" {
				kind = "trap"
			}
		}
		if kind != want.answer {
			rt.Fatalf("answer %s (%+v), expected %s", kind, r.Reject, want.answer)
		}
		drain(t, m)
		for i, id := range ids {
			var got uint32
			if r := ask(t, m, id, "state", nil); r.Reject != nil {
				rt.Fatal(r.Reject)
			} else {
				got = binary.LittleEndian.Uint32(r.Reply)
			}
			if got != want.state[i] {
				rt.Fatalf("state of canister %d is %d, expected %d", i, got, want.state[i])
			}
		}
		m.mu.Lock()
		defer m.mu.Unlock()
		for i, id := range ids {
			if c := m.canisters[id]; len(c.contexts)+len(c.callbacks)+len(c.underWay) > 0 {
				rt.Fatal(fmt.Sprintf("canister %d has %d contexts, %d callbacks left", i, len(c.contexts), len(c.callbacks)))
			}
		}
	})
}

// drain waits until nothing is queued.
func drain(t testing.TB, m *Machine) {
	t.Helper()
	for busy := true; busy; {
		if err := m.do(context.Background(), func() { busy = len(m.ready) > 0 || len(m.commands) > 0 }); err != nil {
			t.Fatal(err)
		}
	}
}
