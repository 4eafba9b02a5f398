package execution

import (
	"crypto/sha256"
	"fmt"
	"math/big"

	"github.com/icrelay/icrelay/candid"
)

// candidSection is the metadata section with a canister's interface.
const candidSection = "candid:service"

// Native is a canister written in Go: a part of the network itself that stands
// where the Internet Computer has a canister that tools expect. Like the
// management canister it has no Wasm, no controllers and no cycles of its own,
// and its calls are executed between the messages of other canisters.
type Native struct {
	// Interface is its Candid interface, shown as the metadata section
	// candid:service. As there is no module, its hash stands for the module's.
	Interface string
	// Methods are complete: a method that is not among them does not exist.
	Methods map[string]NativeMethod
}

// NativeMethod is a method of a Native.
type NativeMethod struct {
	// Query says that the method can be called as a query. It must then change nothing.
	Query bool
	// Run executes a call and returns its reply or a reject. Calls run one at a
	// time, whatever the canister, on goroutines of the machine's choice. Run must not block, nor
	// use the Machine but through the call; the call must not be used after it.
	Run func(call *NativeCall) ([]byte, *Reject)
}

// NativeCall is a call of a native canister's method.
type NativeCall struct {
	Caller candid.Principal
	// Args are the decoded arguments.
	Args []candid.Value

	m        *Machine
	self     candid.Principal
	ingress  bool
	query    bool
	attached cycles
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

// native finds a native canister. The set never changes, so that no lock is needed.
func (m *Machine) native(id candid.Principal) *Native { return m.opts.Natives[id] }

// taken reports whether there is a canister of any kind with this id.
func (m *Machine) taken(id candid.Principal) bool {
	return m.canisters[id] != nil || m.native(id) != nil
}

// nativeInfos are what the state tree shows of native canisters.
func nativeInfos(natives map[candid.Principal]*Native) map[candid.Principal]CanisterInfo {
	infos := make(map[candid.Principal]CanisterInfo, len(natives))
	for id, n := range natives {
		hash := sha256.Sum256([]byte(n.Interface))
		infos[id] = CanisterInfo{
			ID:         id,
			Status:     StatusRunning,
			ModuleHash: hash[:],
			Metadata:   map[string]Section{candidSection: {Public: true, Content: []byte(n.Interface)}},
		}
	}
	return infos
}

// prepare finds the method and decodes the argument.
func (m *Machine) prepare(id candid.Principal, call *NativeCall, method string, arg []byte) (func() ([]byte, *Reject), *Reject) {
	kind := "update"
	if call.query {
		kind = "query"
	}
	call.self = id
	known, ok := m.native(id).Methods[method]
	if !ok || call.query && !known.Query {
		return nil, failure(id, methodNotFound(kind, method), 0)
	}
	values, err := candid.Decode(arg, candid.Limits{})
	if err != nil {
		return nil, call.Trap("failed to decode call arguments: %v", err)
	}
	call.m, call.Args = m, values
	return func() ([]byte, *Reject) { return known.Run(call) }, nil
}

// submitNative queues a call from outside, like submitManagement.
func (m *Machine) submitNative(in Ingress, done func(Result)) error {
	call := &NativeCall{Caller: in.Sender, ingress: true}
	run, rej := m.prepare(in.Canister, call, in.Method, in.Arg)
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
			r.reply, r.reject = run()
		}
		m.respond(origin{done: done}, r, cycles{})
	})
	m.signal()
	return nil
}

// callNative executes a canister's call, between messages.
func (m *Machine) callNative(id candid.Principal, msg *message) {
	m.commands = append(m.commands, func() {
		call := &NativeCall{Caller: msg.caller, attached: msg.cycles}
		run, rej := m.prepare(id, call, msg.method, msg.arg)
		r := &response{reject: rej}
		if rej == nil {
			r.reply, r.reject = run()
		}
		if r.reject != nil {
			call.attached = msg.cycles // a reject returns all of them
		}
		m.respond(msg.origin, r, call.attached)
	})
}

// queryNative evaluates a query of a native canister.
func (m *Machine) queryNative(q queryCall) *response {
	run, rej := m.prepare(q.callee, &NativeCall{Caller: q.caller, query: true}, q.method, q.arg)
	if rej != nil {
		return rejected(rej)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	reply, rej := run()
	return &response{reply: reply, reject: rej}
}
