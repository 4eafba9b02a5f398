package execution

import (
	"errors"

	"github.com/icrelay/icrelay/candid"
)

var errNoRoom = errors.New("no room for another call")

// room is asked by ic0.call_perform whether one more call fits. If it does, its
// price and what is set aside for its response come off the balance.
func (m *Machine) room(c *canister, e *env, o *outgoing) error {
	same, bytes := 0, len(o.arg)
	for _, other := range e.calls {
		bytes += len(other.arg)
		if other.callee == o.callee {
			same++
		}
	}
	m.mu.Lock()
	full := c.underWay[o.callee]+same >= m.limits.CallQueue ||
		len(c.callbacks)+len(e.calls) >= m.limits.Callbacks ||
		m.calling+bytes > m.limits.CallBytes
	m.mu.Unlock()
	if full {
		return errNoRoom
	}
	price := priceOf(uint64(len(o.method) + len(o.arg))) // #nosec G115 -- a length
	if e.balance.less(price) {
		return errNoRoom
	}
	e.balance = e.balance.sub(price)
	return nil
}

// send delivers a call that the canister has performed. Calls of one canister
// to another arrive in the order performed (interface specification, "Ordering guarantees").
func (m *Machine) send(c *canister, ctx *callContext, o *outgoing) {
	c.nextID++
	id := c.nextID
	cb := &callback{context: ctx.id, call: o, reserved: cyclesOf(priceResponse)}
	if o.bounded {
		cb.deadline = m.now.nanos() + uint64(o.timeout)*1e9
		m.watchDeadline(deadline{cb.deadline, c.id, id})
	}
	c.callbacks[id] = cb
	c.underWay[o.callee]++
	ctx.outstanding++
	msg := &message{
		kind:     requestMessage,
		origin:   origin{canister: c.id, callback: id, isCall: true},
		caller:   c.id,
		method:   o.method,
		arg:      o.arg,
		cycles:   o.cycles,
		deadline: cb.deadline,
	}
	o.arg = nil
	callee, native := m.canisters[o.callee], m.native(o.callee)
	switch {
	case o.callee == candid.ManagementCanister:
		m.callManagement(c, msg)
	case native != nil:
		m.callNative(native, msg)
	case callee == nil:
		m.respond(msg.origin, &response{reject: canisterNotFound(o.callee)}, o.cycles)
	default:
		m.push(callee, msg)
	}
}

// respond takes a response to whoever waits for it.
func (m *Machine) respond(to origin, r *response, refund cycles) {
	switch {
	case to.done != nil:
		m.later(func() { to.done(r.result()) })
	case to.isCall:
		c := m.canisters[to.canister]
		if c == nil {
			return // deleted meanwhile
		}
		m.push(c, &message{kind: responseMessage, callback: to.callback, response: r, refund: refund})
	}
}
