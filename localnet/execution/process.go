package execution

import (
	"fmt"
	"math/big"

	"github.com/icrelay/icrelay/candid"
	"github.com/icrelay/icrelay/localnet/wasm"
)

// process executes one message (interface specification, "Abstract behavior").
func (m *Machine) process(c *canister, msg *message) {
	m.use(c)
	switch msg.kind {
	case requestMessage:
		m.processRequest(c, msg)
	case responseMessage:
		m.processResponse(c, msg)
	case timerTask:
		m.processTask(c, exportTimer)
	case heartbeatTask:
		m.processTask(c, exportHeartbeat)
	case lowMemoryTask:
		m.processTask(c, exportLowMemory)
	}
}

func (m *Machine) processRequest(c *canister, msg *message) {
	refuse := func(r *Reject) { m.respond(msg.origin, &response{reject: r}, msg.cycles) }
	switch {
	case msg.expiry.passed(m.now.nanos()):
		refuse(msg.expiry.reject())
		return
	case c.status != StatusRunning:
		refuse(notRunning(c))
		return
	case c.code == nil:
		refuse(failure(c.id, errNoModule, 0))
		return
	case c.balance.isZero():
		refuse(outOfCycles(c))
		return
	case msg.origin.isCall && msg.caller != c.id && msg.cycles.big().Cmp(c.settings.minimumCallCycles) < 0:
		refuse(reject(icCallCycles, "Canister %s requires at least %v cycles with each call, %v were sent", c.id, c.settings.minimumCallCycles, msg.cycles))
		return
	}
	if msg.origin.done != nil {
		c.balance = c.balance.sub(cyclesOf(priceIngress + priceIngressByte*uint64(len(msg.arg)))) // #nosec G115 -- a length
	}
	kind := c.code.module.methods[msg.method]
	switch kind {
	case updateMethod:
		m.processUpdate(c, msg)
	case queryMethod:
		m.processReplicatedQuery(c, msg)
	case compositeMethod:
		refuse(reject(icCompositeReplicated, "Composite query cannot be called in replicated mode"))
	case noMethod:
		refuse(failure(c.id, methodNotFound("update", msg.method), 0))
	}
}

func (m *Machine) processUpdate(c *canister, msg *message) {
	ctx := m.newContext(c, msg)
	e := m.environment(c, modeUpdate)
	e.caller, e.method, e.arg, e.deadline = msg.caller, msg.method, msg.arg, msg.deadline
	m.runIn(c, ctx, e, c.code.module.entry(updateMethod, msg.method), nil)
}

func (m *Machine) newContext(c *canister, msg *message) *callContext {
	c.nextID++
	ctx := &callContext{
		id:        c.nextID,
		origin:    msg.origin,
		caller:    msg.caller,
		responded: !msg.origin.expectsResponse(),
		available: msg.cycles,
		deadline:  msg.deadline,
	}
	c.contexts[ctx.id] = ctx
	return ctx
}

// runIn executes an entry as part of a call context, keeps or drops what it
// did, and responds if the context has come to its end.
func (m *Machine) runIn(c *canister, ctx *callContext, e *env, entry wasm.Entry, cleanup *wasm.Entry) {
	code := c.code
	e.available, e.earlier = ctx.available, ctx.instructions
	e.mayRespond = !ctx.responded
	e.stable = newStable(code.stable, m.limits.StableBytes)
	e.enqueue = func(o *outgoing) error { return m.room(c, e, o) }

	n, err := m.invoke(code, entry, e, m.messageBudget())
	m.charge(c, ctx, n)
	if err == nil && e.mode == modeUpdate {
		err = memoryLimit(c, code)
	}
	if err == nil {
		m.keep(c, ctx, e, n)
		m.conclude(c, ctx, nil)
		return
	}
	m.rollback(code)
	m.logTrap(c, e, err)
	if cleanup != nil {
		if cerr := m.cleanUp(c, ctx, e, *cleanup); cerr != nil {
			err = &cleanupFailed{callback: err, cleanup: cerr}
		}
	}
	m.conclude(c, ctx, failure(c.id, err, m.limits.MessageInstructions))
}

