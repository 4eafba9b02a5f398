package execution

import (
	"slices"
	"strings"

	"github.com/icrelay/icrelay/candid"
	"github.com/icrelay/icrelay/localnet/wasm"
)

// installation is one install_code. It owns the module.
type installation struct {
	id             candid.Principal
	mode           Mode
	module         *canisterModule
	arg            []byte
	sender         candid.Principal
	skipPreUpgrade bool
	keepMemory     *bool // wasm_memory_persistence: keep or replace, nil if not given
}

// persistenceSection marks modules with enhanced orthogonal persistence.
const persistenceSection = "enhanced-orthogonal-persistence"

// install replaces a canister's code (interface specification, "IC method
// install_code"). On a reject the canister is as before, and the module released.
func (m *Machine) install(in installation) *Reject {
	c := m.canisters[in.id]
	rej := m.checkInstall(c, in)
	if rej != nil {
		in.module.Release()
		return rej
	}
	m.use(c)
	next := newInstalled(in.module)
	if rej = m.bringUp(c, next, in); rej != nil {
		next.retire()
		return rej
	}
	old := c.code
	c.code = next
	c.version++
	if old != nil {
		old.retire()
	}
	m.watchTimer(c)
	delete(m.beating, c.id)
	m.watchHeartbeat(c)
	c.lowMemory = false
	m.watchMemory(c)
	m.touch()
	return nil
}

func (m *Machine) checkInstall(c *canister, in installation) *Reject {
	switch {
	case c == nil:
		return canisterNotFound(in.id)
	case in.mode == ModeInstall && c.code != nil:
		return reject(icNonEmpty, "Canister %s cannot be installed because the canister is not empty. Try installing with mode='reinstall' instead.", c.id)
	case in.mode == ModeUpgrade && c.code == nil:
		return failure(c.id, errNoModule, 0)
	}
	if in.mode != ModeUpgrade {
		return nil
	}
	_, was := c.code.module.metadata[persistenceSection]
	_, is := in.module.metadata[persistenceSection]
	switch {
	case was && in.keepMemory == nil:
		return failure(c.id, violated("Missing upgrade option: Enhanced orthogonal persistence requires the `wasm_memory_persistence` upgrade option."), 0)
	case in.keepMemory != nil && *in.keepMemory && !is:
		return failure(c.id, violated("Invalid upgrade option: The `wasm_memory_persistence: opt Keep` upgrade option requires that the new canister module supports enhanced orthogonal persistence."), 0)
	}
	return nil
}

// usualPersistence is what tools ask for when they upgrade: a module with enhanced
// orthogonal persistence keeps the memory of one that had it, too. They never ask
// for it to be replaced, so that a module without is refused and nothing lost.
func (m *Machine) usualPersistence(id candid.Principal, next *canisterModule) *bool {
	c := m.canisters[id]
	if c == nil || c.code == nil {
		return nil
	}
	_, was := c.code.module.metadata[persistenceSection]
	_, is := next.metadata[persistenceSection]
	if !was || !is {
		return nil
	}
	return &is
}

// bringUp runs what an installation runs, and leaves next in the state to commit.
func (m *Machine) bringUp(c *canister, next *installed, in installation) *Reject {
	b := func() wasm.Budget { return budget(m.limits.InstallInstructions, m.limits.InstallTime) }
	fail := func(e *env, err error) *Reject {
		m.logTrap(c, e, err)
		return failure(c.id, err, m.limits.InstallInstructions)
	}
	balance := c.balance
	certified := []byte(nil)
	stable := &stableRoot{}
	if in.mode == ModeUpgrade {
		stable = c.code.stable
		certified = c.code.certifiedData()
		if c.code.module.system[exportPreUpgrade] && !in.skipPreUpgrade {
			e := m.environment(c, modePreUpgrade)
			e.caller, e.stable = in.sender, newStable(stable, m.limits.StableBytes)
			n, err := m.invoke(c.code, wasm.Entry{Export: exportPreUpgrade}, e, b())
			defer m.rollback(c.code) // kept only if the upgrade fails
			if err != nil {
				return fail(e, err)
			}
			balance = e.balance.sub(priceOfExecution(n))
			stable = e.stable.commit()
			if e.certified != nil {
				certified = e.certified
			}
		}
	}

	md, export := modeInit, exportInit
	if in.mode == ModeUpgrade {
		export = exportPostUpgrade
	}
	start := m.environment(c, modeStart)
	start.stable = newStable(stable, m.limits.StableBytes)
	if err := m.instantiate(c, next, in, start, b()); err != nil {
		return fail(start, err)
	}
	stable = start.stable.commit()

	e := m.environment(c, md)
	e.caller, e.arg, e.balance, e.timer = in.sender, in.arg, balance, 0
	e.version = c.version + 1
	e.stable = newStable(stable, m.limits.StableBytes)
	if in.module.system[export] {
		n, err := m.invoke(next, wasm.Entry{Export: export}, e, b())
		if err == nil {
			err = memoryLimit(c, next)
		}
		if err != nil {
			return fail(e, err)
		}
		e.balance = e.balance.sub(priceOfExecution(n))
		if e.certified != nil {
			certified = e.certified
		}
	}
	m.mu.Unlock()
	next.commit(e.stable.commit(), certified, func() {})
	m.mu.Lock()
	c.balance = e.balance
	// Whatever the timer was before the installation, it is off unless the new code has set it.
	c.timer = e.timer
	return nil
}

