package client

import (
	"fmt"
	"sync"
	"time"
)

// markEvery is how finely sending times are kept: one mark for all messages
// sent within it, so that a fast sender's memory stays small.
const markEvery = time.Second

// acks watches that the canister acknowledges what was sent.
type acks struct {
	timeout time.Duration

	mu         sync.Mutex
	last       uint64   // highest sequence number sent
	acked      uint64   // highest sequence number acknowledged
	marks      []mark   // ascending; the first covers message acked+1
	services   []uint64 // sequence numbers above acked that keep-alives have, ascending
	keepAlives uint64   // how many keep-alives were acknowledged
}

type mark struct {
	from uint64 // messages from this sequence number up to the next mark's
	at   time.Time
}

// sent notes a message just before it is written, so that no acknowledgement
// can come before the note.
func (a *acks) sent(sequence uint64, service bool, at time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.last = sequence
	if service {
		a.services = append(a.services, sequence) // one for each acknowledgement, so that few wait
	}
	if n := len(a.marks); n == 0 || at.Sub(a.marks[n-1].at) >= markEvery {
		a.marks = append(a.marks, mark{sequence, at})
	}
}

// received takes the canister's word that everything up to sequence arrived.
func (a *acks) received(sequence uint64) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if sequence > a.last {
		return fmt.Errorf("%w: message %d acknowledged, only %d were sent", ErrService, sequence, a.last)
	}
	a.acked = max(a.acked, sequence)
	for len(a.services) > 0 && a.services[0] <= a.acked {
		a.services = a.services[1:]
		a.keepAlives++
	}
	if a.acked == a.last {
		a.marks = a.marks[:0]
		return nil
	}
	covered := 0
	for covered+1 < len(a.marks) && a.marks[covered+1].from <= a.acked+1 {
		covered++
	}
	a.marks = a.marks[:copy(a.marks, a.marks[covered:])]
	return nil
}

// messages is how many of the acknowledged messages were the program's.
func (a *acks) messages() uint64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.acked - a.keepAlives
}

// deadline is when the oldest unacknowledged message is overdue, if there is one.
func (a *acks) deadline() (time.Time, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.marks) == 0 {
		return time.Time{}, false
	}
	return a.marks[0].at.Add(a.timeout), true
}
