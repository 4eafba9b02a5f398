package bridge

import (
	"sync"
	"time"
)

// maxOpens bounds the opens that are remembered: six minutes of 200 a second.
const maxOpens = 72_000

// opens remembers each ws_open that went to a canister until it expires, so
// that nobody can use it a second time. The network would not execute it again
// either, but it would repeat the answer, and the gateway would take an old Ok
// for a new one.
//
// An envelope's request id covers its expiry, so an id can only be in the
// generation of that expiry, and a generation whose time is over is dropped as
// a whole. Where there are too many, those that expire first are forgotten:
// what a replay then gets is a session without a message, which the open
// timeout ends.
type opens struct {
	mu          sync.Mutex
	limit       int
	count       int
	generations map[int64]map[[32]byte]struct{} // by the minute in which they expire
}

func newOpens(limit int) *opens {
	return &opens{limit: limit, generations: make(map[int64]map[[32]byte]struct{})}
}

// first reports whether a request is seen for the first time.
func (o *opens) first(id [32]byte, expiry, now time.Time) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	minute := expiry.Unix() / 60
	if _, seen := o.generations[minute][id]; seen {
		return false
	}
	for m := range o.generations {
		if m < now.Unix()/60 {
			o.drop(m)
		}
	}
	for o.count >= o.limit {
		o.dropSoonest()
	}
	if o.generations[minute] == nil {
		o.generations[minute] = make(map[[32]byte]struct{})
	}
	o.generations[minute][id] = struct{}{}
	o.count++
	return true
}

func (o *opens) dropSoonest() {
	soonest := int64(1<<63 - 1)
	for m := range o.generations {
		soonest = min(soonest, m)
	}
	o.drop(soonest)
}

func (o *opens) drop(minute int64) {
	o.count -= len(o.generations[minute])
	delete(o.generations, minute)
}
