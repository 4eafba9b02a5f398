package execution

import (
	"container/heap"
	"slices"
	"time"

	"github.com/icrelay/icrelay/candid"
)

// Nothing here polls: the owner goroutine sleeps until the earliest of the
// global timers, heartbeats, deadlines of best-effort calls, and the moment to
// free idle instances.

// setTimer takes over what ic0.global_timer_set did.
func (m *Machine) setTimer(c *canister, e *env) {
	if e.timerSet {
		c.timer = e.timer
	}
	m.watchTimer(c)
}

// watchTimer keeps the list of canisters whose timer can go off.
func (m *Machine) watchTimer(c *canister) {
	if c.timer != 0 && c.status == StatusRunning && c.code != nil && c.code.module.system[exportTimer] {
		m.timers[c.id] = c
	} else {
		delete(m.timers, c.id)
	}
}

// watchHeartbeat keeps the list of canisters that have one.
func (m *Machine) watchHeartbeat(c *canister) {
	if c.status == StatusRunning && c.code != nil && c.code.module.system[exportHeartbeat] {
		if m.beating[c.id] == nil {
			c.beat = time.Unix(0, int64(m.now.nanos())).Add(m.limits.HeartbeatEvery) // #nosec G115 -- before 2262
		}
		m.beating[c.id] = c
	} else {
		delete(m.beating, c.id)
	}
}

// due queues the tasks whose time has come.
func (m *Machine) due() {
	if len(m.timers) == 0 && len(m.alarms) == 0 && len(m.beating) == 0 && len(m.deadlines) == 0 {
		return
	}
	now := m.now.nanos()
	m.ring(now)
	for _, c := range sortedByID(m.timers) {
		if c.timer <= now {
			// Deactivated once scheduled (interface specification, "Global timer").
			c.timer = 0
			delete(m.timers, c.id)
			m.push(c, &message{kind: timerTask})
		}
	}
	for _, c := range sortedByID(m.beating) {
		if at := c.beat.UnixNano(); uint64(at) <= now { // #nosec G115 -- after 1970
			c.beat = time.Unix(0, int64(now)).Add(m.limits.HeartbeatEvery) // #nosec G115 -- before 2262
			m.push(c, &message{kind: heartbeatTask})
		}
	}
	for len(m.deadlines) > 0 && m.deadlines[0].at <= now {
		m.expire(heap.Pop(&m.deadlines).(deadline))
	}
}

// pause is how long the owner goroutine may sleep.
func (m *Machine) pause() time.Duration {
	const never = time.Hour
	next := ^uint64(0)
	for _, c := range m.timers {
		next = min(next, c.timer)
	}
	for _, at := range m.alarms {
		next = min(next, at)
	}
	for _, c := range m.beating {
		next = min(next, uint64(c.beat.UnixNano())) // #nosec G115 -- after 1970
	}
	if len(m.deadlines) > 0 {
		next = min(next, m.deadlines[0].at)
	}
	d := never
	if now := m.now.nanos(); next <= now {
		d = 0
	} else if ns := next - now; ns < uint64(never) {
		d = time.Duration(ns) // #nosec G115 -- less than an hour
	}
	return min(d, m.freeIdle())
}

// use notes that a canister has work, which may give it instances.
func (m *Machine) use(c *canister) {
	c.used = m.opts.Now()
	if m.idleCheck.IsZero() {
		m.idleCheck = c.used.Add(m.limits.IdleAfter)
		m.signal()
	}
}

// freeIdle closes the instances of canisters that nobody has used for a while;
// their state stays in the image. It returns when to look again.
func (m *Machine) freeIdle() time.Duration {
	const never = time.Hour
	if m.idleCheck.IsZero() {
		return never
	}
	now := m.opts.Now()
	if wait := m.idleCheck.Sub(now); wait > 0 {
		return wait
	}
	next := never
	for _, c := range m.canisters {
		if c.code == nil || !c.code.hasInstances() {
			continue
		}
		if idle := now.Sub(c.used); idle >= m.limits.IdleAfter {
			c.code.dropMain()
			c.code.trim()
		} else {
			next = min(next, m.limits.IdleAfter-idle)
		}
	}
	m.idleCheck = time.Time{}
	if next < never {
		m.idleCheck = now.Add(next)
	}
	return next
}

// Tick makes the machine look at its clock again. It is for tests that bring
// their own clock: a machine with the wall clock wakes up by itself.
func (m *Machine) Tick() { m.signal() }

func sortedByID(set map[candid.Principal]*canister) []*canister {
	if len(set) == 0 {
		return nil
	}
	out := make([]*canister, 0, len(set))
	for _, c := range set {
		out = append(out, c)
	}
	sortCanisters(out)
	return out
}

// deadline is the end of the wait for a best-effort response.
type deadline struct {
	at       uint64
	canister candid.Principal
	callback uint64
}

// deadlines is a heap. Those whose response has come stay in it until their time.
type deadlines []deadline

func (d deadlines) Len() int           { return len(d) }
func (d deadlines) Less(i, j int) bool { return d[i].at < d[j].at }
func (d deadlines) Swap(i, j int)      { d[i], d[j] = d[j], d[i] }

// Push implements heap.Interface.
func (d *deadlines) Push(x any) { *d = append(*d, x.(deadline)) }

// Pop implements heap.Interface.
func (d *deadlines) Pop() any {
	old := *d
	x := old[len(old)-1]
	*d = old[:len(old)-1]
	return x
}

// watchDeadline adds a deadline. Those whose response has come are dropped once
// they are most of the heap.
func (m *Machine) watchDeadline(d deadline) {
	const small = 4096
	if len(m.deadlines) >= max(small, 2*m.bounded) {
		m.deadlines = slices.DeleteFunc(m.deadlines, func(d deadline) bool {
			c := m.canisters[d.canister]
			return c == nil || c.callbacks[d.callback] == nil
		})
		heap.Init(&m.deadlines)
	}
	m.bounded++
	heap.Push(&m.deadlines, d)
}

// expire answers a best-effort call whose response has not come in time.
func (m *Machine) expire(d deadline) {
	c := m.canisters[d.canister]
	if c == nil {
		return
	}
	cb := c.callbacks[d.callback]
	if cb == nil || cb.deadline == 0 {
		return
	}
	m.bounded--
	cb.deadline = 0 // the response under way, if any, comes too late
	m.push(c, &message{
		kind:     responseMessage,
		callback: d.callback,
		response: &response{reject: reject(icDeadlineExpired, "Call has timed out.")},
	})
}