// memoryLimit enforces the setting wasm_memory_limit on what main has become
// (interface specification, "IC method create_canister").
func memoryLimit(c *canister, code *installed) error {
	limit := c.settings.wasmMemoryLimit
	size := big.NewInt(int64(len(code.main.Memory())))
	if limit.Sign() == 0 || size.Cmp(limit) <= 0 || size.Int64() <= int64(code.image.Size()) {
		return nil
	}
	return &coded{icWasmMemoryLimit, fmt.Sprintf("Canister exceeded its current Wasm memory limit of %v bytes. The peak Wasm memory usage was %v bytes. "+
		"If the canister reaches 4GiB, then it may stop functioning and may become unrecoverable. "+
		"Please reach out to the canister owner to investigate the reason for the increased memory usage. "+
		"It might be necessary to move data from the Wasm memory to the stable memory. "+
		"If such high Wasm memory usage is expected and safe, then the developer can increase the Wasm memory limit in the canister settings.", limit, size),
		"Try checking the canister for a possible memory leak or modifying it to use more stable memory instead of Wasm memory. See documentation: " + docExecutionErrors + "wasm-memory-limit-exceeded"}
}

// watchMemory schedules the hook for low Wasm memory when what remains has
// fallen below the threshold; it runs once until memory is above it again
// (interface specification, "On Low Wasm Memory").
func (m *Machine) watchMemory(c *canister) {
	if c.code == nil || !c.code.module.system[exportLowMemory] || c.settings.wasmMemoryThreshold.Sign() == 0 {
		return
	}
	limit := c.settings.wasmMemoryLimit
	if limit.Sign() == 0 {
		limit = big.NewInt(4 << 30)
		if c.code.module.Info().Memory64 {
			limit = big.NewInt(6 << 30)
		}
	}
	remaining := new(big.Int).Sub(limit, big.NewInt(int64(c.code.image.Size())))
	low := remaining.Cmp(c.settings.wasmMemoryThreshold) < 0
	if low && !c.lowMemory {
		m.push(c, &message{kind: lowMemoryTask})
	}
	c.lowMemory = low
}

// cleanUp runs the cleanup callback of a call whose callback trapped.
func (m *Machine) cleanUp(c *canister, ctx *callContext, after *env, entry wasm.Entry) error {
	e := m.environment(c, modeCleanup)
	e.caller, e.rejectCode, e.time, e.earlier = after.caller, after.rejectCode, after.time, ctx.instructions
	e.stable = newStable(c.code.stable, m.limits.StableBytes)
	n, err := m.invoke(c.code, entry, e, m.messageBudget())
	m.charge(c, ctx, n)
	if err != nil {
		m.rollback(c.code)
		m.logTrap(c, e, err)
		return err
	}
	m.keep(c, ctx, e, n)
	return nil
}

// charge takes the price of an execution off the balance, whatever came of it.
func (m *Machine) charge(c *canister, ctx *callContext, instructions uint64) {
	ctx.instructions += instructions
	c.balance = c.balance.sub(priceOfExecution(instructions))
}

// keep commits what an execution did.
func (m *Machine) keep(c *canister, ctx *callContext, e *env, instructions uint64) {
	m.commit(c.code, e)
	e.discardPending()
	c.version++
	// The fee has been taken since the execution saw the balance.
	c.balance = e.balance.sub(priceOfExecution(instructions))
	ctx.available = e.available
	m.setTimer(c, e)
	m.watchMemory(c)
	for _, o := range e.calls {
		m.send(c, ctx, o)
	}
	if e.response != nil {
		ctx.responded = true
		refund := ctx.available
		ctx.available = cycles{}
		m.respond(ctx.origin, e.response, refund)
	}
}

// conclude removes a call context that waits for nothing more. One that never
// responded does so now, with the failure of its last execution if there is one.
func (m *Machine) conclude(c *canister, ctx *callContext, failed *Reject) {
	if ctx.outstanding > 0 {
		return
	}
	delete(c.contexts, ctx.id)
	if !ctx.responded && !ctx.deleted {
		if failed == nil {
			failed = reject(icDidNotReply, "Error from Canister %s: Canister did not produce a response", c.id)
		}
		m.respond(ctx.origin, &response{reject: failed}, ctx.available)
	}
	m.checkStopped(c)
}

