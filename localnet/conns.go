package localnet

import (
	"context"
	"net"
	"net/http"
	"sync"
	"time"
)

// freshConns are the connections on which nothing has arrived yet. Browsers and
// HTTP clients open some in advance; http.Server.Shutdown would wait for them.
type freshConns struct {
	mu   sync.Mutex
	open map[net.Conn]struct{}
}

// track is the server's ConnState hook.
func (f *freshConns) track(c net.Conn, state http.ConnState) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if state != http.StateNew {
		delete(f.open, c)
		return
	}
	if f.open == nil {
		f.open = make(map[net.Conn]struct{})
	}
	f.open[c] = struct{}{}
}

func (f *freshConns) closeAll() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for c := range f.open {
		_ = c.Close()
	}
}

// shutDown lets the server finish the requests it has, and drops fresh
// connections meanwhile. What is not finished when ctx ends is cut off.
func (f *freshConns) shutDown(ctx context.Context, server *http.Server) error {
	done := make(chan error, 1)
	go func() { done <- server.Shutdown(ctx) }()
	again := time.NewTicker(5 * time.Millisecond)
	defer again.Stop()
	for {
		f.closeAll()
		select {
		case err := <-done:
			if err != nil {
				return server.Close()
			}
			return nil
		case <-again.C:
		}
	}
}
