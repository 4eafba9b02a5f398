//go:build wasm64

package canister_test

import (
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/icrelay/icrelay/candid"
	"github.com/icrelay/icrelay/localnet/execution"
)

// The prices of a subnet with 13 nodes, in cycles (Internet Computer developer
// documentation, "Cycle costs"), and what the replica counts for a page of 4 KiB
// of the heap that an execution writes to.
const (
	cyclesPerExecution   = 5_000_000
	cyclesPerIngress     = 1_200_000
	cyclesPerIngressByte = 2_000
	cyclesPerCall        = 260_000
	cyclesPerCallByte    = 1_000
	instructionsPerPage  = 1_000
)

// cost is what some messages cost the relay canister. The target pays for its own.
type cost struct {
	ingress, executions, pages int
	selfCalls, targetCalls     int
	instructions, largest      uint64 // largest: of one execution, with its pages
	ingressBytes, callBytes    int
}

func (c *cost) add(relay candid.Principal, x execution.Execution) {
	c.executions++
	c.pages += x.DirtyPages
	c.instructions += x.Instructions
	c.largest = max(c.largest, x.Instructions+instructionsPerPage*count(x.DirtyPages))
	switch {
	case strings.HasSuffix(x.Kind, "callback"):
		c.callBytes += x.Argument
	case x.Kind == "update" && x.Caller != relay:
		c.ingress++
		c.ingressBytes += x.Argument + len(x.Method)
	}
	for _, call := range x.Calls {
		c.callBytes += call.Argument + len(call.Method)
		if call.Callee == relay {
			c.selfCalls++
		} else {
			c.targetCalls++
		}
	}
}

func count(n int) uint64 { return uint64(n) } // #nosec G115 -- not negative

// cycles is what the Internet Computer would take for it.
func (c *cost) cycles() uint64 {
	return count(c.executions)*cyclesPerExecution + c.instructions + count(c.pages)*instructionsPerPage +
		count(c.ingress)*cyclesPerIngress + count(c.ingressBytes)*cyclesPerIngressByte +
		count(c.selfCalls+c.targetCalls)*cyclesPerCall + count(c.callBytes)*cyclesPerCallByte
}

// measure adds up what the relay canister executes for f, until all is quiet again.
func (w *world) measure(f func()) cost {
	w.t.Helper()
	var mu sync.Mutex // queries tell beside updates
	var c cost
	w.observe(func(x execution.Execution) {
		mu.Lock()
		defer mu.Unlock()
		// idle makes calls as a stranger and asks for the status.
		if x.Canister == w.relay && x.Caller != stranger && x.Method != "relay_status" {
			c.add(w.relay, x)
		}
	})
	f()
	w.idle()
	w.settle()
	w.observe(nil)
	mu.Lock()
	defer mu.Unlock()
	return c
}

// stage is a relay canister in use, for measuring.
type stage struct {
	*world
	target candid.Principal
	feed   method
	conns  []*conn
	queued uint64 // messages that no gateway has fetched yet, at least
	extra  int    // clients opened besides
}

// newStage has clients, and messages queued for them through one gateway.
func newStage(t testing.TB, clients int, queued uint64, s settings) *stage {
	t.Helper()
	w := &stage{world: newWorld(t), queued: queued}
	w.target = w.installTarget()
	w.feed = method{w.target, "since"}
	if clients > 0 { // otherwise it would look for the feed's end for ever
		s.feeds = []method{w.feed}
	}
	for i := range s.routed {
		s.routed[i].target = w.target
	}
	w.installRelay(s)
	for i := range clients {
		w.conns = append(w.conns, w.open(client(i), 1, gateway1))
	}
	w.idle()
	if clients > 0 {
		// It has seen a page of several items, so that one alone is not taken for a full page.
		w.addMany(w.feed, 3)
		w.pullOne(0)
	}
	w.deliver()
	for w.waiting() < queued {
		if _, text := w.broadcast(admin, content); text != "" {
			t.Fatal(text)
		}
	}
	return w
}

// content is what clients and targets send: a text of 100 characters.
var content = candid.EncodeText(strings.Repeat("0123456789", 10))

func (w *stage) gateway() (first, next uint64) {
	w.t.Helper()
	gateways := list(w.t, w.status(controller), "gateways")
	if len(gateways) == 0 {
		return 0, 0
	}
	state := gateways[0]
	return number(w.t, state, "first"), number(w.t, state, "next")
}

func (w *stage) waiting() uint64 {
	first, next := w.gateway()
	return next - first
}

// deliver drops messages as a gateway does that has fetched them, down to the
// number that the stage keeps queued.
func (w *stage) deliver() {
	w.t.Helper()
	if _, next := w.gateway(); next > w.queued {
		if _, text := w.tryPull(gateway1, w.feed, next-w.queued); text != "" {
			w.t.Fatal(text)
		}
	}
}

// repeat measures f so many times, and delivers what it leaves behind now and then.
func (w *stage) repeat(times int, f func(i int)) cost {
	w.t.Helper()
	var sum cost
	for i := range times {
		c := w.measure(func() { f(i) })
		sum.ingress += c.ingress
		sum.executions += c.executions
		sum.pages += c.pages
		sum.selfCalls += c.selfCalls
		sum.targetCalls += c.targetCalls
		sum.instructions += c.instructions
		sum.ingressBytes += c.ingressBytes
		sum.callBytes += c.callBytes
		sum.largest = max(sum.largest, c.largest)
		if i%20 == 19 {
			w.deliver()
		}
	}
	return sum
}

// The actions that are measured.

func (w *stage) openOne(int) {
	w.extra++
	w.open(client(100_000+w.extra), 1, gateway1)
}

func (w *stage) closeOne(i int) {
	if text := w.tryClose(gateway1, w.conns[i].key); text != "" {
		w.t.Fatal(text)
	}
}

func (w *stage) message(int) { w.conns[0].send(content) }

func (w *stage) keepAlive(int) { w.conns[0].keepAlive() }

func (w *stage) sendOne(int) {
	if reached, text := w.to("send", admin, w.conns[0].key, content); reached != 1 {
		w.t.Fatal(text)
	}
}

func (w *stage) sendAll(int) {
	if reached, text := w.broadcast(admin, content); reached != uint64(len(w.conns)) {
		w.t.Fatal(text)
	}
}

func (w *stage) item(int) {
	w.addMany(w.feed, 1)
	w.pullOne(0)
}

func (w *stage) pullOne(int) { w.pull(gateway1, w.feed) }

// poll asks for 50 messages, the first of those that wait.
func (w *stage) poll(int) {
	first, _ := w.gateway()
	w.ask(gateway1, w.relay, "ws_get_messages", candid.EncodeGetMessagesArgs(first))
}

// pollEnd asks for messages when there is none.
func (w *stage) pollEnd(int) {
	_, next := w.gateway()
	w.ask(gateway1, w.relay, "ws_get_messages", candid.EncodeGetMessagesArgs(next))
}

// acknowledge lets an interval pass, after which every client gets an acknowledgement.
func (w *stage) acknowledge(int) { w.advance(5 * time.Minute) }
