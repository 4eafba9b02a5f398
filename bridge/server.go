package bridge

import (
	"errors"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/gorilla/websocket"
)

// newUpgrader: a page of any origin may connect, because a session is
// authenticated by the signatures in its frames and never by a cookie.
func newUpgrader() websocket.Upgrader {
	return websocket.Upgrader{
		HandshakeTimeout: 10 * time.Second,
		ReadBufferSize:   1024,
		WriteBufferPool:  &sync.Pool{},
		WriteBufferSize:  4096,
		CheckOrigin:      func(*http.Request) bool { return true },
	}
}

// ServeHTTP upgrades WebSocket requests at any path, because clients of the
// official gateway use various ones, and serves GET /info, /health and the
// page otherwise.
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
	default:
		g.servePage(w, r)
	}
}

func (g *Gateway) serveWebSocket(w http.ResponseWriter, r *http.Request) {
	if !g.reserve() {
		w.Header().Set("Retry-After", "5")
		http.Error(w, "the gateway takes no more connections now, try again later", http.StatusServiceUnavailable)
		return
	}
	conn, err := g.upgrader.Upgrade(w, r, nil)
	if err != nil {
		g.free()
		g.log.Debug("upgrade failed", "remote", r.RemoteAddr, "error", err) // Upgrade has answered
		return
	}
	g.start(conn)
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
	if _, err := os.Stat(filepath.Join(g.web, "index.html")); errors.Is(err, fs.ErrNotExist) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.WriteHeader(http.StatusNotFound)
		_, _ = w.Write([]byte("There is no page in " + g.web + " yet: `make page` builds the demo page (`make run` does both).\n" + noPageText))
		return
	}
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("Cache-Control", "no-cache")
	http.FileServerFS(os.DirFS(g.web)).ServeHTTP(w, r)
}
