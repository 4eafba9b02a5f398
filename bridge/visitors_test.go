package bridge

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// served is a bench whose gateway has an HTTP server of its own making.
func served(t *testing.T, change func(*Options)) (b *bench, address string) {
	t.Helper()
	b = newBench(t, func(o *Options, _ *testCanister) { change(o) })
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := b.gateway.Server()
	done := make(chan error, 1)
	go func() { done <- server.Serve(listener) }()
	t.Cleanup(func() {
		b.stop()
		_ = server.Close()
		if err := <-done; !errors.Is(err, http.ErrServerClosed) {
			t.Errorf("Serve: %v", err)
		}
	})
	return b, listener.Addr().String()
}

func dialTCP(t *testing.T, address string) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	return conn
}

// ended wants the other end to close the connection without an answer, or with one of a status.
func ended(t *testing.T, conn net.Conn, status string) {
	t.Helper()
	answer, err := io.ReadAll(conn)
	if status == "" && len(answer) == 0 {
		return // closed, or reset
	}
	if err != nil || !strings.HasPrefix(string(answer), "HTTP/1.1 "+status) || status == "" {
		t.Errorf("the connection ended with %q, %v, want status %q", answer, err, status)
	}
}

// ask asks on a connection that stays open.
func ask(t *testing.T, conn net.Conn) {
	t.Helper()
	if _, err := io.WriteString(conn, "GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	_ = response.Body.Close()
	if response.StatusCode != http.StatusOK {
		t.Errorf("status %d", response.StatusCode)
	}
}

// Who sends the headers of a request slowly, or none, is gone when the time is over.
func TestSlowHeaders(t *testing.T) {
	b, address := served(t, func(o *Options) { o.Limits.HeaderTimeout = 150 * time.Millisecond })
	silent, slow, honest := dialTCP(t, address), dialTCP(t, address), dialTCP(t, address)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, err := io.WriteString(slow, "GET / HTTP/1.1\r\n")
		for err == nil {
			time.Sleep(5 * time.Millisecond)
			_, err = io.WriteString(slow, "X-A: b\r\n")
		}
	}()
	ask(t, honest)
	ended(t, silent, "")
	_, _ = io.Copy(io.Discard, slow)
	<-done
	b.counted(causeNoRequest, 2)
	b.eventually("one is left", func() bool { return b.gateway.visitors.number() == 1 })
}

// A body that never comes holds a connection no longer than headers would.
func TestSlowBody(t *testing.T) {
	b, address := served(t, func(o *Options) { o.Limits.HeaderTimeout = 150 * time.Millisecond })
	conn := dialTCP(t, address)
	if _, err := io.WriteString(conn, "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\n{"); err != nil {
		t.Fatal(err)
	}
	ended(t, conn, "405")
	b.eventually("nobody is left", func() bool { return b.gateway.visitors.number() == 0 })
}

func TestLargeHeaders(t *testing.T) {
	b, address := served(t, func(o *Options) { o.Limits.MaxHeaderBytes = 8 << 10 })
	request := func(size int) string {
		return "GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nX-A: " + strings.Repeat("x", size) + "\r\n\r\n"
	}
	small := dialTCP(t, address)
	if _, err := io.WriteString(small, request(7<<10)); err != nil {
		t.Fatal(err)
	}
	ended(t, small, "200")
	large := dialTCP(t, address)
	if _, err := io.WriteString(large, request(14<<10)); err != nil { // net/http grants 4 KiB more
		t.Fatal(err)
	}
	ended(t, large, "431")
	b.counted(causeNoRequest, 1)
}

// An address has only so many connections; those that became WebSockets count elsewhere.
func TestVisitorsPerAddress(t *testing.T) {
	b, address := served(t, func(o *Options) {
		o.TrustedProxies = []netip.Prefix{}
		o.Limits.MaxHTTPConnectionsPerAddress = 2
	})
	for range 3 {
		socket, _, err := websocket.DefaultDialer.Dial("ws://"+address, nil)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = socket.Close() })
	}
	first, second := dialTCP(t, address), dialTCP(t, address)
	ask(t, first)
	ask(t, second)
	ended(t, dialTCP(t, address), "")
	b.counted(causeHTTPConnectionsPerAddress, 1)
	ask(t, first)
	_ = first.Close()
	b.eventually("there is room", func() bool { return b.gateway.visitors.number() == 1 })
	ask(t, dialTCP(t, address))
	if n := b.gateway.count.refusals[causeNoRequest].Load(); n != 0 {
		t.Errorf("no_request counted %d times", n)
	}
}

// The machine's own connections, and a proxy's, are not counted by address.
func TestVisitorsOfProxy(t *testing.T) {
	b, address := served(t, func(o *Options) { o.Limits.MaxHTTPConnectionsPerAddress = 1 })
	for range 5 {
		ask(t, dialTCP(t, address))
	}
	b.counted(causeHTTPConnectionsPerAddress, 0)
}

// Whoever holds all connections there may be keeps nobody out: the one that has
// rested longest makes way.
func TestVisitorsInAll(t *testing.T) {
	b, address := served(t, func(o *Options) { o.Limits.MaxHTTPConnections = 3 })
	held := make([]net.Conn, 3)
	for i := range held {
		held[i] = dialTCP(t, address)
		ask(t, held[i])
	}
	ask(t, held[0]) // now the second has rested longest
	b.eventually("they rest", func() bool { return b.gateway.visitors.number() == 3 })
	newcomer := dialTCP(t, address)
	ask(t, newcomer)
	ended(t, held[1], "")
	b.counted(causeHTTPConnections, 1)
	ask(t, held[0])
	ask(t, held[2])
	ask(t, newcomer)

	for range 50 { // silent ones
		dialTCP(t, address)
	}
	ask(t, dialTCP(t, address))
	b.eventually("no more than there may be", func() bool {
		b.gateway.visitors.mu.Lock()
		defer b.gateway.visitors.mu.Unlock()
		return len(b.gateway.visitors.conns) <= 3 && b.gateway.visitors.resting.Len() <= 3
	})
}
