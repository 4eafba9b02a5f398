package execution

import (
	"context"
	"errors"
	"time"

	"github.com/icrelay/icrelay/candid"
	"github.com/icrelay/icrelay/localnet/wasm"
)

const (
	maxQueryDepth   = 8 // composite queries that call composite queries
	maxQueryRetries = 3 // before a query makes updates of its canister wait
)

// Query evaluates a query or composite query method on the committed state, and
// drops what it did to it. Queries run beside each other and beside updates.
// The context bounds the wait for a free place and the execution.
func (m *Machine) Query(ctx context.Context, sender, canister candid.Principal, method string, arg []byte) Result {
	if canister == candid.ManagementCanister {
		return m.queryManagement(sender, method, arg)
	}
	ctx, leave, rej := m.enterQuery(ctx)
	if rej != nil {
		return Result{Reject: rej}
	}
	defer leave()
	for attempt := 0; ; attempt++ {
		q := m.newQuery(ctx)
		q.hold = attempt >= maxQueryRetries
		r := q.evaluate(queryCall{caller: sender, callee: canister, method: method, arg: arg}, 0)
		if !q.stale || attempt == 2*maxQueryRetries {
			return r.result()
		}
	}
}

// inspect runs canister_inspect_message (interface specification, "Ingress message inspection").
func (m *Machine) inspect(in Ingress) *Reject {
	ctx, leave, rej := m.enterQuery(context.Background())
	if rej != nil {
		return rej
	}
	defer leave()
	return m.newQuery(ctx).inspect(in)
}

// enterQuery waits for a place. The query is to run under the context returned,
// which ends with the one given or with the machine, whichever is first.
func (m *Machine) enterQuery(ctx context.Context) (run context.Context, leave func(), rej *Reject) {
	closed := &Reject{Code: codeSysTransient, Text: ErrClosed.Error()}
	select {
	case m.slots <- struct{}{}:
	case <-ctx.Done():
		return nil, nil, reject(icQueryTime, "The query waited too long for its turn")
	case <-m.ctx.Done():
		return nil, nil, closed
	}
	if m.ctx.Err() != nil {
		<-m.slots
		return nil, nil, closed
	}
	run, cancel := context.WithCancel(ctx)
	detach := context.AfterFunc(m.ctx, cancel)
	return run, func() {
		detach()
		cancel()
		<-m.slots
	}, nil
}

// query is one query call with all the calls that it leads to.
type query struct {
	m        *Machine
	ctx      context.Context
	hold     bool       // keep the state of the queried canister as it is meanwhile
	held     *installed // and this is it
	stale    bool       // the state changed under it
	deadline time.Time
	spent    uint64 // instructions
}

func (m *Machine) newQuery(ctx context.Context) *query {
	return &query{m: m, ctx: ctx, deadline: time.Now().Add(m.limits.QueryTime)}
}

type queryCall struct {
	caller, callee candid.Principal
	method         string
	arg            []byte
}

// enter finds the code of a canister for a query. The caller owes a leave.
func (q *query) enter(id candid.Principal, md mode) (*installed, *env, *Reject) {
	m := q.m
	m.mu.Lock()
	defer m.mu.Unlock()
	c := m.canisters[id]
	switch {
	case c == nil:
		return nil, nil, canisterNotFound(id)
	case c.status != StatusRunning:
		return nil, nil, notRunning(c)
	case c.code == nil:
		return nil, nil, failure(id, errNoModule, 0)
	case c.balance.isZero():
		return nil, nil, reject(icOutOfCycles, "Canister %s is unable to process query calls because it's frozen. Please top up the canister with cycles and try again.", id)
	}
	e := m.environment(c, md)
	e.onPrint = nil
	e.maxReply = maxQueryResponse
	m.use(c)
	c.code.enter()
	return c.code, e, nil
}

func rejected(r *Reject) *response { return &response{reject: r} }

