package execution

import (
	"time"

	"github.com/icrelay/icrelay/candid"
)

// canister is one canister. The machine's goroutine alone changes it, and holds
// Machine.mu to do so; others read it under Machine.mu.
type canister struct {
	id          candid.Principal
	controllers []candid.Principal
	settings    settings
	status      Status
	version     uint64
	code        *installed // nil: empty
	balance     cycles
	used        time.Time // last execution, for freeing idle instances

	queue     fifo
	ingress   int  // of which are messages from outside
	scheduled bool // stands in Machine.ready

	contexts  map[uint64]*callContext
	callbacks map[uint64]*callback
	underWay  map[candid.Principal]int // calls per callee
	nextID    uint64
	stopping  []waiter // for the canister to stop

	lowMemory bool      // the hook for low memory has been scheduled
	timer     uint64    // nanoseconds since 1970, 0: off
	beat      time.Time // next heartbeat, if the module has one
	chunks    map[[32]byte][]byte
	logs      canisterLog
	history   []change
	changes   uint64
}

// callContext is the duty to respond to one call, and whatever the canister
// does on the way (interface specification, "Call contexts").
type callContext struct {
	id           uint64
	origin       origin
	caller       candid.Principal
	responded    bool
	deleted      bool // the code was uninstalled: callbacks do not run
	outstanding  int  // calls without a response yet
	available    cycles
	deadline     uint64
	instructions uint64
}

// origin is who waits for a response: the outside, another canister, or nobody.
type origin struct {
	done     func(Result)
	canister candid.Principal
	callback uint64
	isCall   bool
}

func (o origin) expectsResponse() bool { return o.done != nil || o.isCall }

// callback waits for the response to one call.
type callback struct {
	context  uint64
	call     *outgoing
	reserved cycles // set aside for the response
	deadline uint64 // nanoseconds since 1970, for a best-effort response
}

// waiter waits for the canister to stop, with the cycles of its call.
type waiter struct {
	origin
	cycles cycles
}

type messageKind int

const (
	requestMessage messageKind = iota
	responseMessage
	timerTask
	heartbeatTask
	lowMemoryTask
)

// message is one thing for a canister to do.
type message struct {
	kind messageKind

	// Of a request.
	origin   origin
	caller   candid.Principal
	method   string
	arg      []byte
	cycles   cycles
	deadline uint64
	expiry   expiry

	// Of a response.
	callback uint64
	response *response
	refund   cycles
}

func (msg *message) size() int {
	n := len(msg.arg) + len(msg.method)
	if msg.response != nil {
		n += len(msg.response.reply)
	}
	return n
}

// fifo is a queue whose memory shrinks again.
type fifo struct {
	items []*message
	head  int
}

func (q *fifo) push(m *message) { q.items = append(q.items, m) }

func (q *fifo) pop() *message {
	m := q.items[q.head]
	q.items[q.head] = nil
	q.head++
	if q.head == len(q.items) {
		q.items, q.head = nil, 0
	} else if q.head > 1024 && q.head > len(q.items)/2 {
		q.items, q.head = append([]*message(nil), q.items[q.head:]...), 0
	}
	return m
}

func (q *fifo) len() int { return len(q.items) - q.head }

func newCanister(id candid.Principal, controllers []candid.Principal, balance cycles) *canister {
	return &canister{
		id:          id,
		controllers: controllers,
		settings:    defaultSettings(),
		status:      StatusRunning,
		balance:     balance,
		contexts:    make(map[uint64]*callContext),
		callbacks:   make(map[uint64]*callback),
		underWay:    make(map[candid.Principal]int),
	}
}
