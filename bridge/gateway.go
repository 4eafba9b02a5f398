package bridge

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"
	"github.com/prometheus/client_golang/prometheus"

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

	// TrustedProxies are the networks whose X-Forwarded-For and Forwarded headers
	// are believed; nil means loopback, an empty list nobody.
	TrustedProxies []netip.Prefix

	// AllowedOrigins are the pages that may connect: "https://app.example.com",
	// "https://*.example.com", "null" or "*"; none means any. Clients without an
	// Origin header, which are no browsers, may connect unless it is required.
	AllowedOrigins []string
	RequireOrigin  bool

	// Reachable reports whether the network answers, for GET /ready. nil: nobody knows.
	Reachable func(context.Context) error

	// Certificates reports whether clients can connect by TLS, for GET /ready.
	// nil: there is no TLS, or it is somebody else's business.
	Certificates func() error

	// LocalMetrics serves GET /metrics to programs on this machine. MetricsHandler
	// serves the same on a listener of its own.
	LocalMetrics bool

	// Collectors add metrics of what is not the gateway's to its own.
	Collectors []prometheus.Collector

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
	routes    atomic.Pointer[routes] // changed with mu held
	verifier  *ic.Verifier
	limits    Limits
	polling   Polling
	info      atomic.Pointer[Info]
	web       string
	log       *slog.Logger
	now       func() time.Time
	handshake *frame

	firstMessageDelay time.Duration

	upgrader  websocket.Upgrader
	proxies   proxies
	origins   origins
	admission *admission
	visitors  *visitors
	opens     *opens
	ready     readiness

	count          counters
	metrics        *metrics
	metricsHandler http.Handler // for /metrics; nil: none

	ctx     context.Context // ends when the gateway must not wait any longer
	cancel  context.CancelFunc
	calls   context.Context // ends before it: when clients' calls must not be waited for any longer
	hangUp  context.CancelFunc
	running sync.WaitGroup // sessions, their workers, and pollers
	workers *workers       // for calls

	farewells int // calls that may tell a canister at a time that a client has gone

	mu         sync.Mutex
	stopped    bool
	sessions   map[*session]struct{} // a session outlives its socket by the calls under way
	hubs       map[candid.Principal]*hub
	principals map[candid.Principal]int      // sessions in hubs
	places     map[candid.Principal]position // of hubs that were released
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
	origins, err := newOrigins(o.AllowedOrigins, o.RequireOrigin)
	if err != nil {
		return nil, err
	}
	if o.TrustedProxies == nil {
		o.TrustedProxies = loopback
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	g := &Gateway{
		principal: o.Principal,
		verifier:  o.Verifier,
		limits:    o.Limits.withDefaults(),
		polling:   o.Polling.withDefaults(),
		web:       o.Web,
		log:       o.Log,
		now:       o.Now,
		handshake: &frame{bytes: candid.EncodeHandshake(o.Principal), shared: true},

		firstMessageDelay: o.FirstMessageDelay,

		upgrader: newUpgrader(),
		proxies:  o.TrustedProxies,
		origins:  origins,
		opens:    newOpens(maxOpens),
		ready:    readiness{reachable: o.Reachable, certificates: o.Certificates},

		farewells:  maxFarewells,
		sessions:   make(map[*session]struct{}),
		hubs:       make(map[candid.Principal]*hub),
		principals: make(map[candid.Principal]int),
		places:     make(map[candid.Principal]position),
	}
	g.admission = newAdmission(g.limits)
	g.visitors = newVisitors(g.limits, g.proxies, &g.count)
	g.metrics = newMetrics(g, o.Collectors)
	routes.measure(g.metrics)
	g.routes.Store(routes)
	info := o.Info.complete(o.Principal, o.Routes)
	g.info.Store(&info)
	if o.LocalMetrics {
		g.metricsHandler = g.MetricsHandler()
	}
	g.ctx, g.cancel = context.WithCancel(context.Background())
	g.calls, g.hangUp = context.WithCancel(g.ctx)
	g.workers = &workers{idle: make(chan func()), stay: workerStays, ended: g.ctx.Done(), running: &g.running}
	return g, nil
}

