package execution

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/icrelay/icrelay/candid"
	"github.com/icrelay/icrelay/localnet/wasm"
)

// Machine runs canisters. Its methods may be called from any goroutine.
type Machine struct {
	opts   Options
	limits Limits
	log    *slog.Logger
	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	wake   chan struct{} // of capacity 1: there is something to do
	ended  chan struct{} // the owner goroutine has returned
	slots  chan struct{} // one for each query that may run
	helper sync.WaitGroup

	management map[string]managementMethod
	natives    atomic.Pointer[map[candid.Principal]*nativeCanister] // replaced under mu

	version atomic.Uint64
	now     clock

	mu        sync.Mutex
	closed    bool
	canisters map[candid.Principal]*canister
	nextID    uint64
	ready     []*canister // with something in their queue, in turn
	commands  []func()    // for the owner goroutine, before any message
	finished  []func()    // to call once mu is free
	changed   chan struct{}
	queued    int // bytes in the queues from outside
	calling   int // bytes in calls and responses
	timers    map[candid.Principal]*canister
	alarms    map[candid.Principal]uint64 // when the timers of natives go off
	beating   map[candid.Principal]*canister
	deadlines deadlines
	bounded   int       // best-effort calls under way
	managing  int       // management calls that wait
	idleCheck time.Time // when to look for idle instances, zero: there are none
}

// ErrClosed is the answer of a machine that is closed.
var ErrClosed = errors.New("the machine is closed")

// New returns a running machine. It owns one goroutine, which executes
// everything but queries, one message at a time; Close ends it.
func New(opts Options) *Machine {
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if opts.Subnet == "" {
		opts.Subnet = candid.SelfAuthenticating(opts.RootKey)
	}
	m := &Machine{
		opts:      opts,
		limits:    opts.Limits.withDefaults(),
		log:       opts.Log,
		wake:      make(chan struct{}, 1),
		ended:     make(chan struct{}),
		now:       clock{source: opts.Now},
		canisters: make(map[candid.Principal]*canister),
		changed:   make(chan struct{}),
		timers:    make(map[candid.Principal]*canister),
		alarms:    make(map[candid.Principal]uint64),
		beating:   make(map[candid.Principal]*canister),
	}
	m.management = managementMethods()
	m.natives.Store(&map[candid.Principal]*nativeCanister{})
	for id, n := range opts.Natives {
		m.addNative(id, n, nil)
	}
	m.slots = make(chan struct{}, m.limits.Queries)
	m.ctx, m.cancel = context.WithCancel(context.Background())
	go m.loop()
	return m
}

// Close ends the machine and waits for its goroutines and queries. What is
// queued is dropped; calls of done that are due have been made.
func (m *Machine) Close() error {
	m.mu.Lock()
	already := m.closed
	m.closed = true
	m.mu.Unlock()
	m.cancel()
	<-m.ended
	m.helper.Wait()
	for range cap(m.slots) { // every query has given its place back
		m.slots <- struct{}{}
	}
	defer func() {
		for range cap(m.slots) {
			<-m.slots
		}
	}()
	if already {
		return nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, c := range m.canisters {
		if c.code != nil {
			c.code.retire()
			c.code = nil
		}
	}
	return nil
}

// clock is the time that canisters see: it never goes back (interface
// specification, "System time").
type clock struct {
	source func() time.Time
	last   atomic.Int64
}

func (c *clock) nanos() uint64 {
	now := c.source().UnixNano()
	for {
		last := c.last.Load()
		if now <= last {
			return uint64(last) // #nosec G115 -- after 1970
		}
		if c.last.CompareAndSwap(last, now) {
			return uint64(now) // #nosec G115 -- after 1970
		}
	}
}

// loop is the owner goroutine.
func (m *Machine) loop() {
	defer close(m.ended)
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		m.mu.Lock()
		busy := !m.closed && m.step()
		finished := m.finished
		m.finished = nil
		closed := m.closed
		var pause time.Duration
		if !busy && !closed {
			pause = m.pause()
		}
		m.mu.Unlock()
		for _, f := range finished {
			f()
		}
		if closed {
			return
		}
		if busy {
			continue
		}
		timer.Reset(pause)
		select {
		case <-m.wake:
		case <-timer.C:
		case <-m.ctx.Done():
		}
	}
}

