package bridge

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/gorilla/websocket"

	"github.com/icrelay/icrelay/candid"
	"github.com/icrelay/icrelay/ic"
)

// Options says what a Gateway is made of.
type Options struct {
	Principal candid.Principal // of the identity that the adapters sign with; clients name it in ws_open
	Routes    []Route
	Verifier  *ic.Verifier // with the network's root key
	Limits    Limits
	Polling   Polling
	Info      Info   // served at /info; routes and principal are filled in
	Web       string // folder served at /, "" for none
	Log       *slog.Logger

	// FirstMessageDelay is the least time between the handshake and the first
	// message to a client. The stock client fetches the root key of a network
	// that is not mainnet in the background, and gives up on a message that it
	// verifies before: a network that answers within milliseconds is too fast
	// for it.
	FirstMessageDelay time.Duration

	Now func() time.Time // for certificates and expiries; time.Now if nil
}

// A Gateway is an http.Handler that accepts WebSockets. Stop ends it.
type Gateway struct {
	principal candid.Principal
	routes    *routes
	verifier  *ic.Verifier
	limits    Limits
	polling   Polling
	info      Info
	web       string
	log       *slog.Logger
	now       func() time.Time
	handshake []byte

	firstMessageDelay time.Duration

	upgrader websocket.Upgrader
	count    counters

	ctx     context.Context // ends when the gateway must not wait any longer
	cancel  context.CancelFunc
	running sync.WaitGroup // sessions and pollers

	mu       sync.Mutex
	stopped  bool
	sockets  int // open or being upgraded; a session outlives its socket by the calls under way
	sessions map[*session]struct{}
	hubs     map[candid.Principal]*hub
}

// New returns a Gateway that is ready to serve.
func New(o Options) (*Gateway, error) {
	switch {
	case o.Principal == "" || o.Principal.IsAnonymous():
		return nil, errors.New("bridge: the gateway needs a principal of its own")
	case o.Verifier == nil:
		return nil, errors.New("bridge: the gateway needs a verifier")
	}
	routes, err := newRoutes(o.Routes)
	if err != nil {
		return nil, err
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	g := &Gateway{
		principal: o.Principal,
		routes:    routes,
		verifier:  o.Verifier,
		limits:    o.Limits.withDefaults(),
		polling:   o.Polling.withDefaults(),
		info:      o.Info.complete(o.Principal, o.Routes),
		web:       o.Web,
		log:       o.Log,
		now:       o.Now,
		handshake: candid.EncodeHandshake(o.Principal),

		firstMessageDelay: o.FirstMessageDelay,

		upgrader: newUpgrader(),
		sessions: make(map[*session]struct{}),
		hubs:     make(map[candid.Principal]*hub),
	}
	g.ctx, g.cancel = context.WithCancel(context.Background())
	return g, nil
}

// Check asks every adapter that can to look at its canister, all at once, and
// returns what they object to. The gateway works all the same: a canister may
// be mended.
func (g *Gateway) Check(ctx context.Context) error {
	var group sync.WaitGroup
	var mu sync.Mutex
	var problems []error
	for _, route := range g.routes.byCanister {
		checker, ok := route.Adapter.(Checker)
		if !ok {
			continue
		}
		group.Go(func() {
			if err := checker.Check(ctx, route.Canister); err != nil {
				mu.Lock()
				defer mu.Unlock()
				problems = append(problems, err)
			}
		})
	}
	group.Wait()
	return errors.Join(problems...)
}

// Stop refuses new sockets, ends every session with "going away", tells the
// canisters, and returns when everything has ended. When ctx or the stop
// timeout ends first, calls under way are cancelled.
func (g *Gateway) Stop(ctx context.Context) {
	g.mu.Lock()
	g.stopped = true
	sessions := make([]*session, 0, len(g.sessions))
	for s := range g.sessions {
		sessions = append(sessions, s)
	}
	g.mu.Unlock()

	for _, s := range sessions {
		s.end(CloseReason{CloseGoingAway, "the gateway stops; reconnect, another one may answer"})
	}
	ctx, cancel := context.WithTimeout(ctx, g.limits.StopTimeout)
	defer cancel()
	drained := context.AfterFunc(ctx, func() {
		g.cancel()
		for _, s := range sessions {
			_ = s.conn.Close()
		}
	})
	for _, s := range sessions {
		<-s.ended
	}
	drained()
	g.cancel() // pollers
	g.running.Wait()
}

// start runs a session, unless the gateway is stopping, on a socket for which
// a place was reserved.
func (g *Gateway) start(conn *websocket.Conn) {
	s := newSession(g, conn)
	g.mu.Lock()
	if g.stopped {
		g.mu.Unlock()
		_ = conn.Close()
		g.free()
		return
	}
	g.sessions[s] = struct{}{}
	g.running.Add(1)
	g.mu.Unlock()

	go func() {
		defer g.running.Done()
		defer close(s.ended)
		s.run(g.ctx)
		g.mu.Lock()
		delete(g.sessions, s)
		g.mu.Unlock()
	}()
}

// reserve takes a place for a socket, which must be given back by free.
func (g *Gateway) reserve() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.stopped || g.sockets >= g.limits.MaxConnections {
		return false
	}
	g.sockets++
	return true
}

func (g *Gateway) free() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.sockets--
}

// connections returns the number of sockets, and whether new ones are welcome.
func (g *Gateway) connections() (n int, open bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.sockets, !g.stopped
}

func (g *Gateway) stopping() bool {
	_, open := g.connections()
	return !open
}

// enter joins a session to its canister's hub. false means that the key is taken.
func (g *Gateway) enter(canister candid.Principal, route *Route, key candid.ClientKey, s *session) (*hub, bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	h := g.hubs[canister]
	if h == nil {
		h = newHub(g, canister, route)
		g.hubs[canister] = h
	}
	return h, h.join(key, s)
}

// release forgets a canister that only the open route leads to and that
// nobody uses: clients choose its id, so these must not pile up.
func (g *Gateway) release(h *hub) {
	if !h.route.Any {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if h.unused() && g.hubs[h.canister] == h {
		delete(g.hubs, h.canister)
	}
}
