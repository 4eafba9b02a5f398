package bridge

import (
	"context"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// readiness is what GET /ready is answered by: whether it makes sense to send
// clients here.
type readiness struct {
	reachable    func(context.Context) error // nil: not known, taken as yes
	certificates func() error                // nil: not needed
	checked      atomic.Bool                 // the routes, whatever was found
	problems     atomic.Int64                // found at that

	mu    sync.Mutex // one look at a time, the others wait for what it finds
	until time.Time  // what the last one found is good until then
	err   error
}

const (
	// probeTimeout is how long a network may take to show that it is there.
	probeTimeout = 3 * time.Second
	// probeGood and probeBad are for how long an answer is good, because
	// everybody may ask.
	probeGood = 5 * time.Second
	probeBad  = time.Second
)

// probe looks whether the network can be reached.
func (r *readiness) probe(ctx context.Context) error {
	if r.reachable == nil {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if time.Now().Before(r.until) {
		return r.err
	}
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	r.err = r.reachable(ctx)
	r.until = time.Now().Add(probeGood)
	if r.err != nil {
		r.until = time.Now().Add(probeBad)
	}
	return r.err
}

// serveReady answers 200 if clients can be served, and 503 with a sentence if
// not. A route whose canister has a problem does not count: the others work.
func (g *Gateway) serveReady(w http.ResponseWriter, _ *http.Request) {
	status, text := http.StatusServiceUnavailable, ""
	switch {
	case g.stopping():
		text = "the gateway is stopping"
	case !g.ready.checked.Load():
		text = "the routes are being checked"
	case g.ready.certificates != nil && g.ready.certificates() != nil:
		text = "a name has no valid certificate" // the log says why
	default:
		if err := g.ready.probe(g.ctx); err != nil {
			text = "the network cannot be reached"
			g.log.Warn("not ready: the network cannot be reached", "error", err)
		} else {
			status, text = http.StatusOK, "ready"
		}
	}
	writeJSON(w, status, map[string]any{"status": text, "routes_with_problems": g.ready.problems.Load()})
}
