package bench

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/icrelay/icrelay/internal/histogram"
)

// An exchange is all messages of a run: which are under way, and what was
// counted. Its clock can be stopped, so that opening and closing do not count.
type exchange struct {
	template *template           // of messages that come back
	silent   *template           // of those that do not, nil if all come back
	latency  histogram.Histogram // from the moment that a message was due to each arrival

	sent     atomic.Uint64
	received atomic.Uint64
	strange  atomic.Uint64 // received, but not sent by this run
	late     atomic.Uint64 // signed while somebody waited for it

	desks []desk // one for each client, so that they do not wait for each other
}

// A desk is what one client has under way.
type desk struct {
	mu      sync.Mutex
	flights map[uint64]*flight // by the client's own count
	next    uint64
}

// A flight is a message that has not arrived everywhere yet.
type flight struct {
	due    time.Time
	left   int    // arrivals that are missing
	before uint64 // silent messages that the canister has when this one comes back
	done   func() // after the last
}

// silentRun is how many silent messages stand before one that comes back. As a
// canister takes a client's messages in their order, that one tells of all.
const silentRun = 15

func newExchange(t, silent *template, clients int) *exchange {
	return &exchange{template: t, silent: silent, desks: make([]desk, clients)}
}

// comesBack reports whether a client's message is one that the canister answers.
func (x *exchange) comesBack(number uint64) bool {
	return x.silent == nil || number%(silentRun+1) == 0
}

// make makes the content of a client's message.
func (x *exchange) make(sender int, number uint64) []byte {
	if x.comesBack(number) {
		return x.template.make(sender, number)
	}
	return x.silent.make(sender, number)
}

// depart notes a message that is about to be sent and is to arrive at so many
// clients. done, if not nil, is called when it has.
func (x *exchange) depart(sender int, number uint64, due time.Time, arrivals int, done func()) {
	d := &x.desks[sender]
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.flights == nil {
		d.flights = make(map[uint64]*flight)
	}
	f := &flight{due: due, left: arrivals, done: done}
	if x.silent != nil {
		f.before = silentRun
	}
	d.flights[number] = f
	x.sent.Add(1)
}

// cancel takes a departure back.
func (x *exchange) cancel(sender int, number uint64) {
	d := &x.desks[sender]
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.flights, number)
	x.sent.Add(^uint64(0))
}

// arrive takes a content that a client has received.
func (x *exchange) arrive(content []byte, now time.Time) {
	sender, number, ok := x.template.find(content)
	if !ok || sender >= len(x.desks) {
		x.strange.Add(1)
		return
	}
	d := &x.desks[sender]
	d.mu.Lock()
	f := d.flights[number]
	if f == nil {
		d.mu.Unlock()
		x.strange.Add(1)
		return
	}
	f.left--
	if f.left == 0 {
		delete(d.flights, number)
	}
	last := f.left == 0
	d.mu.Unlock()
	x.sent.Add(f.before)
	x.latency.Add(now.Sub(f.due))
	x.received.Add(1)
	if last && f.done != nil {
		f.done()
	}
}

// missing counts the arrivals that have not come.
func (x *exchange) missing() (n int) {
	for i := range x.desks {
		d := &x.desks[i]
		d.mu.Lock()
		for _, f := range d.flights {
			n += f.left
		}
		d.mu.Unlock()
	}
	return n
}

// number gives a client's next message its number.
func (x *exchange) number(sender int) uint64 {
	d := &x.desks[sender]
	d.mu.Lock()
	defer d.mu.Unlock()
	d.next++
	return d.next
}

// following is what number would give.
func (x *exchange) following(sender int) uint64 {
	d := &x.desks[sender]
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.next + 1
}