// processReplicatedQuery runs a query method for an update or inter-canister
// call: the state it leaves behind is dropped.
func (m *Machine) processReplicatedQuery(c *canister, msg *message) {
	e := m.environment(c, modeReplicatedQuery)
	e.caller, e.method, e.arg = msg.caller, msg.method, msg.arg
	e.available, e.mayRespond = msg.cycles, true
	e.stable = newStable(c.code.stable, m.limits.StableBytes)
	n, err := m.invoke(c.code, c.code.module.entry(queryMethod, msg.method), e, m.messageBudget())
	m.rollback(c.code)
	c.balance = c.balance.sub(priceOfExecution(n))
	switch {
	case err != nil:
		m.logTrap(c, e, err)
		m.respond(msg.origin, &response{reject: failure(c.id, err, m.limits.MessageInstructions)}, msg.cycles)
	case e.response == nil:
		m.respond(msg.origin, &response{reject: reject(icDidNotReply, "Error from Canister %s: Canister did not produce a response", c.id)}, msg.cycles)
	default:
		c.balance = c.balance.add(e.accepted).sub(e.burned)
		c.version++
		m.respond(msg.origin, e.response, e.available)
	}
}

// processTask runs a heartbeat or the global timer: calls without a caller.
func (m *Machine) processTask(c *canister, export string) {
	if c.status != StatusRunning || c.code == nil || !c.code.module.system[export] || c.balance.isZero() {
		return
	}
	ctx := m.newContext(c, &message{})
	e := m.environment(c, modeTask)
	e.caller = candid.ManagementCanister
	m.runIn(c, ctx, e, wasm.Entry{Export: export}, nil)
}

// processResponse runs the callback for a response.
func (m *Machine) processResponse(c *canister, msg *message) {
	cb := c.callbacks[msg.callback]
	if cb == nil {
		return // a best-effort call that has timed out: what came back with it is lost
	}
	delete(c.callbacks, msg.callback)
	if cb.deadline != 0 {
		m.bounded--
	}
	if c.underWay[cb.call.callee]--; c.underWay[cb.call.callee] <= 0 {
		delete(c.underWay, cb.call.callee)
	}
	spent := cyclesOf(priceCallByte * uint64(len(msg.response.reply))) // #nosec G115 -- a length
	c.balance = c.balance.add(cb.reserved.sub(spent)).add(msg.refund)

	ctx := c.contexts[cb.context]
	ctx.outstanding--
	if ctx.deleted || c.code == nil {
		m.conclude(c, ctx, nil)
		return
	}
	e := m.environment(c, modeReply)
	e.caller, e.deadline, e.refunded = ctx.caller, ctx.deadline, msg.refund
	entry := wasm.Entry{Callback: true, Index: cb.call.reply.fn, Arg: cb.call.reply.env}
	if r := msg.response.reject; r != nil {
		e.mode, e.rejectCode, e.rejectText = modeReject, r.Code, r.interCanister()
		entry.Index, entry.Arg = cb.call.reject.fn, cb.call.reject.env
	} else {
		e.arg = msg.response.reply
	}
	var cleanup *wasm.Entry
	if f := cb.call.cleanup; f != nil {
		cleanup = &wasm.Entry{Callback: true, Index: f.fn, Arg: f.env}
	}
	m.runIn(c, ctx, e, entry, cleanup)
}

// logTrap tells the log, and the canister's own, what nobody else may hear.
func (m *Machine) logTrap(c *canister, e *env, err error) {
	code, what, _ := explain(err, m.limits.MessageInstructions)
	m.log.Info("canister trapped", "canister", c.id.String(), "in", e.mode.String(), "method", e.method, "code", code, "error", what)
	c.logs.add(e.time, []byte("["+what+"]"), m.logLimit(c))
}
