package bridge

import (
	"errors"
	"sync"
	"sync/atomic"
)

// counters is what the gateway counts. None of it grows with the clients, and
// what is counted for each frame needs no lock.
type counters struct {
	accepted atomic.Uint64 // sockets
	bytesIn  atomic.Uint64 // on clients' sockets
	bytesOut atomic.Uint64

	messagesIn    atomic.Uint64 // client to canister, accepted by the canister
	messagesOut   atomic.Uint64 // canister to client, queued
	messagesStale atomic.Uint64 // fetched for a client that is not here
	queueDrops    atomic.Uint64 // frames thrown away with the queue of a client that did not read
	pollErrors    atomic.Uint64

	sessions [states]atomic.Int64
	opens    [outcomes]atomic.Uint64
	refusals [causes]atomic.Uint64
	failures [flaws]atomic.Uint64 // batches that were not forwarded

	mu     sync.Mutex
	closes map[int]uint64 // sessions ended by the gateway, by close code
}

// closed counts the close code of a session that the gateway has ended.
func (c *counters) closed(code int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closes == nil {
		c.closes = make(map[int]uint64)
	}
	c.closes[code]++
}

// flawed counts a batch that was not forwarded.
func (c *counters) flawed(err error) {
	var f *flawedError
	if errors.As(err, &f) {
		c.failures[f.flaw].Add(1)
	}
}

func (c *counters) refuse(cause cause) { c.refusals[cause].Add(1) }

// An outcome is what became of a ws_open that was forwarded.
type outcome int

const (
	openAccepted outcome = iota
	openRefused
	openUnreachable
	outcomes // how many there are
)

var outcomeNames = [outcomes]string{"ok", "refused", "unreachable"}
