package cdk

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/icrelay/icrelay/candid"
	"github.com/icrelay/icrelay/ic"
)

// gates keep calls of a canister that is not reached, or takes nothing, from
// asking again each for itself: while a canister's gate is closed one call at a
// time tries, after pauses that grow, and all others wait for what becomes of
// it. Thousands of clients then cost a network that is away, or asks for time,
// no more than one does. There is a gate only while calls of the canister fail.
type gates struct {
	mu  sync.Mutex
	all map[candid.Principal]*gate
}

type gate struct {
	holders  int // visits that know it
	failures int // in a row; it is closed from tolerated on
	err      error
	pause    time.Duration // after the last failure
	next     time.Time     // when a call may try
	asked    time.Time     // until when the network has asked for time
	trying   bool          // a call tries
	waiting  int
	open     bool          // it is of no use any more
	changed  chan struct{} // closed when next, trying or open change
}

const (
	// tolerated failures in a row may have many causes, one bad replica among them.
	tolerated = 3
	// Calls that have waited do not all go at once when the gate opens: at about a
	// thousand in a second, and within a bound.
	rush        = time.Millisecond
	longestRush = 2 * time.Second
)

// A visit is one forwarded call's way through a canister's gate, as often as it is submitted.
type visit struct {
	gates    *gates
	canister candid.Principal
	gate     *gate // nil: none is known
	tries    bool  // for those who wait
}

func (g *gates) visit(canister candid.Principal) *visit {
	return &visit{gates: g, canister: canister}
}

// enter waits until the call may be submitted; done must follow. An error is
// what keeps the gate closed.
func (v *visit) enter(ctx context.Context) error {
	for {
		v.gates.mu.Lock()
		v.find()
		if v.gate == nil || v.gate.failures < tolerated {
			v.gates.mu.Unlock()
			return nil
		}
		wait := time.Until(v.gate.next)
		if !v.gate.trying && wait <= 0 {
			v.gate.trying, v.tries = true, true
			v.gates.mu.Unlock()
			return nil
		}
		gate, err := v.gate, v.gate.err
		if gate.trying {
			wait = time.Hour // until it has changed
		}
		gate.waiting++
		changed := gate.changed
		v.gates.mu.Unlock()

		ended := sleep(ctx, wait, changed)
		v.gates.mu.Lock()
		pause := time.Duration(0)
		if gate.open {
			pause = rand.N(min(time.Duration(gate.waiting)*rush, longestRush)) //nolint:gosec // spreading needs no secrecy
		} else {
			gate.waiting--
		}
		v.gates.mu.Unlock()
		if ended != nil || sleep(ctx, pause, nil) != nil {
			return err
		}
	}
}

// done says how the call fared.
func (v *visit) done(err error) {
	v.gates.mu.Lock()
	defer v.gates.mu.Unlock()
	tried := v.tries
	v.tries = false
	v.find()
	switch ended := errors.Is(err, context.Canceled); {
	case !ended && mayPass(err):
		v.fail(err, tried)
	case v.gate == nil:
	case !ended && time.Now().After(v.gate.asked): // an answer
		delete(v.gates.all, v.canister)
		v.gate.open = true
		v.gate.change()
	case tried:
		v.gate.trying = false
		v.gate.change()
	}
}

func (v *visit) fail(err error, tried bool) {
	if v.gate == nil {
		if v.gates.all == nil {
			v.gates.all = make(map[candid.Principal]*gate)
		}
		v.gate = &gate{holders: 1, pause: firstWait, changed: make(chan struct{})}
		v.gates.all[v.canister] = v.gate
	}
	g := v.gate
	g.failures++
	g.err = err
	asked := ic.RetryAfter(err)
	if asked > 0 {
		g.failures = max(g.failures, tolerated)
		g.asked = time.Now().Add(asked)
	}
	switch {
	case tried:
		g.trying = false
		g.pause = min(2*g.pause, longWait)
	case g.failures > tolerated && asked == 0:
		return // it was under way when the gate was closed
	}
	next := time.Now().Add(asked + g.pause/2 + rand.N(g.pause/2)) //nolint:gosec // jitter needs no secrecy
	if next.After(g.next) {
		g.next = next
	}
	g.change()
}

// pause waits after a failure, unless enter will wait anyway.
func (v *visit) pause(ctx context.Context, wait time.Duration, err error) error {
	v.gates.mu.Lock()
	v.find()
	closed := v.gate != nil && v.gate.failures >= tolerated
	v.gates.mu.Unlock()
	if closed {
		return ctx.Err()
	}
	return ic.Pause(ctx, wait, err)
}

// leave ends the visit.
func (v *visit) leave() {
	v.gates.mu.Lock()
	defer v.gates.mu.Unlock()
	v.find()
	if v.gate == nil {
		return
	}
	if v.gate.holders--; v.gate.holders == 0 {
		delete(v.gates.all, v.canister)
	}
}

// find looks up the canister's gate, with mu held.
func (v *visit) find() {
	if v.gate != nil && !v.gate.open {
		return
	}
	if v.gate = v.gates.all[v.canister]; v.gate != nil {
		v.gate.holders++
	}
}

func (g *gate) change() {
	close(g.changed)
	g.changed = make(chan struct{})
}

// sleep ends with an error only if ctx ends.
func sleep(ctx context.Context, d time.Duration, earlier <-chan struct{}) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-earlier:
	case <-timer.C:
	}
	return nil
}