// Check asks every adapter that can to look at its canister, all at once, and
// returns what they object to. The gateway works all the same: a canister may
// be mended.
func (g *Gateway) Check(ctx context.Context) error {
	var group sync.WaitGroup
	var mu sync.Mutex
	var problems []error
	for _, route := range g.routes.Load().byCanister {
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
	g.ready.problems.Store(int64(len(problems)))
	g.ready.checked.Store(true)
	return errors.Join(problems...)
}

// Stop refuses new sockets, ends every session with "going away", tells the
// canisters, and returns when everything has ended. Clients have half of the
// stop timeout to read what is queued for them and to answer the close, and
// what they have sent has it to arrive; the rest is for telling the canisters.
// When ctx or the stop timeout ends first, that is cancelled, too, and the log
// says which canister was not told of which client.
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
	defer context.AfterFunc(ctx, g.cancel)()
	patient, cancel := context.WithTimeout(ctx, g.limits.StopTimeout/2)
	defer cancel()
	defer context.AfterFunc(patient, func() {
		g.hangUp()
		for _, s := range sessions {
			sever(s.conn)
		}
	})()
	for _, s := range sessions {
		<-s.ended
	}
	g.cancel() // pollers
	g.running.Wait()
}

// start runs a session, unless the gateway is stopping, on a socket that has
// its place.
func (g *Gateway) start(conn *websocket.Conn, place *place, from caller) {
	s := newSession(g, conn, place, from)
	g.mu.Lock()
	if g.stopped {
		g.mu.Unlock()
		_ = conn.Close()
		place.leave()
		return
	}
	s.state.begin()
	g.sessions[s] = struct{}{}
	g.running.Add(1)
	g.mu.Unlock()

	s.out.push(g.handshake) // here, because writing would make the stack of run's goroutine larger for as long as it waits
	go func() {
		defer g.running.Done()
		defer close(s.ended)
		s.run(g.ctx)
		g.mu.Lock()
		delete(g.sessions, s)
		g.mu.Unlock()
	}()
}

// connections returns the number of sockets, and whether new ones are welcome.
func (g *Gateway) connections() (n int, open bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.admission.taken(), !g.stopped
}

func (g *Gateway) stopping() bool {
	_, open := g.connections()
	return !open
}

// enter joins a session to its canister's hub, unless the key is taken or
// there is no room, or the route has gone.
func (g *Gateway) enter(canister candid.Principal, key candid.ClientKey, s *session) (*hub, *refusal) {
	g.mu.Lock()
	defer g.mu.Unlock()
	route, refused := g.routes.Load().find(canister)
	if refused != nil {
		return nil, refused
	}
	if n := g.limits.MaxConnectionsPerPrincipal; g.principals[key.Principal] >= n {
		return nil, refuse(causeConnectionsPerPrincipal, CloseTryAgainLater, "this principal has %d connections here already, close one or try again later", n)
	}
	h := g.hubs[canister]
	if h == nil {
		h = newHub(g, canister, route)
		h.queue = g.places[canister]
	}
	if refused := h.join(key, s); refused != nil {
		return nil, refused
	}
	g.hubs[canister] = h
	delete(g.places, canister)
	g.principals[key.Principal]++
	return h, nil
}

// left undoes enter for a session that is not in its hub any more.
func (g *Gateway) left(principal candid.Principal) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.principals[principal]--; g.principals[principal] == 0 {
		delete(g.principals, principal)
	}
}

// release forgets a canister that no route names and that nobody uses: clients
// choose its id, so these must not pile up. How far its queue was read is kept, or
// the next client would wait until all that others have left there is read again.
func (g *Gateway) release(h *hub) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.isRouted(h.canister) || !h.unused() || g.hubs[h.canister] != h {
		return
	}
	delete(g.hubs, h.canister)
	if h.queue.next == 0 {
		return
	}
	if len(g.places) >= maxPlaces {
		for one := range g.places {
			delete(g.places, one)
			break
		}
	}
	g.places[h.canister] = h.queue
}

// maxPlaces bounds the canisters without clients and without a route of their own
// whose place is kept, of 150 bytes each. Beyond it one or the other is read again.
const maxPlaces = 4096
