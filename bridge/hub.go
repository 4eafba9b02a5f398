package bridge

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/icrelay/icrelay/candid"
)

// A hub is one canister and its sessions on this gateway.
type hub struct {
	gateway  *Gateway
	canister candid.Principal
	route    atomic.Pointer[Route] // see reroute.go
	log      *slog.Logger
	woken    chan struct{} // holds one token: poll now
	reached  atomic.Bool   // the canister has answered a call: errors of polls may be over
	doubted  atomic.Int64  // the canister may have lost its state, until then, in nanoseconds since 1970; 0: it has not. See reset.go

	farewells chan struct{} // holds one for each that is under way

	mu       sync.Mutex
	sessions map[candid.ClientKey]*member
	open     int  // members whose ws_open the canister accepted
	polling  bool // a poller goroutine runs

	poller   sync.Mutex // held by the poller: one ends, watcher included, before the next begins
	queue    position   // how far the canister's queue was read; guarded by poller
	stream   *stream    // asks for what follows, nil for none; guarded by poller
	rejected rejection  // of polls, by the network or the canister; guarded by poller
}

// A member is a session in a hub.
type member struct {
	session *session
	open    bool      // the canister said Ok
	greeted bool      // its first message has come
	waiting time.Time // since when an open member waits to be greeted
}

func newHub(g *Gateway, canister candid.Principal, route *Route) *hub {
	h := &hub{
		gateway:  g,
		canister: canister,
		log:      g.log.With("canister", canister.String()),
		woken:    make(chan struct{}, 1),
		sessions: make(map[candid.ClientKey]*member),

		farewells: make(chan struct{}, g.farewells),
	}
	h.route.Store(route)
	return h
}

// join enters a session whose ws_open is about to be forwarded, so that it
// can catch its first message. It never replaces another session.
func (h *hub) join(key candid.ClientKey, s *session) *refusal {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.sessions[key] != nil {
		return refuse(causeDuplicate, CloseDuplicate, "a connection with this client key is open already; a new connection needs a new client_nonce")
	}
	if len(h.sessions) >= h.gateway.limits.MaxConnectionsPerCanister {
		return refuse(causeConnectionsPerCanister, CloseTryAgainLater, "this canister has as many connections as it may have here, try again later")
	}
	h.sessions[key] = &member{session: s}
	return nil
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
	h.answered()
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
	h.gateway.left(s.key.Principal)
	h.gateway.release(h)

	if !s.registered {
		return
	}
	if err := h.farewell(ctx, s); err != nil {
		s.log.Load().Warn("canister not told that the client has gone; its own timeout will remove it", "error", err)
	}
}

// maxFarewells is how many calls may tell a canister at a time that a client has
// gone: when a load balancer goes, all go at once, and such calls are not urgent.
const maxFarewells = 1024

// farewell tells the canister that a client has gone.
func (h *hub) farewell(ctx context.Context, s *session) error {
	ctx, cancel := context.WithTimeout(ctx, h.gateway.limits.CallTimeout)
	defer cancel()
	select {
	case h.farewells <- struct{}{}:
		defer func() { <-h.farewells }()
	case <-ctx.Done():
		return ctx.Err()
	}
	route := h.route.Load()
	defer took(route.times.close, time.Now())
	if resumer, ok := route.Adapter.(Resumer); ok && !s.departed {
		return resumer.Lost(ctx, h.canister, s.key)
	}
	return route.Adapter.Close(ctx, h.canister, s.key)
}

// wake makes the poller poll at once. It never blocks.
func (h *hub) wake() {
	select {
	case h.woken <- struct{}{}:
	default:
	}
}

// answered notes that the canister has answered a call, and has most likely
// something to say.
func (h *hub) answered() {
	h.reached.Store(true)
	h.wake()
}

// verified is answered for a call whose answer has woken the poller when it came:
// only polls that have failed wait for more than that.
func (h *hub) verified() {
	if !h.reached.Swap(true) {
		h.wake()
	}
}

// doubt makes the poller find out whether the canister still has its state now.
func (h *hub) doubt() {
	h.doubted.Store(time.Now().UnixNano())
	h.wake()
}

// mayHaveReset is doubt about some time in the past.
func (h *hub) mayHaveReset() { h.doubted.CompareAndSwap(0, 1) }

// recipient returns the session that a message is for, if it is here, and
// whether it has had no message before.
func (h *hub) recipient(key candid.ClientKey) (s *session, first bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	m := h.sessions[key]
	if m == nil {
		return nil, false
	}
	first = !m.greeted
	m.greeted = true
	return m.session, first
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

// waitsForGreeting reports whether a session has been open for a while without
// a message, although a canister's first message is certain. The wait begins
// anew, so that this is asked once in a while and not at every poll.
func (h *hub) waitsForGreeting(patience time.Duration) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	found := false
	for _, m := range h.sessions {
		if m.open && !m.greeted && time.Since(m.waiting) > patience {
			m.waiting = time.Now()
			found = true
		}
	}
	return found
}

// hasGreeted reports whether a session lives on what the canister knows.
func (h *hub) hasGreeted() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, m := range h.sessions {
		if m.greeted {
			return true
		}
	}
	return false
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

// endOpen ends every session that waits for messages of the canister.
func (h *hub) endOpen(reason CloseReason) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, m := range h.sessions {
		if m.open {
			m.session.end(reason)
		}
	}
}

// isNew reports whether a client is here and has had no message yet.
func (h *hub) isNew(key candid.ClientKey) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	m := h.sessions[key]
	return m != nil && !m.greeted
}

// endLost ends all sessions if err says that their adapter has lost them.
func (h *hub) endLost(err error) {
	text, lost := lostText(err)
	if !lost {
		return
	}
	n := 0
	for _, s := range h.all() {
		if s.finish(CloseReason{CloseTryAgainLater, firstLine(text)}, false) {
			n++
		}
	}
	if n > 0 {
		h.log.Warn("the adapter has lost the sessions of this canister; they are told to try again later", "sessions", n, "error", err)
	}
}