// step does one thing, and reports whether there was one. It is called with mu
// held, and gives it up while canister code runs.
func (m *Machine) step() bool {
	m.due()
	if len(m.commands) > 0 {
		f := m.commands[0]
		m.commands = m.commands[1:]
		f()
		return true
	}
	if len(m.ready) == 0 {
		m.commands = nil
		return false
	}
	c := m.ready[0]
	m.ready[0] = nil
	m.ready = m.ready[1:]
	c.scheduled = false
	if m.canisters[c.id] != c || c.queue.len() == 0 {
		return true
	}
	msg := c.queue.pop()
	if msg.origin.done != nil {
		c.ingress--
		m.queued -= msg.size()
	} else {
		m.calling -= msg.size()
	}
	m.schedule(c)
	m.process(c, msg)
	return true
}

// schedule gives c a turn if it has something to do.
func (m *Machine) schedule(c *canister) {
	if c.queue.len() > 0 && !c.scheduled {
		c.scheduled = true
		m.ready = append(m.ready, c)
	}
}

// push queues a message. The bounds have been looked at.
func (m *Machine) push(c *canister, msg *message) {
	if msg.origin.done != nil {
		c.ingress++
		m.queued += msg.size()
	} else {
		m.calling += msg.size()
	}
	c.queue.push(msg)
	m.schedule(c)
}

