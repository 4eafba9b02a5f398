package execution

import (
	"context"
	"crypto/sha256"
	"fmt"
	"maps"
	"math/big"
	"sync/atomic"

	"github.com/icrelay/icrelay/candid"
)

// candidSection is the metadata section with a canister's interface.
const candidSection = "candid:service"

// Native is a canister written in Go: a part of the network itself that stands
// where the Internet Computer has a canister that tools expect, or one that
// costs less than Wasm would (Machine.InstallNative). Like the management
// canister it has no Wasm and no cycles of its own, and its calls are executed
// between the messages of other canisters.
type Native struct {
	// Interface is its Candid interface, shown as the metadata section
	// candid:service. As there is no module, its hash stands for the module's.
	Interface string
	// Methods are complete: a method that is not among them does not exist.
	Methods map[string]NativeMethod

	// Independent says that the methods take their arguments from NativeCall.Raw
	// and run without the machine's lock: calls one at a time, queries beside
	// them and beside each other. The state that queries read needs a lock of
	// its own, and nothing of the machine can be used but what a NativeCall has
	// for all.
	Independent bool
	// Init is called once, before anything else. May be nil.
	Init func(call *NativeCall)
	// Timer is called like a method when the time of NativeCall.SetTimer has
	// come. May be nil.
	Timer func(call *NativeCall)
}

// NativeMethod is a method of a Native.
type NativeMethod struct {
	// Query says that the method can be called as a query. It must then change nothing.
	Query bool
	// Run executes a call and returns its reply or a reject. Calls run one at a
	// time, whatever the canister, on goroutines of the machine's choice. Run must not block, nor
	// use the Machine but through the call; the call must not be used after it.
	// After a reject nothing must have changed.
	Run func(call *NativeCall) ([]byte, *Reject)
}

// NativeCall is a call of a native canister's method.
type NativeCall struct {
	Caller candid.Principal
	// Args are the decoded arguments. Nil for natives that are independent.
	Args []candid.Value
	// Raw are the arguments as they came. They must not be changed, nor kept.
	Raw []byte

	m         *Machine
	self      candid.Principal
	ingress   bool
	query     bool
	nested    bool // a query that another one makes
	attached  cycles
	certified []byte // nil: as before
	timer     uint64 // 0: as before
}

// Arg returns the i-th argument, the zero Value if there is none.
func (call *NativeCall) Arg(i int) candid.Value {
	if i >= len(call.Args) {
		return candid.Value{}
	}
	return call.Args[i]
}

// Trap is the reject of a canister that traps with a message.
func (call *NativeCall) Trap(format string, args ...any) *Reject {
	return failure(call.self, &calledTrap{fmt.Sprintf(format, args...)}, 0)
}

// Time is the time that canisters see, in nanoseconds since 1970.
func (call *NativeCall) Time() uint64 { return call.m.now.nanos() }

// Attached returns the cycles that came with the call and have not been accepted.
func (call *NativeCall) Attached() *big.Int { return call.attached.big() }

// Accept takes all cycles that came with the call. What is not accepted goes back to the caller.
func (call *NativeCall) Accept() *big.Int {
	amount := call.attached.big()
	call.attached = cycles{}
	return amount
}

// Exists reports whether there is a canister with this id that can hold cycles.
func (call *NativeCall) Exists(id candid.Principal) bool { return call.m.canisters[id] != nil }

// AddCycles adds to a canister's balance, and reports whether that canister exists.
func (call *NativeCall) AddCycles(id candid.Principal, amount *big.Int) bool {
	c := call.m.canisters[id]
	n, ok := cyclesFromBig(amount)
	if call.query || c == nil || !ok {
		return false
	}
	c.balance = c.balance.add(n)
	return true
}

