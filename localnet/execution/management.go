package execution

import (
	"crypto/rand"
	"slices"
	"strings"

	"github.com/icrelay/icrelay/candid"
)

// The management canister (interface specification, "The IC management
// canister"). Its calls are commands of the owner goroutine, so that none of
// them runs in the middle of another canister's message.

// managementCall is one call of a method of the management canister.
type managementCall struct {
	m       *Machine
	method  string
	caller  candid.Principal
	version uint64 // of the calling canister, if it is one
	ingress bool
	origin  origin
	cycles  cycles
	arg     candid.Value // the argument record
}

// managementMethod is how a method may be called, and what it does: it returns
// its reply, or a reject, or neither when it responds later.
type managementMethod struct {
	ingress bool // from outside
	query   bool // as a query from outside; such a method changes nothing
	run     func(call *managementCall) ([]byte, *Reject)
}

// managementMethods is complete; what is missing in it is unknown to canisters.
func managementMethods() map[string]managementMethod {
	return map[string]managementMethod{
		"create_canister":                         {run: (*managementCall).createCanister},
		"provisional_create_canister_with_cycles": {ingress: true, run: (*managementCall).provisionalCreate},
		"provisional_top_up_canister":             {ingress: true, run: (*managementCall).provisionalTopUp},
		"update_settings":                         {ingress: true, run: (*managementCall).updateSettings},
		"install_code":                            {ingress: true, run: (*managementCall).installCode},
		"install_chunked_code":                    {ingress: true, run: (*managementCall).installChunked},
		"upload_chunk":                            {ingress: true, run: (*managementCall).uploadChunk},
		"clear_chunk_store":                       {ingress: true, run: (*managementCall).clearChunks},
		"stored_chunks":                           {ingress: true, run: (*managementCall).storedChunks},
		"uninstall_code":                          {ingress: true, run: (*managementCall).uninstallCode},
		"start_canister":                          {ingress: true, run: (*managementCall).startCanister},
		"stop_canister":                           {ingress: true, run: (*managementCall).stopCanister},
		"delete_canister":                         {ingress: true, run: (*managementCall).deleteCanister},
		"canister_status":                         {ingress: true, query: true, run: (*managementCall).canisterStatus},
		"canister_info":                           {run: (*managementCall).canisterInfo},
		"canister_metadata":                       {run: (*managementCall).canisterMetadata},
		"deposit_cycles":                          {run: (*managementCall).depositCycles},
		"raw_rand":                                {run: (*managementCall).rawRand},
		"fetch_canister_logs":                     {ingress: true, query: true, run: (*managementCall).fetchLogs},
		"subnet_info":                             {run: (*managementCall).subnetInfo},
		"list_canisters":                          {query: true, run: (*managementCall).listCanisters},
	}
}

// absentMethods exist on the Internet Computer but not here, where there are no
// other machines to do their work: said plainly instead of "unknown method".
var absentMethods = []string{
	"http_request", "ecdsa_public_key", "sign_with_ecdsa", "schnorr_public_key", "sign_with_schnorr", "vetkd_public_key", "vetkd_derive_key",
	"bitcoin_get_balance", "bitcoin_get_utxos", "bitcoin_send_transaction", "bitcoin_get_current_fee_percentiles", "bitcoin_get_block_headers",
	"node_metrics_history", "canister_metrics", "take_canister_snapshot", "load_canister_snapshot", "read_canister_snapshot_metadata",
	"read_canister_snapshot_data", "upload_canister_snapshot_metadata", "upload_canister_snapshot_data", "list_canister_snapshots", "delete_canister_snapshot",
}

func unknownMethod(method string) *Reject {
	if slices.Contains(absentMethods, method) {
		return reject(icUnknownManagement, "The embedded network does not offer the management canister's method '%s'", method)
	}
	return reject(icMethodNotFound, "Management canister has no method '%s'", method)
}

// submitManagement queues a call from outside.
func (m *Machine) submitManagement(in Ingress, done func(Result)) error {
	method, ok := m.management[in.Method]
	switch {
	case !ok && slices.Contains(absentMethods, in.Method):
		return unknownMethod(in.Method)
	case !ok:
		return reject(icMethodNotFound, "ic00 interface does not expose method %s", in.Method)
	case !method.ingress:
		return reject(icRejectedMessage, "ic00 method %s can not be called via ingress messages", in.Method)
	}
	call := &managementCall{m: m, method: in.Method, caller: in.Sender, ingress: true, origin: origin{done: done}}
	if rej := call.decode(in.Arg); rej != nil {
		return rej
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return ErrClosed
	}
	if rej := call.admissible(); rej != nil {
		return rej
	}
	if m.managing >= m.limits.IngressQueue || m.queued+len(in.Arg) > m.limits.IngressBytes {
		return busy("The management canister has too many messages waiting. Please retry after some time.")
	}
	m.managing++
	m.queued += len(in.Arg)
	m.commands = append(m.commands, func() {
		m.managing--
		m.queued -= len(in.Arg)
		if x := (expiry{in.Expiry, in.ID}); x.passed(m.now.nanos()) {
			call.respond(nil, x.reject())
			return
		}
		call.execute()
	})
	m.signal()
	return nil
}