// evaluate runs one query method and what it calls.
func (q *query) evaluate(call queryCall, depth int) *response {
	if n := q.m.native(call.callee); n != nil {
		return q.m.queryNative(n, call, depth > 0)
	}
	code, e, rej := q.enter(call.callee, modeQuery)
	if rej != nil {
		return rejected(rej)
	}
	defer code.leave()
	kind := code.module.methods[call.method]
	limit := q.m.limits.QueryInstructions
	switch kind {
	case queryMethod:
	case compositeMethod:
		e.mode = modeComposite
		limit = q.m.limits.MessageInstructions
		if depth >= maxQueryDepth {
			return rejected(reject(icQueryTooDeep, "Composite query calls exceeded the maximum call depth %d", maxQueryDepth))
		}
		e.enqueue = func(*outgoing) error {
			if len(e.calls) >= q.m.limits.CallQueue {
				return errNoRoom
			}
			return nil
		}
	default:
		return rejected(failure(call.callee, methodNotFound("query", call.method), 0))
	}
	hold := holdShortly
	switch {
	case q.held == code:
		hold = holdAlready
	case q.hold && depth == 0:
		hold = holdLong
		q.held = code
	}
	snap, err := code.acquire(q.ctx, hold)
	if err != nil {
		return rejected(failure(call.callee, err, limit))
	}
	defer code.release(snap, hold, cap(q.m.slots)/2)
	e.caller, e.method, e.arg, e.mayRespond = call.caller, call.method, call.arg, true
	e.stable = newStable(snap.stable, q.m.limits.StableBytes)
	if f := q.m.opts.DataCertificate; f != nil && depth == 0 {
		e.certificate = func() []byte {
			cert, _ := f(call.callee)
			if code.isStale(snap, hold) {
				return nil
			}
			return cert
		}
	}
	if err := q.invoke(snap.instance, code.module.entry(kind, call.method), e, limit); err != nil {
		return rejected(failure(call.callee, err, limit))
	}
	if kind == compositeMethod {
		if err := q.followCalls(snap.instance, e, depth, limit); err != nil {
			return rejected(failure(call.callee, err, limit))
		}
	}
	if e.response == nil {
		return rejected(reject(icDidNotReply, "Error from Canister %s: Canister did not produce a response", call.callee))
	}
	return e.response
}

func (q *query) invoke(inst wasm.Instance, entry wasm.Entry, e *env, limit uint64) error {
	b := wasm.Budget{Instructions: limit, Deadline: q.deadline}
	if q.spent >= limit {
		return wasm.ErrInstructionLimit
	}
	b.Instructions -= q.spent
	n, err := inst.Invoke(q.ctx, entry, e, b)
	q.spent += n
	q.m.observe(e, inst, n, err)
	if errors.Is(err, errStale) {
		q.stale = true
	}
	return err
}

// followCalls makes the calls of a composite query, one after the other, and
// runs their callbacks on the state that the method left, until it has responded.
func (q *query) followCalls(inst wasm.Instance, e *env, depth int, limit uint64) error {
	var last error
	var state wasm.Image
	calls := e.calls
	for len(calls) > 0 && e.response == nil {
		state.Commit(inst)
		call := calls[0]
		calls = calls[1:]
		r := q.evaluate(queryCall{caller: e.self, callee: call.callee, method: call.method, arg: call.arg}, depth+1)
		cb := *e
		cb.mode, cb.certificate, cb.calls, cb.reply, cb.pending = modeCompositeReply, nil, nil, nil, nil
		cb.arg = r.reply
		cb.stable = newStable(e.stable.commit(), q.m.limits.StableBytes)
		entry := wasm.Entry{Callback: true, Index: call.reply.fn, Arg: call.reply.env}
		if r.reject != nil {
			cb.mode, cb.rejectCode, cb.rejectText = modeCompositeReject, r.reject.Code, r.reject.interCanister()
			entry.Index, entry.Arg = call.reject.fn, call.reject.env
		}
		err := q.invoke(inst, entry, &cb, limit)
		if err != nil {
			if _, rerr := state.Restore(inst); rerr != nil {
				return rerr
			}
			if call.cleanup != nil {
				if cerr := q.cleanUp(inst, e, *call.cleanup, &state, limit); cerr != nil {
					err = &cleanupFailed{callback: err, cleanup: cerr}
				}
			}
			last = err
			continue
		}
		last = nil
		e.stable, e.response = cb.stable, cb.response
		calls = append(calls, cb.calls...)
	}
	if e.response == nil && last != nil {
		return last
	}
	return nil
}

// cleanUp runs the cleanup callback of a composite query's call.
func (q *query) cleanUp(inst wasm.Instance, e *env, f closure, state *wasm.Image, limit uint64) error {
	cb := *e
	cb.mode, cb.certificate, cb.calls = modeCompositeClean, nil, nil
	cb.stable = newStable(e.stable.commit(), q.m.limits.StableBytes)
	if err := q.invoke(inst, wasm.Entry{Callback: true, Index: f.fn, Arg: f.env}, &cb, limit); err != nil {
		_, rerr := state.Restore(inst)
		return errors.Join(err, rerr)
	}
	e.stable = cb.stable
	return nil
}

// inspect asks canister_inspect_message.
func (q *query) inspect(in Ingress) *Reject {
	code, e, rej := q.enter(in.Canister, modeInspect)
	if rej != nil {
		return rej
	}
	defer code.leave()
	snap, err := code.acquire(q.ctx, holdShortly)
	if err != nil {
		return failure(in.Canister, err, 0)
	}
	defer code.release(snap, holdShortly, cap(q.m.slots)/2)
	e.caller, e.method, e.arg = in.Sender, in.Method, in.Arg
	e.stable = newStable(snap.stable, q.m.limits.StableBytes)
	limit := q.m.limits.QueryInstructions
	if err := q.invoke(snap.instance, wasm.Entry{Export: exportInspect}, e, limit); err != nil {
		return failure(in.Canister, err, limit)
	}
	if !e.admitted {
		return reject(icRejectedMessage, "Error from Canister %s: Canister rejected the message", in.Canister)
	}
	return nil
}