// CreateCanister makes an empty canister out of an amount of cycles, less the
// price of creating one, as the management canister's create_canister does. args
// is a record whose optional field "settings" has the settings; without
// controllers among them the caller becomes the controller.
func (call *NativeCall) CreateCanister(args candid.Value, amount *big.Int) (candid.Principal, *Reject) {
	balance, ok := cyclesFromBig(amount)
	if !ok {
		return "", missing("amount")
	}
	create := &managementCall{m: call.m, method: "create_canister", caller: call.Caller, ingress: call.ingress, cycles: balance, arg: args}
	reply, rej := create.createCanister()
	if rej != nil {
		return "", rej
	}
	values, err := candid.Decode(reply, candid.Limits{})
	if err != nil {
		return "", reject(icInvalidManagement, "%v", err)
	}
	id, _ := values[0].Field("canister_id").Principal()
	return id, nil
}

// SetCertifiedData sets the canister's certified data, once the call has
// succeeded (ic0.certified_data_set).
func (call *NativeCall) SetCertifiedData(data [32]byte) { call.certified = data[:] }

// SetTimer has Native.Timer called at a time, or as soon as possible after it,
// instead of at the time set before (ic0.global_timer_set). It takes effect once
// the call has succeeded.
func (call *NativeCall) SetTimer(nanoseconds uint64) { call.timer = max(nanoseconds, 1) }

// Certificate returns a certificate with the certified data that it covers: those
// that the canister has, or had a moment ago if calls run beside this query, but
// not older ones than the last call that has been answered left. Nil in calls,
// and in queries that a composite query makes (ic0.data_certificate_copy).
func (call *NativeCall) Certificate() (certificate, certified []byte) {
	if f := call.m.opts.DataCertificate; f != nil && call.query && !call.nested {
		return f(call.self)
	}
	return nil, nil
}

// nativeCanister is a Native in its place.
type nativeCanister struct {
	*Native
	info      CanisterInfo // but for the certified data
	certified atomic.Pointer[[]byte]
}

func newNativeCanister(id candid.Principal, n *Native, controllers []candid.Principal) *nativeCanister {
	hash := sha256.Sum256([]byte(n.Interface))
	nc := &nativeCanister{Native: n, info: CanisterInfo{
		ID:          id,
		Status:      StatusRunning,
		ModuleHash:  hash[:],
		Controllers: controllers,
		Metadata:    map[string]Section{candidSection: {Public: true, Content: []byte(n.Interface)}},
	}}
	nc.certified.Store(new([]byte))
	return nc
}

// current is what the state tree shows of it.
func (n *nativeCanister) current() CanisterInfo {
	info := n.info
	info.CertifiedData = *n.certified.Load()
	return info
}

// native finds a native canister, nil if there is none. No lock is needed: the
// map does not change, it is replaced.
func (m *Machine) native(id candid.Principal) *nativeCanister { return (*m.natives.Load())[id] }

// addNative puts a Native in its place. The caller holds mu, unless nobody else knows m yet.
func (m *Machine) addNative(id candid.Principal, n *Native, controllers []candid.Principal) {
	natives := maps.Clone(*m.natives.Load())
	nc := newNativeCanister(id, n, controllers)
	natives[id] = nc
	m.natives.Store(&natives)
	if n.Init != nil {
		call := &NativeCall{m: m, self: id, Caller: candid.ManagementCanister}
		n.Init(call)
		m.settleNative(nc, call)
	}
}

// InstallNative puts a canister written in Go in the place of an empty one, for
// good: it keeps the controllers, but nobody can stop, change or delete it. n
// must not be in another place.
func (m *Machine) InstallNative(ctx context.Context, id candid.Principal, n *Native) error {
	var rej *Reject
	err := m.do(ctx, func() {
		c := m.canisters[id]
		switch {
		case c == nil && m.native(id) == nil:
			rej = canisterNotFound(id)
		case c == nil || c.code != nil:
			rej = reject(icNonEmpty, "Canister %s cannot be installed because the canister is not empty.", id)
		case c.status != StatusRunning:
			rej = notRunning(c)
		case c.queue.len() > 0:
			rej = reject(icNonEmpty, "Canister %s has messages waiting.", id)
		default:
			delete(m.canisters, id)
			m.addNative(id, n, c.controllers)
			m.touch()
		}
	})
	if err == nil && rej != nil {
		err = rej
	}
	return err
}

// settleNative keeps what a call of a native did to what the machine has of it.
// The caller holds mu.
func (m *Machine) settleNative(n *nativeCanister, call *NativeCall) {
	if call.certified != nil {
		n.certified.Store(&call.certified)
		m.touch()
	}
	if call.timer != 0 && n.Timer != nil {
		m.alarms[n.info.ID] = call.timer
	}
}

