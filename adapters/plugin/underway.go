package plugin

import (
	"sync"

	"github.com/icrelay/icrelay/bridge"
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
	calls    int
}

// add notes an envelope until forget is called.
func (u *underway) add(env *bridge.Envelope) (forget func()) {
	u.mu.Lock()
	defer u.mu.Unlock()
	g := u.envelopes[env.RequestID]
	if g == nil {
		if u.envelopes == nil {
			u.envelopes = make(map[[32]byte]*given)
		}
		g = &given{envelope: *env}
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
