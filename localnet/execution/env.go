package execution

import (
	"log/slog"
	"unicode/utf8"

	"github.com/icrelay/icrelay/candid"
	"github.com/icrelay/icrelay/localnet/wasm"
)

// mode says in which context code runs. The bits are the letters of the
// interface specification, "Overview of imports".
type mode uint16

const (
	modeStart           mode = 1 << iota // s
	modeInit                             // I: canister_init and canister_post_upgrade
	modePreUpgrade                       // G
	modeUpdate                           // U
	modeReplicatedQuery                  // RQ
	modeQuery                            // NRQ
	modeComposite                        // CQ
	modeReply                            // Ry
	modeReject                           // Rt
	modeCompositeReply                   // CRy
	modeCompositeReject                  // CRt
	modeCleanup                          // C
	modeCompositeClean                   // CC
	modeInspect                          // F
	modeTask                             // T

	modeAll        = modeTask<<1 - 1
	modeNoStart    = modeAll &^ modeStart // the specification's *
	modeComposites = modeComposite | modeCompositeReply | modeCompositeReject
	modeNonReplica = modeQuery | modeComposites | modeCompositeClean | modeInspect
	modeCallbacks  = modeReply | modeReject
	modeRespond    = modeUpdate | modeReplicatedQuery | modeQuery | modeComposites | modeCallbacks
	modeCalls      = modeUpdate | modeComposites | modeCallbacks | modeTask
)

var modeNames = map[mode]string{
	modeStart:           "start",
	modeInit:            "init",
	modePreUpgrade:      "pre upgrade",
	modeUpdate:          "update",
	modeReplicatedQuery: "replicated query",
	modeQuery:           "non replicated query",
	modeComposite:       "composite query",
	modeReply:           "reply callback",
	modeReject:          "reject callback",
	modeCompositeReply:  "composite reply callback",
	modeCompositeReject: "composite reject callback",
	modeCleanup:         "cleanup",
	modeCompositeClean:  "composite cleanup",
	modeInspect:         "inspect message",
	modeTask:            "system task",
}

func (m mode) String() string { return modeNames[m] }

// env is what one execution of canister code sees and does. Everything it does
// stays in here until the code has returned; then the caller takes it over, or
// drops it with the env when the code trapped.
type env struct {
	mode mode
	log  *slog.Logger
	call *wasm.Call // of the system call under way

	// What the code can ask for.
	self        candid.Principal
	subnet      candid.Principal
	rootKey     []byte
	controllers []candid.Principal
	status      Status
	version     uint64
	time        uint64
	caller      candid.Principal
	method      string
	arg         []byte
	rejectCode  int
	rejectText  string
	deadline    uint64 // of the call in nanoseconds, 0 without one
	earlier     uint64 // instructions of the call context before this execution
	environment []envVar
	certificate func() []byte // nil: none present
	certChecked []byte        // the certificate, once fetched

	// Cycles.
	balance   cycles
	available cycles // in the call
	refunded  cycles // with the response
	accepted  cycles
	burned    cycles

	// What the code did.
	mayRespond bool
	reply      []byte // under assembly
	response   *response
	pending    *outgoing // under assembly
	calls      []*outgoing
	concluded  bool // call_perform was the last of the call functions
	stable     *stableMemory
	certified  []byte // nil: unchanged
	timer      uint64
	timerSet   bool
	admitted   bool                    // accept_message
	enqueue    func(o *outgoing) error // asks whether one more call fits; nil: no calls
	maxReply   int
	printed    int
	onPrint    func(time uint64, b []byte)
	retry      bool // the certificate belongs to a newer state: run again
}

// response is what a call ends with.
type response struct {
	reply  []byte
	reject *Reject
}

func (r *response) result() Result { return Result{Reply: r.reply, Reject: r.reject} }

// closure is an entry of the canister's table with the argument for it.
type closure struct{ fn, env uint64 }

// outgoing is a call of another canister.
type outgoing struct {
	callee  candid.Principal
	method  string
	reply   closure
	reject  closure
	cleanup *closure
	arg     []byte
	cycles  cycles
	timeout uint32 // seconds
	bounded bool   // timeout is set: a best-effort response is enough
}

// envVar is an environment variable of a canister.
type envVar struct{ name, value string }

// bytesAt returns size bytes of the canister's memory from src for the named function, to be read.
func (e *env) bytesAt(name string, src, size uint64) ([]byte, error) {
	m := e.call.Memory()
	if src > uint64(len(m)) || size > uint64(len(m))-src {
		return nil, violated("ic0_%s heap: src=%d + length=%d exceeds the slice size=%d", name, src, size, len(m))
	}
	e.call.Charge(size)
	return m[src : src+size : src+size], nil
}

// sentAt is bytesAt for what leaves the canister.
func (e *env) sentAt(name string, src, size uint64) ([]byte, error) {
	b, err := e.bytesAt(name, src, size)
	e.call.Charge(uint64(len(b)) * (transmission - 1))
	return b, err
}

// writableAt is bytesAt for bytes to be written to.
func (e *env) writableAt(name string, dst, size uint64) ([]byte, error) {
	to, ok := e.call.Writable(dst, size)
	if !ok {
		return e.bytesAt(name, dst, size) // says what is wrong
	}
	e.call.Charge(size)
	return to, nil
}

// copyOut copies data[offset:offset+size] to the canister's memory at dst.
func (e *env) copyOut(name string, data []byte, dst, offset, size uint64) error {
	if offset > uint64(len(data)) || size > uint64(len(data))-offset {
		return violated("ic0_%s payload: src=%d + length=%d exceeds the slice size=%d", name, offset, size, len(data))
	}
	to, err := e.writableAt(name, dst, size)
	if err != nil {
		return err
	}
	copy(to, data[offset:])
	return nil
}

func (e *env) putCycles(name string, dst uint64, amount cycles) error {
	to, err := e.writableAt(name, dst, 16)
	if err != nil {
		return err
	}
	copy(to, amount.bytes())
	return nil
}

// text is the valid UTF-8 among b, bounded.
func text(b []byte, limit int) string {
	if len(b) > limit {
		b = b[:limit]
	}
	if utf8.Valid(b) {
		return string(b)
	}
	out := make([]byte, 0, len(b))
	for len(b) > 0 {
		r, n := utf8.DecodeRune(b)
		if r != utf8.RuneError || n > 1 {
			out = append(out, b[:n]...)
		}
		b = b[n:]
	}
	return string(out)
}