// instantiate sets up the main instance of next and runs its start function.
func (m *Machine) instantiate(c *canister, next *installed, in installation, e *env, b wasm.Budget) error {
	old := c.code
	m.mu.Unlock()
	defer m.mu.Lock()
	inst, err := next.module.Instantiate(m.ctx)
	if err != nil {
		return err
	}
	next.main = inst
	if in.mode == ModeUpgrade && in.keepMemory != nil && *in.keepMemory {
		// With what canister_pre_upgrade has done, if it ran.
		if old.main != nil {
			err = wasm.MoveMemory(inst, old.main)
		} else {
			err = old.image.RestoreMemory(inst)
		}
		if err != nil {
			return err
		}
	}
	if !next.module.Info().HasStart {
		return nil
	}
	_, err = inst.Invoke(m.ctx, wasm.Entry{Start: true}, e, b)
	return err
}

// start, stop, uninstall and remove are the management canister's methods of
// nearly these names, after its checks.

func (m *Machine) start(c *canister) {
	if c.status == StatusRunning {
		return
	}
	for _, w := range c.stopping {
		m.respond(w.origin, rejected(reject(icStoppingCancelled, "Canister %s's stop request was cancelled.", c.id)), w.cycles)
	}
	c.stopping = nil
	m.setStatus(c, StatusRunning)
}

// maxStopping bounds those who wait for one canister to stop.
const maxStopping = 1000

func (m *Machine) stop(c *canister, w waiter) {
	if c.status == StatusStopped {
		m.respond(w.origin, &response{reply: candidEmpty}, w.cycles)
		return
	}
	if len(c.stopping) >= maxStopping {
		m.respond(w.origin, rejected(reject(icQueueFull, "Too many callers wait for canister %s to stop.", c.id)), w.cycles)
		return
	}
	c.stopping = append(c.stopping, w)
	if c.status == StatusRunning {
		m.setStatus(c, StatusStopping)
	}
	m.checkStopped(c)
}

func (m *Machine) setStatus(c *canister, s Status) {
	c.status = s
	c.version++
	m.watchTimer(c)
	delete(m.beating, c.id)
	m.watchHeartbeat(c)
	m.touch()
}

// checkStopped completes a stop once nothing is under way.
func (m *Machine) checkStopped(c *canister) {
	if c.status != StatusStopping || len(c.contexts) > 0 {
		return
	}
	m.setStatus(c, StatusStopped)
	for _, w := range c.stopping {
		m.respond(w.origin, &response{reply: candidEmpty}, w.cycles)
	}
	c.stopping = nil
}

// uninstall rejects what the canister has not responded to, and forgets its state.
func (m *Machine) uninstall(c *canister) {
	if c.code == nil {
		return
	}
	c.code.retire()
	c.code = nil
	c.version++
	c.timer = 0
	c.chunks = nil
	ids := make([]uint64, 0, len(c.contexts))
	for id := range c.contexts {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	for _, id := range ids {
		ctx := c.contexts[id]
		if !ctx.responded {
			ctx.responded = true
			m.respond(ctx.origin, rejected(&Reject{Code: codeCanisterReject, Text: "Canister has been uninstalled.", ErrorCode: "IC0406"}), ctx.available)
			ctx.available = cycles{}
		}
		ctx.deleted = true
		m.conclude(c, ctx, nil)
	}
	m.watchTimer(c)
	m.watchHeartbeat(c)
	m.touch()
}

// remove deletes a stopped canister.
func (m *Machine) remove(c *canister) *Reject {
	if c.status != StatusStopped {
		return reject(icNotStopped, "Canister %s must be stopped before it is deleted.", c.id)
	}
	if c.code != nil {
		c.code.retire()
		c.code = nil
	}
	for c.queue.len() > 0 { // whatever waits can only be refused
		msg := c.queue.pop()
		if msg.origin.done != nil {
			m.queued -= msg.size()
		} else {
			m.calling -= msg.size()
		}
		if msg.kind == requestMessage {
			m.respond(msg.origin, rejected(canisterNotFound(c.id)), msg.cycles)
		}
	}
	delete(m.canisters, c.id)
	delete(m.timers, c.id)
	delete(m.beating, c.id)
	m.touch()
	return nil
}

func sortCanisters(cs []*canister) {
	slices.SortFunc(cs, func(a, b *canister) int { return strings.Compare(string(a.id), string(b.id)) })
}

// candidEmpty is the Candid of no values.
var candidEmpty = []byte("DIDL\x00\x00")
