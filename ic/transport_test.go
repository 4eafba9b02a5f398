package ic

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
)

// A wire passes TCP connections on to a server, until it freezes those that
// there are: they stay open, and nothing comes through any more, as when a
// router on the way has forgotten them.
type wire struct {
	listener net.Listener
	running  sync.WaitGroup

	mu     sync.Mutex
	frozen map[net.Conn]bool
}

func newWire(t *testing.T, target string) *wire {
	t.Helper()
	w := &wire{listener: must(net.Listen("tcp", "127.0.0.1:0"))(t), frozen: make(map[net.Conn]bool)}
	w.running.Go(func() {
		for {
			near, err := w.listener.Accept()
			if err != nil {
				return
			}
			far, err := net.Dial("tcp", target)
			if err != nil {
				_ = near.Close()
				continue
			}
			w.mu.Lock()
			w.frozen[near], w.frozen[far] = false, false
			w.mu.Unlock()
			w.running.Go(func() { w.pass(near, far) })
			w.running.Go(func() { w.pass(far, near) })
		}
	})
	t.Cleanup(func() {
		_ = w.listener.Close()
		w.mu.Lock()
		for conn := range w.frozen {
			_ = conn.Close()
		}
		w.mu.Unlock()
		w.running.Wait()
	})
	return w
}

func (w *wire) freeze() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for conn := range w.frozen {
		w.frozen[conn] = true
	}
}

func (w *wire) pass(to, from net.Conn) {
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		w.mu.Lock()
		frozen := w.frozen[from]
		w.mu.Unlock()
		if !frozen && n > 0 {
			_, _ = to.Write(buffer[:n])
		}
		if err != nil {
			if !frozen {
				_ = to.Close()
			}
			return
		}
	}
}

// meeting answers requests; those that ask to wait when as many are there.
func meeting(size int) http.Handler {
	var mu sync.Mutex
	there, all := 0, make(chan struct{})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		if r.URL.Path == "/wait" {
			mu.Lock()
			if there++; there == size {
				close(all)
			}
			mu.Unlock()
			select {
			case <-all:
			case <-r.Context().Done():
			}
		}
		_, _ = io.WriteString(w, "here")
	})
}

// Of many connections that have died without a word, the first that is used
// costs a request its time, and no other does.
func TestDeadConnections(t *testing.T) {
	const size = 8
	server := httptest.NewServer(meeting(size))
	defer server.Close()
	w := newWire(t, server.Listener.Addr().String())
	c := must(NewClient(Options{URL: "http://" + w.listener.Addr().String()}))(t)
	defer c.Close()
	var group sync.WaitGroup
	for range size {
		group.Go(func() { _, _, _ = c.do(t.Context(), http.MethodGet, "/wait", nil) })
	}
	group.Wait()
	w.freeze()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, _, err := c.do(ctx, http.MethodGet, "/", nil); !Retryable(err) {
		t.Fatalf("on a dead connection: %v", err)
	}
	ctx, cancel = context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	answer, _, err := c.do(ctx, http.MethodGet, "/", nil)
	noError(t, err)
	equal(t, string(answer), "here")
}

// A cancelled request says nothing about the connections.
func TestCancelledRequestKeepsConnections(t *testing.T) {
	var mu sync.Mutex
	connections := 0
	server := httptest.NewUnstartedServer(meeting(2))
	server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			mu.Lock()
			defer mu.Unlock()
			connections++
		}
	}
	server.Start()
	defer server.Close()
	c := must(NewClient(Options{URL: server.URL}))(t)
	defer c.Close()
	_, _, err := c.do(t.Context(), http.MethodGet, "/", nil)
	noError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, _, err = c.do(ctx, http.MethodGet, "/", nil)
	errorContains(t, err, "canceled")
	_, _, err = c.do(t.Context(), http.MethodGet, "/", nil)
	noError(t, err)
	mu.Lock()
	defer mu.Unlock()
	equal(t, connections, 1)
}

// The one connection of HTTP/2 that has died is given up, although requests
// wait on it all the time.
func TestDeadHTTP2(t *testing.T) {
	opts := Options{Timeout: time.Minute}
	opts.setDefaults()
	if config := newTransport(&opts).HTTP2; config == nil || config.SendPingTimeout <= 0 || config.SendPingTimeout > opts.Timeout || config.PingTimeout <= 0 {
		t.Fatalf("connections of HTTP/2 are not looked after: %+v", config)
	}
	server := httptest.NewUnstartedServer(meeting(2))
	server.EnableHTTP2 = true
	server.StartTLS()
	defer server.Close()
	w := newWire(t, server.Listener.Addr().String())
	c := must(NewClient(Options{URL: "https://" + w.listener.Addr().String(), Timeout: time.Minute}))(t)
	defer c.Close()
	c.own.TLSClientConfig = &tls.Config{RootCAs: server.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs, ServerName: "example.com", MinVersion: tls.VersionTLS12}
	c.own.HTTP2 = &http.HTTP2Config{SendPingTimeout: 50 * time.Millisecond, PingTimeout: 50 * time.Millisecond}

	_, _, err := c.do(t.Context(), http.MethodGet, "/", nil)
	noError(t, err)
	waiting := make(chan error, 1)
	go func() {
		_, _, err := c.do(t.Context(), http.MethodGet, "/wait", nil)
		waiting <- err
	}()
	w.freeze()
	select {
	case err := <-waiting:
		if err == nil || !Retryable(err) || strings.Contains(err.Error(), "deadline") {
			t.Errorf("on a dead connection: %v", err)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("the dead connection is not given up")
	}
	answer, _, err := c.do(t.Context(), http.MethodGet, "/", nil)
	noError(t, err)
	equal(t, string(answer), "here")
}