// signal wakes the owner goroutine.
func (m *Machine) signal() {
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

// later calls f once mu is free, on the owner goroutine.
func (m *Machine) later(f func()) { m.finished = append(m.finished, f) }

// do runs f on the owner goroutine, between messages, with mu held, and waits
// for it. It must not be called from there.
func (m *Machine) do(ctx context.Context, f func()) error {
	done := make(chan struct{})
	ran := false
	m.mu.Lock()
	if m.closed {
		m.mu.Unlock()
		return ErrClosed
	}
	m.commands = append(m.commands, func() {
		defer close(done)
		if ctx.Err() == nil {
			ran = true
			f()
		}
	})
	m.mu.Unlock()
	m.signal()
	select {
	case <-done:
		if !ran {
			return ctx.Err()
		}
		return nil
	case <-m.ended:
		return ErrClosed
	}
}

// touch counts a change of what Info or Canisters report.
func (m *Machine) touch() {
	m.version.Add(1)
	close(m.changed)
	m.changed = make(chan struct{})
}

// Version changes whenever something changes that Info or Canisters report. Who
// caches what they report reads Version first.
func (m *Machine) Version() uint64 { return m.version.Load() }

// Changed returns a channel that is closed at the next change of Version.
func (m *Machine) Changed() <-chan struct{} {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.changed
}

// Info tells what the state tree shows of a canister.
func (m *Machine) Info(id candid.Principal) (CanisterInfo, bool) {
	if n := m.native(id); n != nil {
		return n.current(), true
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	c := m.canisters[id]
	if c == nil {
		return CanisterInfo{}, false
	}
	info := CanisterInfo{ID: id, Status: c.status, Controllers: slices.Clone(c.controllers)}
	if c.code != nil {
		info.ModuleHash = c.code.module.hash
		info.CertifiedData = c.code.certifiedData()
		info.Metadata = c.code.module.metadata
	}
	return info, true
}

// Canisters lists the canisters in the order of their ids.
func (m *Machine) Canisters() []candid.Principal {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.ids()
}

func (m *Machine) ids() []candid.Principal {
	natives := *m.natives.Load()
	ids := make([]candid.Principal, 0, len(m.canisters)+len(natives))
	for id := range m.canisters {
		ids = append(ids, id)
	}
	for id := range natives {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}

// CreateCanister makes an empty, running canister with the default balance.
func (m *Machine) CreateCanister(controllers []candid.Principal) (candid.Principal, error) {
	var id candid.Principal
	var rej *Reject
	err := m.do(m.ctx, func() { id, rej = m.create(controllers, cyclesOf(m.limits.InitialCycles), "") })
	if err == nil && rej != nil {
		err = rej
	}
	return id, err
}

// create makes a canister, with the id wanted unless that is "".
func (m *Machine) create(controllers []candid.Principal, balance cycles, wanted candid.Principal) (candid.Principal, *Reject) {
	if len(m.canisters) >= m.limits.Canisters {
		return "", reject(icMaxCanisters, "Subnet %s has reached the allowed canister limit of %d canisters. Retry creating the canister.", m.opts.Subnet, m.limits.Canisters)
	}
	id := wanted
	switch {
	case id == "":
		for m.taken(canisterID(m.nextID)) {
			m.nextID++
		}
		id = canisterID(m.nextID)
		m.nextID++
	case !isCanisterID(id):
		return "", reject(icInvalidManagement, "The specified_id %s is not a canister id of this network", id)
	case m.taken(id):
		return "", reject(icCanisterExists, "Canister %s is already installed", id)
	}
	m.canisters[id] = newCanister(id, slices.Clone(controllers), balance)
	m.touch()
	return id, nil
}

// Install puts code into a canister, as the management canister's install_code
// does, but for anybody: sender is only what the canister sees as its caller.
// The module may be compressed with gzip. On an error the canister is as before;
// a *Reject says what a replica would.
func (m *Machine) Install(ctx context.Context, id candid.Principal, mode Mode, binary, arg []byte, sender candid.Principal) error {
	module, err := loadModule(ctx, binary)
	if err != nil {
		return failure(id, err, 0)
	}
	var rej *Reject
	taken := false
	err = m.do(ctx, func() {
		taken = true
		in := installation{id: id, mode: mode, module: module, arg: arg, sender: sender}
		if mode == ModeUpgrade {
			in.keepMemory = m.usualPersistence(id, module)
		}
		rej = m.install(in)
	})
	if !taken {
		module.Release()
	}
	if rej != nil {
		return rej
	}
	return err
}

// Start lets a stopped canister process messages again.
func (m *Machine) Start(ctx context.Context, id candid.Principal) error {
	return m.manage(ctx, id, func(c *canister) *Reject { m.start(c); return nil })
}

// Stop stops a canister and waits until it has no call under way.
func (m *Machine) Stop(ctx context.Context, id candid.Principal) error {
	stopped := make(chan Result, 1)
	if err := m.manage(ctx, id, func(c *canister) *Reject {
		m.stop(c, waiter{origin: origin{done: func(r Result) { stopped <- r }}})
		return nil
	}); err != nil {
		return err
	}
	select {
	case r := <-stopped:
		if r.Reject != nil {
			return r.Reject
		}
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-m.ended:
		return ErrClosed
	}
}

// Uninstall removes a canister's code and state.
func (m *Machine) Uninstall(ctx context.Context, id candid.Principal) error {
	return m.manage(ctx, id, func(c *canister) *Reject { m.uninstall(c); return nil })
}

// Delete removes a stopped canister.
func (m *Machine) Delete(ctx context.Context, id candid.Principal) error {
	return m.manage(ctx, id, m.remove)
}

func (m *Machine) manage(ctx context.Context, id candid.Principal, f func(c *canister) *Reject) error {
	var rej *Reject
	err := m.do(ctx, func() {
		c := m.canisters[id]
		if c == nil {
			rej = canisterNotFound(id)
			return
		}
		rej = f(c)
	})
	if err == nil && rej != nil {
		err = rej
	}
	return err
}

// Submit queues a call message from outside. An error means that it was not
// accepted, and done will not be called: ErrBusy, ErrClosed, or a *Reject that
// says why, as a replica would answer at once. Otherwise done is called once with the result, on the
// machine's goroutine: it must not block, nor call methods that wait for that
// goroutine. Messages of different senders have no order; here they are
// processed in the order of Submit.
func (m *Machine) Submit(in Ingress, done func(Result)) error {
	if in.Canister == candid.ManagementCanister {
		return m.submitManagement(in, done)
	}
	if n := m.native(in.Canister); n != nil {
		return m.submitNative(n, in, done)
	}
	m.mu.Lock()
	rej := m.admissible(in)
	inspect := rej == nil && m.canisters[in.Canister].code.module.system[exportInspect]
	m.mu.Unlock()
	if inspect {
		rej = m.inspect(in)
	}
	if rej != nil {
		return rej
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if rej := m.admissible(in); rej != nil {
		return rej
	}
	if m.closed {
		return ErrClosed
	}
	c := m.canisters[in.Canister]
	if c.ingress >= m.limits.IngressQueue || m.queued+len(in.Arg) > m.limits.IngressBytes {
		return busy("Canister %s has too many messages waiting. Please retry after some time.", c.id)
	}
	m.push(c, &message{
		kind:   requestMessage,
		origin: origin{done: done},
		caller: in.Sender,
		method: in.Method,
		arg:    in.Arg,
		expiry: expiry{in.Expiry, in.ID},
	})
	m.signal()
	return nil
}

// admissible says why a canister cannot take a message from outside.
func (m *Machine) admissible(in Ingress) *Reject {
	c := m.canisters[in.Canister]
	switch {
	case c == nil:
		return canisterNotFound(in.Canister)
	case c.status != StatusRunning:
		return notRunning(c)
	case c.code == nil:
		return failure(c.id, errNoModule, 0)
	case c.balance.isZero():
		return outOfCycles(c)
	}
	return nil
}

func outOfCycles(c *canister) *Reject {
	return reject(icOutOfCycles, "Canister %s is out of cycles: please top up the canister", c.id)
}

func notRunning(c *canister) *Reject {
	if c.status == StatusStopping {
		return reject(icStopping, "Canister %s is stopping", c.id)
	}
	return reject(icStopped, "Canister %s is stopped", c.id)
}

// environment fills an env with what every execution in c sees.
func (m *Machine) environment(c *canister, md mode) *env {
	e := &env{
		mode:        md,
		log:         m.log,
		self:        c.id,
		subnet:      m.opts.Subnet,
		rootKey:     m.opts.RootKey,
		controllers: c.controllers,
		status:      c.status,
		version:     c.version,
		time:        m.now.nanos(),
		balance:     c.balance,
		environment: c.settings.environment,
		timer:       c.timer,
		maxReply:    maxResponseBytes,
		onPrint:     func(time uint64, b []byte) { m.keepLog(c, time, b) },
	}
	return e
}

func (m *Machine) keepLog(c *canister, time uint64, b []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	c.logs.add(time, b, m.logLimit(c))
}

// invoke runs an entry on the canister's main instance, with mu released, and
// leaves main as the code left it: commit or rollback is the caller's.
func (m *Machine) invoke(code *installed, entry wasm.Entry, e *env, b wasm.Budget) (uint64, error) {
	m.mu.Unlock()
	defer m.mu.Lock()
	inst, err := code.instance(m.ctx)
	if err != nil {
		return 0, err
	}
	n, err := inst.Invoke(m.ctx, entry, e, b)
	m.observe(e, inst, n, err)
	return n, err
}

func (m *Machine) messageBudget() wasm.Budget {
	return budget(m.limits.MessageInstructions, m.limits.MessageTime)
}

// rollback undoes what the last invocation on the main instance did.
func (m *Machine) rollback(code *installed) {
	m.mu.Unlock()
	code.rollback()
	m.mu.Lock()
}

// commit keeps what the last invocation on the main instance and e did to the
// state. Queries see memory and certified data change in one step.
func (m *Machine) commit(code *installed, e *env) {
	m.mu.Unlock()
	changed := false
	code.commit(e.stable.commit(), e.certified, func() {
		m.version.Add(1)
		changed = true
	})
	m.mu.Lock()
	if changed {
		m.touch()
	}
}
