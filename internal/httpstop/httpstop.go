// Package httpstop ends an http.Server without waiting for connections on
// which nothing has arrived.
package httpstop

import (
	"context"
	"net"
	"net/http"
	"sync"
	"time"
)

// Fresh is the hook and the end of one server. It knows the
// connections on which nothing has arrived yet: browsers and HTTP clients open
// some in advance, and http.Server.Shutdown would wait for them.
type Fresh struct {
	mu   sync.Mutex
	open map[net.Conn]struct{}
}

// Track is the server's ConnState hook.
func (f *Fresh) Track(c net.Conn, state http.ConnState) {
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

func (f *Fresh) closeAll() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for c := range f.open {
		_ = c.Close()
	}
}

// ShutDown lets the server finish the requests it has, and drops fresh
// connections meanwhile. What is not finished when ctx ends is cut off, and
// ctx's error returned.
func (f *Fresh) ShutDown(ctx context.Context, server *http.Server) error {
	done := make(chan error, 1)
	go func() { done <- server.Shutdown(ctx) }()
	again := time.NewTicker(5 * time.Millisecond)
	defer again.Stop()
	for {
		f.closeAll()
		select {
		case err := <-done:
			if err != nil {
				_ = server.Close() // the listeners and connections that are left
			}
			return err
		case <-again.C:
		}
	}
}
