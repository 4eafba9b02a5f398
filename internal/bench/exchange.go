package bench

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/icrelay/icrelay/internal/histogram"
)

// An exchange is all messages of a run: which are under way, and what was
// counted. It counts from the first message to the last; what of it falls into the
// measured time, the run reads off at its end.
type exchange struct {
	template *template           // of messages that come back
	silent   *template           // of those that do not, nil if all come back
	latency  histogram.Histogram // from the moment that a message was due to each arrival

	sent      atomic.Uint64 // given to the client's connection
	confirmed atomic.Uint64 // of those, in the pattern send, what an arrival has told of: itself, and the silent ones before it
	received  atomic.Uint64 // arrivals that were wanted
	missing   atomic.Int64  // arrivals that are wanted and have not come
	dropped   atomic.Uint64 // arrivals that were wanted until the connection that they were to come on ended
	late      atomic.Uint64 // signed while somebody waited for it

	bytesOut, bytesIn atomic.Uint64 // frames of what sent and received count

	strange strangers

	desks []desk // one for each client, so that they do not wait for each other

	everybody bool // messages come to all listeners, and not to their sender alone
	speaker   int  // the only client that sends then
	listeners set  // whose connections are open; guarded by the speaker's desk
}

// strangers count arrivals that nobody wanted.
type strangers struct {
	again   atomic.Uint64 // at this client before
	astray  atomic.Uint64 // of a message that is for its sender, at another client
	silent  atomic.Uint64 // of a message that was to stay with the canister
	foreign atomic.Uint64 // of a message that this run has not sent
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
	owed   set    // who they are missing at; nil: at the sender alone
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

// speak has one client's messages come to all of some clients.
func (x *exchange) speak(speaker int, listeners []*member) {
	x.everybody, x.speaker, x.listeners = true, speaker, newSet(len(x.desks))
	for _, m := range listeners {
		x.listeners.add(m.index)
	}
}

// depart notes a message that is about to be sent. done, if not nil, is called
// when it has arrived.
func (x *exchange) depart(sender int, number uint64, due time.Time, done func()) {
	d := &x.desks[sender]
	d.mu.Lock()
	defer d.mu.Unlock()
	f := &flight{due: due, left: 1, done: done}
	if x.everybody {
		f.owed = x.listeners.clone()
		f.left = f.owed.number()
	}
	if x.silent != nil {
		f.before = silentRun
	}
	if d.flights == nil {
		d.flights = make(map[uint64]*flight)
	}
	d.flights[number] = f
	x.missing.Add(int64(f.left))
}

// departed counts a message that the client's connection has taken.
func (x *exchange) departed(frameBytes int) {
	x.sent.Add(1)
	x.bytesOut.Add(onWire(frameBytes, true))
}

// cancel takes a departure back: the message was not sent.
func (x *exchange) cancel(sender int, number uint64) {
	d := &x.desks[sender]
	d.mu.Lock()
	defer d.mu.Unlock()
	if f := d.flights[number]; f != nil {
		delete(d.flights, number)
		x.missing.Add(-int64(f.left))
	}
}

// arrive takes what a client has received.
func (x *exchange) arrive(receiver int, content []byte, frameBytes int, now time.Time) {
	sender, number, ok := x.template.find(content)
	if !ok || sender >= len(x.desks) {
		x.strange.foreign.Add(1)
		return
	}
	d := &x.desks[sender]
	d.mu.Lock()
	f, kind := x.land(d, sender, receiver, number)
	if f == nil {
		d.mu.Unlock()
		kind.Add(1)
		return
	}
	last := f.left == 0
	d.mu.Unlock()
	x.missing.Add(-1)
	if x.silent != nil {
		x.confirmed.Add(f.before + 1)
	}
	x.latency.Add(now.Sub(f.due))
	x.received.Add(1)
	x.bytesIn.Add(onWire(frameBytes, false))
	if last && f.done != nil {
		f.done()
	}
}

// land finds the flight of an arrival and takes the arrival off it, or says why
// nobody wanted it. It is called with the sender's desk locked.
func (x *exchange) land(d *desk, sender, receiver int, number uint64) (*flight, *atomic.Uint64) {
	f := d.flights[number]
	switch {
	case number == 0 || number > d.next:
		return nil, &x.strange.foreign
	case !x.everybody && receiver != sender:
		return nil, &x.strange.astray
	case !x.comesBack(number):
		return nil, &x.strange.silent
	case f == nil || x.everybody && !f.owed.remove(receiver):
		return nil, &x.strange.again
	}
	if f.left--; f.left == 0 {
		delete(d.flights, number)
	}
	return f, nil
}

// leave takes what is to come to a client whose connection has ended off all
// flights: nobody waits for it any more.
func (x *exchange) leave(client int) {
	sender := client
	if x.everybody {
		sender = x.speaker
	}
	d := &x.desks[sender]
	d.mu.Lock()
	x.listeners.remove(client)
	var landed []func()
	for number, f := range d.flights {
		if x.everybody && !f.owed.remove(client) {
			continue
		}
		x.missing.Add(-1)
		x.dropped.Add(1)
		if f.left--; f.left > 0 {
			continue
		}
		delete(d.flights, number)
		if f.done != nil {
			landed = append(landed, f.done)
		}
	}
	d.mu.Unlock()
	for _, done := range landed {
		done()
	}
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
