package plugin

import (
	"context"
	"sync"

	"github.com/icrelay/icrelay/bridge"
	"github.com/icrelay/icrelay/ic"
)

// underway are the envelopes that the process has been given with calls that it
// has not answered: it need not send them back. There are as many as calls, so
// the windows of clients bound them.
type underway struct {
	mu        sync.Mutex
	envelopes map[[32]byte]*given
}

type given struct {
	envelope bridge.Envelope
	ctx      context.Context //nolint:containedctx // of the first call, for what it wants to be told
	calls    int
}

// add notes an envelope until forget is called.
func (u *underway) add(ctx context.Context, env *bridge.Envelope) (forget func()) {
	u.mu.Lock()
	defer u.mu.Unlock()
	g := u.envelopes[env.RequestID]
	if g == nil {
		if u.envelopes == nil {
			u.envelopes = make(map[[32]byte]*given)
		}
		g = &given{envelope: *env, ctx: ctx}
		u.envelopes[env.RequestID] = g
	}
	g.calls++
	return func() {
		u.mu.Lock()
		defer u.mu.Unlock()
		if g.calls--; g.calls == 0 {
			delete(u.envelopes, g.envelope.RequestID)
		}
	}
}

// find returns the envelope of a request id.
func (u *underway) find(id []byte) (env bridge.Envelope, ok bool) {
	if len(id) != len(env.RequestID) {
		return env, false
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	g := u.envelopes[[32]byte(id)]
	if g == nil {
		return env, false
	}
	return g.envelope, true
}

// answered tells the gateway of an answer that the process does not have yet.
func (u *underway) answered(id [32]byte) {
	u.mu.Lock()
	g := u.envelopes[id]
	u.mu.Unlock()
	if g != nil {
		ic.Answered(g.ctx)
	}
}