// admissible is what a replica checks before it takes a management call from outside.
func (call *managementCall) admissible() *Reject {
	switch call.method {
	case "provisional_create_canister_with_cycles", "provisional_top_up_canister", "canister_status", "fetch_canister_logs":
		return nil // for anybody, or decided when it is executed
	}
	_, rej := call.controlled()
	if rej != nil && rej.ErrorCode == "IC0512" {
		id, _ := call.target()
		return reject(icInvalidController, "Only controllers of canister %s can call ic00 method %s", id, call.method)
	}
	return rej
}

// callManagement executes a canister's call, between messages.
func (m *Machine) callManagement(c *canister, msg *message) {
	call := &managementCall{m: m, method: msg.method, caller: msg.caller, version: c.version, origin: msg.origin, cycles: msg.cycles}
	m.commands = append(m.commands, func() {
		rej := call.decode(msg.arg)
		if _, ok := m.management[msg.method]; !ok {
			rej = unknownMethod(msg.method)
		}
		if rej != nil {
			m.respond(call.origin, rejected(rej), call.cycles)
			return
		}
		call.execute()
	})
}

// queryManagement answers the methods that can be called as queries.
func (m *Machine) queryManagement(sender candid.Principal, method string, arg []byte) Result {
	known, ok := m.management[method]
	if !ok || !known.query {
		return Result{Reject: reject(icMethodNotFound, "Query method %s not found.", method)}
	}
	call := &managementCall{m: m, method: method, caller: sender, ingress: true}
	if rej := call.decode(arg); rej != nil {
		return Result{Reject: rej}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	reply, rej := known.run(call)
	return Result{Reply: reply, Reject: rej}
}

// execute runs the method and responds, unless the method does so later.
func (call *managementCall) execute() {
	reply, rej := call.m.management[call.method].run(call)
	if reply != nil || rej != nil {
		call.respond(reply, rej)
	}
}

func (call *managementCall) respond(reply []byte, rej *Reject) {
	call.m.respond(call.origin, &response{reply: reply, reject: rej}, call.cycles)
}

// decode reads the argument, one record for all methods but raw_rand and list_canisters.
func (call *managementCall) decode(arg []byte) *Reject {
	values, err := candid.Decode(arg, candid.Limits{})
	if err != nil {
		return reject(icInvalidManagement, "Error decoding candid: %v", err)
	}
	if len(values) > 0 {
		call.arg = values[0]
	}
	return nil
}

func missing(label string) *Reject {
	return reject(icInvalidManagement, "Error decoding candid: the argument has no field %s of the right type", label)
}

// target is the canister that the call is about.
func (call *managementCall) target() (candid.Principal, *Reject) {
	label := "canister_id"
	if call.method == "install_chunked_code" {
		label = "target_canister"
	}
	id, ok := call.arg.Field(label).Principal()
	if !ok {
		return "", missing(label)
	}
	return id, nil
}

func (call *managementCall) found() (*canister, *Reject) {
	id, rej := call.target()
	if rej != nil {
		return nil, rej
	}
	c := call.m.canisters[id]
	switch {
	case call.m.native(id) != nil:
		return nil, notController(&canister{id: id}, call.caller)
	case c == nil:
		return nil, canisterNotFound(id)
	}
	return c, nil
}

// controlled finds the canister that the call is about and checks that the caller controls it.
func (call *managementCall) controlled() (*canister, *Reject) {
	c, rej := call.found()
	if rej != nil {
		return nil, rej
	}
	allowed := slices.Contains(c.controllers, call.caller)
	switch call.method {
	case "upload_chunk", "clear_chunk_store", "stored_chunks":
		allowed = allowed || call.caller == c.id
	}
	if !allowed {
		return nil, notController(c, call.caller)
	}
	return c, nil
}

func notController(c *canister, caller candid.Principal) *Reject {
	names := make([]string, 0, len(c.controllers))
	for _, p := range c.controllers {
		names = append(names, p.String())
	}
	return reject(icInvalidController, "Only the controllers of the canister %s can control it.\nCanister's controllers: %s\nSender's ID: %s",
		c.id, strings.Join(names, " "), caller)
}

// mustEncode encodes a reply, whose type and values come from this package.
func mustEncode(t candid.Type, value any) []byte {
	b, err := candid.NewBuilder().Add(t, value).Bytes()
	if err != nil {
		panic("execution: encode a reply of the management canister: " + err.Error())
	}
	return b
}

func (call *managementCall) rawRand() ([]byte, *Reject) {
	b := make([]byte, 32)
	_, _ = rand.Read(b) // never fails
	return mustEncode(candid.BlobType, b), nil
}

func (call *managementCall) subnetInfo() ([]byte, *Reject) {
	return mustEncode(candid.RecordOf(candid.Field{Label: "replica_version", Type: candid.TextType}, candid.Field{Label: "registry_version", Type: candid.Nat64Type}),
		candid.Fields{"replica_version": "embedded", "registry_version": uint64(1)}), nil
}

var canisterIDType = candid.RecordOf(candid.Field{Label: "canister_id", Type: candid.PrincipalType})

func (call *managementCall) createCanister() ([]byte, *Reject) {
	if call.cycles.less(cyclesOf(priceCreate)) {
		return nil, reject(icCreateCycles, "Creating a canister requires a fee of %d that is deducted from the canister's initial balance but only %v cycles were received with the create_canister request.", uint64(priceCreate), call.cycles)
	}
	reply, rej := call.create(call.cycles.sub(cyclesOf(priceCreate)), "")
	if rej == nil {
		call.cycles = cycles{}
	}
	return reply, rej
}

func (call *managementCall) provisionalCreate() ([]byte, *Reject) {
	balance := cyclesOf(call.m.limits.InitialCycles)
	if v, ok := call.arg.Field("amount").Opt(); ok {
		n, isNumber := v.Big()
		if !isNumber {
			return nil, missing("amount")
		}
		if balance, ok = cyclesFromBig(n); !ok {
			return nil, missing("amount")
		}
	}
	var id candid.Principal
	if v, ok := call.arg.Field("specified_id").Opt(); ok {
		if id, ok = v.Principal(); !ok {
			return nil, missing("specified_id")
		}
	}
	return call.create(balance, id)
}

func (call *managementCall) create(balance cycles, wanted candid.Principal) ([]byte, *Reject) {
	m := call.m
	set, rej := call.readSettings(defaultSettings())
	if rej != nil {
		return nil, rej
	}
	controllers := []candid.Principal{call.caller}
	if set.controllers != nil {
		controllers = set.controllers
	}
	id, rej := m.create(controllers, balance, wanted)
	if rej != nil {
		return nil, rej
	}
	c := m.canisters[id]
	c.settings = set.settings
	c.record(call.change("creation", candid.Fields{"controllers": controllers}))
	return mustEncode(canisterIDType, candid.Fields{"canister_id": id}), nil
}

func (call *managementCall) provisionalTopUp() ([]byte, *Reject) {
	c, rej := call.found()
	if rej != nil {
		return nil, rej
	}
	n, ok := call.arg.Field("amount").Big()
	if !ok {
		return nil, missing("amount")
	}
	amount, ok := cyclesFromBig(n)
	if !ok {
		return nil, missing("amount")
	}
	c.balance = c.balance.add(amount)
	return candidEmpty, nil
}

func (call *managementCall) depositCycles() ([]byte, *Reject) {
	c, rej := call.found()
	if rej != nil {
		return nil, rej
	}
	c.balance = c.balance.add(call.cycles)
	call.cycles = cycles{}
	return candidEmpty, nil
}

func (call *managementCall) startCanister() ([]byte, *Reject) {
	c, rej := call.controlled()
	if rej != nil {
		return nil, rej
	}
	call.m.start(c)
	return candidEmpty, nil
}

func (call *managementCall) stopCanister() ([]byte, *Reject) {
	c, rej := call.controlled()
	if rej != nil {
		return nil, rej
	}
	call.m.stop(c, waiter{call.origin, call.cycles})
	return nil, nil
}

func (call *managementCall) deleteCanister() ([]byte, *Reject) {
	c, rej := call.controlled()
	if rej == nil && c.id == call.caller {
		rej = reject(icNotStopped, "Canister %s cannot delete itself.", c.id)
	}
	if rej == nil {
		rej = call.m.remove(c)
	}
	if rej != nil {
		return nil, rej
	}
	return candidEmpty, nil
}

func (call *managementCall) uninstallCode() ([]byte, *Reject) {
	c, rej := call.controlled()
	if rej != nil {
		return nil, rej
	}
	call.m.uninstall(c)
	c.record(call.change("code_uninstall", nil))
	return candidEmpty, nil
}
