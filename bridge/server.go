package bridge

import (
	"errors"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/gorilla/websocket"
	"golang.org/x/time/rate"
)

// newUpgrader: which origins may connect is decided before (origins.go). Each
// client has a read buffer for as long as it is there, so it is small; a larger
// frame is read in two or three parts. Write buffers are only used while writing.
func newUpgrader() websocket.Upgrader {
	return websocket.Upgrader{
		HandshakeTimeout: 10 * time.Second,
		ReadBufferSize:   512,
		WriteBufferPool:  &sync.Pool{},
		WriteBufferSize:  16 << 10,
		CheckOrigin:      func(*http.Request) bool { return true },
	}
}

// ServeHTTP upgrades WebSocket requests at any path, because clients of the
// official gateway use various ones, and serves GET /info, /health, /ready,
// /metrics (to this machine) and the page otherwise.
func (g *Gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if websocket.IsWebSocketUpgrade(r) {
		g.serveWebSocket(w, r)
		return
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "this address takes GET and WebSocket upgrades", http.StatusMethodNotAllowed)
		return
	}
	switch r.URL.Path {
	case "/info":
		g.serveInfo(w, r)
	case "/health":
		g.serveHealth(w, r)
	case "/ready":
		g.serveReady(w, r)
	case "/metrics":
		g.serveMetrics(w, r)
	default:
		g.servePage(w, r)
	}
}

func (g *Gateway) serveWebSocket(w http.ResponseWriter, r *http.Request) {
	from := g.proxies.caller(r)
	place, denied := g.admit(from, r)
	if denied != nil {
		g.count.refuse(denied.cause)
		g.log.Debug("connection refused", "remote", from.String(), "reason", causeNames[denied.cause])
		denied.answer(w)
		return
	}
	bucket := rate.NewLimiter(rate.Limit(g.limits.ByteRate), g.limits.ByteBurst)
	meter := func(conn net.Conn) net.Conn {
		return &meteredConn{Conn: newSocket(conn), bucket: bucket, in: &g.count.bytesIn, out: &g.count.bytesOut}
	}
	conn, err := g.upgrader.Upgrade(meteredUpgrade{w, meter}, r, nil)
	if err != nil {
		place.leave()
		g.count.refuse(causeUpgrade)
		g.log.Debug("upgrade failed", "remote", from.String(), "error", err) // Upgrade has answered
		return
	}
	g.count.accepted.Add(1)
	g.start(conn, place, from)
}

// admit decides whether a client may have a socket: cheap questions first, and
// nothing is counted against a client that is refused for what it asks.
func (g *Gateway) admit(from caller, r *http.Request) (*place, *denial) {
	if g.stopping() {
		return nil, &denial{http.StatusServiceUnavailable, causeStopping, "the gateway stops, another one may answer", whenFull}
	}
	if !g.origins.allow(r) {
		return nil, &denial{http.StatusForbidden, causeOrigin, "pages of this origin may not connect to this gateway (gateway.allowed_origins)", 0}
	}
	return g.admission.enter(from, time.Now())
}

const noPageText = `This is a WebSocket gateway of the Internet Computer.
Connect with ic-websocket-js; GET /info tells what it is connected to.
`

// servePage serves the configured folder. A folder without index.html is most
// likely a page that nobody has built yet.
func (g *Gateway) servePage(w http.ResponseWriter, r *http.Request) {
	if g.web == "" {
		if r.URL.Path != "/" {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		_, _ = w.Write([]byte(noPageText))
		return
	}
	if _, err := os.Stat(filepath.Join(g.web, "index.html")); errors.Is(err, fs.ErrNotExist) { //nolint:gosec // the configuration names the folder
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.WriteHeader(http.StatusNotFound)
		_, _ = w.Write([]byte("There is no page in " + g.web + " yet: `make page` builds the demo page (`make run` does both).\n" + noPageText)) //nolint:gosec // plain text, from the configuration
		return
	}
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("Cache-Control", "no-cache")
	http.FileServerFS(os.DirFS(g.web)).ServeHTTP(w, r)
}
