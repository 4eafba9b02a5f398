package bridge

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/icrelay/icrelay/candid"
)

// A hub is one canister and its sessions on this gateway.
type hub struct {
	gateway  *Gateway
	canister candid.Principal
	route    *Route
	log      *slog.Logger
	woken    chan struct{} // holds one token: poll now

	mu       sync.Mutex
	sessions map[candid.ClientKey]*member
	open     int  // members whose ws_open the canister accepted
	polling  bool // a poller goroutine runs

	poller sync.Mutex // held by the poller: one ends, watcher included, before the next begins
	next   uint64     // nonce of the next message; guarded by poller
}

// A member is a session in a hub.
type member struct {
	session *session
	open    bool      // the canister said Ok
	greeted bool      // a message has come for it
	waiting time.Time // since when an open member waits to be greeted
}

func newHub(g *Gateway, canister candid.Principal, route *Route) *hub {
	return &hub{
		gateway:  g,
		canister: canister,
		route:    route,
		log:      g.log.With("canister", canister.String()),
		woken:    make(chan struct{}, 1),
		sessions: make(map[candid.ClientKey]*member),
	}
}

// join enters a session whose ws_open is about to be forwarded, so that it
// can catch its first message. It never replaces another session.
func (h *hub) join(key candid.ClientKey, s *session) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.sessions[key] != nil {
		return false
	}
	h.sessions[key] = &member{session: s}
	return true
}

// opened notes the canister's Ok and makes sure that somebody polls.
func (h *hub) opened(s *session) {
	h.mu.Lock()
	defer h.mu.Unlock()
	m := h.sessions[s.key]
	m.open, m.waiting = true, time.Now()
	h.open++
	if !h.polling {
		h.polling = true
		h.gateway.running.Go(func() { h.poll(h.gateway.ctx) })
	}
	h.wake()
}

// leave forgets a session that has ended and tells the canister.
func (h *hub) leave(ctx context.Context, s *session) {
	h.mu.Lock()
	if m := h.sessions[s.key]; m != nil && m.open {
		h.open--
	}
	delete(h.sessions, s.key)
	h.mu.Unlock()
	h.wake() // a poller with nobody left ends
	h.gateway.release(h)

	if !s.registered {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, h.gateway.limits.CallTimeout)
	defer cancel()
	if err := h.route.Adapter.Close(ctx, h.canister, s.key); err != nil {
		s.log.Warn("canister not told that the client has gone; its own timeout will remove it", "error", err)
	}
}

// wake makes the poller poll at once. It never blocks.
func (h *hub) wake() {
	select {
	case h.woken <- struct{}{}:
	default:
	}
}

// member returns the session that a message is for, if it is here.
func (h *hub) member(key candid.ClientKey) *session {
	h.mu.Lock()
	defer h.mu.Unlock()
	m := h.sessions[key]
	if m == nil {
		return nil
	}
	m.greeted = true
	return m.session
}

// unused reports whether neither a session nor a poller needs the hub.
func (h *hub) unused() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.sessions) == 0 && !h.polling
}

// idle ends the poller's job if nobody needs it.
func (h *hub) idle() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.open > 0 {
		return false
	}
	h.polling = false
	return true
}

// ungreeted returns the sessions that have been open for a while without a
// message, although a canister's first message is certain. Their wait begins
// anew, so that the question is asked once in a while and not at every poll.
func (h *hub) ungreeted(patience time.Duration) map[candid.ClientKey]bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	var keys map[candid.ClientKey]bool
	for key, m := range h.sessions {
		if m.open && !m.greeted && time.Since(m.waiting) > patience {
			m.waiting = time.Now()
			if keys == nil {
				keys = make(map[candid.ClientKey]bool)
			}
			keys[key] = true
		}
	}
	return keys
}

// endGreeted ends every session that lived on the state that the canister has lost.
func (h *hub) endGreeted(reason CloseReason) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, m := range h.sessions {
		if m.greeted {
			m.session.end(reason)
		}
	}
}
