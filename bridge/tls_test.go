package bridge

import (
	"bytes"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// newSecureBench is newBench with TLS between client and gateway.
func newSecureBench(t *testing.T, change func(*Options, *testCanister)) *bench {
	t.Helper()
	return newSecureBenchOn(t, Listener, change)
}

// newSecureBenchOn has a listener of its own under TLS.
func newSecureBenchOn(t *testing.T, wrap func(net.Listener) net.Listener, change func(*Options, *testCanister)) *bench {
	t.Helper()
	b := newBench(t, change)
	t.Cleanup(b.server.Close)
	b.server = httptest.NewUnstartedServer(b.gateway)
	b.server.Config.ReadHeaderTimeout = time.Second // ends with the request, not with the WebSocket
	b.server.Listener = wrap(b.server.Listener)
	b.server.StartTLS()
	b.dialer = &websocket.Dialer{TLSClientConfig: b.server.Client().Transport.(*http.Transport).TLSClientConfig}
	return b
}

// Over TLS a close is more than the end of a connection. Clients are told why
// all the same.
func TestReasonsOverTLS(t *testing.T) {
	b := newSecureBench(t, func(o *Options, _ *testCanister) {
		o.Limits.PingInterval = 50 * time.Millisecond
		o.Limits.IdleTimeout = 500 * time.Millisecond
	})
	rude, silent := b.open(), b.open()
	silent.conn.SetPingHandler(func(string) error { return nil })
	_ = rude.conn.WriteMessage(websocket.BinaryMessage, make([]byte, 3<<20))
	rude.closed(CloseFrameTooLarge, "")
	b.eventually("the silent one, which answers no ping, is given up", func() bool { return get(b.canister, func() bool { return b.canister.closed[silent.key] == 1 }) })
	silent.closed(CloseIdle, "nothing heard")
}

// A client that does not read is given up without a farewell, which it would not
// read either. This holds, too, where writes under TLS have to wait.
func TestSlowReaderOverTLS(t *testing.T) {
	for name, wrap := range map[string]func(net.Listener) net.Listener{
		"without waiting": Listener,
		"waiting":         func(l net.Listener) net.Listener { return l },
	} {
		t.Run(name, func(t *testing.T) { testSlowReaderOverTLS(t, wrap) })
	}
}

func testSlowReaderOverTLS(t *testing.T, wrap func(net.Listener) net.Listener) {
	b := newSecureBenchOn(t, wrap, func(o *Options, _ *testCanister) {
		o.Limits.QueueBytes = 1 << 20
		o.Limits.WriteTimeout = 200 * time.Millisecond
	})
	slow := b.open()
	big := bytes.Repeat([]byte("x"), 100_000)
	b.eventually("the slow client is told to go", func() bool {
		b.canister.send(slow.key, big)
		return b.closes(CloseTryAgainLater) == 1
	})
	start := time.Now()
	b.eventually("it is gone", func() bool { return get(b.canister, func() bool { return b.canister.closed[slow.key] == 1 }) })
	if took := time.Since(start); took > 4*time.Second {
		t.Errorf("took %s", took)
	}
}

// Clients that do not read hold up no stop.
func TestStopOverTLS(t *testing.T) {
	b := newSecureBench(t, func(o *Options, _ *testCanister) {
		o.Limits.StopTimeout = time.Second
		o.Limits.QueueBytes = 64 << 20
	})
	big := bytes.Repeat([]byte("x"), 1_000_000)
	for range 10 {
		p := b.open()
		for range 12 { // more than the sockets' buffers hold
			b.canister.send(p.key, big)
		}
	}
	b.eventually("the messages are fetched", func() bool { return b.gateway.count.messagesOut.Load() >= 10*12 })
	start := time.Now()
	b.stop()
	if took := time.Since(start); took > 3*time.Second {
		t.Errorf("took %s", took)
	}
}