// ring queues the timers of natives whose time has come.
func (m *Machine) ring(now uint64) {
	for id, at := range m.alarms {
		if at > now {
			continue
		}
		delete(m.alarms, id)
		n := m.native(id)
		m.commands = append(m.commands, func() {
			call := &NativeCall{m: m, self: id, Caller: candid.ManagementCanister}
			m.runNative(n, call, func() ([]byte, *Reject) {
				n.Timer(call)
				return nil, nil
			})
		})
	}
}

// runNative runs a method on the machine's goroutine, with mu held but not for
// those who do not need it.
func (m *Machine) runNative(n *nativeCanister, call *NativeCall, run func() ([]byte, *Reject)) *response {
	r := &response{}
	if n.Independent {
		m.mu.Unlock()
		r.reply, r.reject = run()
		m.mu.Lock()
	} else {
		r.reply, r.reject = run()
	}
	if r.reject == nil {
		m.settleNative(n, call)
	}
	return r
}

// taken reports whether there is a canister of any kind with this id.
func (m *Machine) taken(id candid.Principal) bool {
	return m.canisters[id] != nil || m.native(id) != nil
}

// prepare finds the method and decodes the argument.
func (m *Machine) prepare(n *nativeCanister, call *NativeCall, method string, arg []byte) (func() ([]byte, *Reject), *Reject) {
	kind := "update"
	if call.query {
		kind = "query"
	}
	call.self, call.m, call.Raw = n.info.ID, m, arg
	known, ok := n.Methods[method]
	if !ok || call.query && !known.Query {
		return nil, failure(call.self, methodNotFound(kind, method), 0)
	}
	if !n.Independent {
		values, err := candid.Decode(arg, candid.Limits{})
		if err != nil {
			return nil, call.Trap("failed to decode call arguments: %v", err)
		}
		call.Args = values
	}
	return func() ([]byte, *Reject) { return known.Run(call) }, nil
}

// submitNative queues a call from outside, like submitManagement.
func (m *Machine) submitNative(n *nativeCanister, in Ingress, done func(Result)) error {
	call := &NativeCall{Caller: in.Sender, ingress: true}
	run, rej := m.prepare(n, call, in.Method, in.Arg)
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return ErrClosed
	}
	if m.managing >= m.limits.IngressQueue || m.queued+len(in.Arg) > m.limits.IngressBytes {
		return busy("Canister %s has too many messages waiting. Please retry after some time.", in.Canister)
	}
	m.managing++
	m.queued += len(in.Arg)
	m.commands = append(m.commands, func() {
		m.managing--
		m.queued -= len(in.Arg)
		r := &response{reject: rej}
		if x := (expiry{in.Expiry, in.ID}); x.passed(m.now.nanos()) {
			r.reject = x.reject()
		}
		if r.reject == nil {
			r = m.runNative(n, call, run)
		}
		m.respond(origin{done: done}, r, cycles{})
	})
	m.signal()
	return nil
}

// callNative executes a canister's call, between messages.
func (m *Machine) callNative(n *nativeCanister, msg *message) {
	m.commands = append(m.commands, func() {
		call := &NativeCall{Caller: msg.caller, attached: msg.cycles}
		run, rej := m.prepare(n, call, msg.method, msg.arg)
		r := &response{reject: rej}
		if rej == nil {
			r = m.runNative(n, call, run)
		}
		if r.reject != nil {
			call.attached = msg.cycles // a reject returns all of them
		}
		m.respond(msg.origin, r, call.attached)
	})
}

// queryNative evaluates a query of a native canister.
func (m *Machine) queryNative(n *nativeCanister, q queryCall, nested bool) *response {
	run, rej := m.prepare(n, &NativeCall{Caller: q.caller, query: true, nested: nested}, q.method, q.arg)
	if rej != nil {
		return rejected(rej)
	}
	if !n.Independent {
		m.mu.Lock()
		defer m.mu.Unlock()
	}
	reply, rej := run()
	return &response{reply: reply, reject: rej}
}
