package bridge

import (
	"sync"
	"sync/atomic"
)

// counters is what the gateway counts. None of it grows with the clients.
type counters struct {
	messagesIn    atomic.Uint64 // client to canister, accepted by the canister
	messagesOut   atomic.Uint64 // canister to client, queued
	messagesStale atomic.Uint64 // fetched for a client that is not here
	pollErrors    atomic.Uint64

	mu     sync.Mutex
	closes map[int]uint64 // sessions ended by the gateway, by close code
}

func (c *counters) refused(code int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closes == nil {
		c.closes = make(map[int]uint64)
	}
	c.closes[code]++
}
