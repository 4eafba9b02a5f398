package bridge

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/icrelay/icrelay/candid"
	"github.com/icrelay/icrelay/ic"
)

// connect opens a socket with header lines of its own, or returns the answer
// that refuses it.
func (b *bench) connect(headers ...string) (*websocket.Conn, *http.Response) {
	b.Helper()
	header := make(http.Header)
	for _, line := range headers {
		name, value, _ := strings.Cut(line, ": ")
		header.Add(name, value)
	}
	conn, response, err := websocket.DefaultDialer.Dial("ws"+strings.TrimPrefix(b.server.URL, "http"), header)
	if err != nil && !errors.Is(err, websocket.ErrBadHandshake) {
		b.Fatal(err)
	}
	if conn != nil {
		b.Cleanup(func() { _ = conn.Close() })
		return conn, nil
	}
	return nil, response
}

// accepted wants a socket.
func (b *bench) accepted(headers ...string) *websocket.Conn {
	b.Helper()
	conn, response := b.connect(headers...)
	if conn == nil {
		b.Fatalf("refused with %s", response.Status)
	}
	return conn
}

// denied wants a refusal, which tells when to come back if that helps, and is counted.
func (b *bench) denied(status int, cause cause, headers ...string) {
	b.Helper()
	before := b.gateway.count.refusals[cause].Load()
	conn, response := b.connect(headers...)
	if conn != nil {
		b.Fatalf("connected, want status %d", status)
	}
	if response.StatusCode != status {
		b.Errorf("status %d, want %d", response.StatusCode, status)
	}
	body := make([]byte, 200) // the dialer keeps this much
	if n, _ := response.Body.Read(body); n < 20 {
		b.Errorf("it says %q", body[:n])
	}
	retry := response.Header.Get("Retry-After")
	if n, err := strconv.Atoi(retry); (err != nil || n < 1) && status != http.StatusForbidden {
		b.Errorf("Retry-After = %q", retry)
	}
	if after := b.gateway.count.refusals[cause].Load(); after != before+1 {
		b.Errorf("%s counted %d times", causeNames[cause], after-before)
	}
}

// cut wants the session to be closed and counted.
func (p *peer) cut(code int, part string, cause cause) {
	p.Helper()
	p.closed(code, part)
	p.counted(cause, 1)
	if n := p.closes(code); n != 1 {
		p.Errorf("close code %d counted %d times", code, n)
	}
}

// counted wants a number of refusals. A client hears of its own before it is counted.
func (b *bench) counted(cause cause, n uint64) {
	b.Helper()
	b.eventually(causeNames[cause]+" counted", func() bool { return b.gateway.count.refusals[cause].Load() >= n })
	if got := b.gateway.count.refusals[cause].Load(); got != n {
		b.Errorf("%s counted %d times, want %d", causeNames[cause], got, n)
	}
}

func (b *bench) closes(code int) uint64 {
	c := &b.gateway.count
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.closes[code]
}

func (b *bench) receivedAll(n int) {
	b.Helper()
	b.eventually(fmt.Sprintf("%d messages received", n), func() bool {
		return get(b.canister, func() bool { return len(b.canister.received) == n })
	})
}

func TestLimitsOfAddresses(t *testing.T) {
	b := newBench(t, func(o *Options, _ *testCanister) {
		o.Limits.MaxConnectionsPerAddress = 2
		o.Limits.ConnectionRatePerAddress, o.Limits.ConnectionBurstPerAddress = 1, 5
	})
	const one, other = "X-Forwarded-For: 203.0.113.1", `Forwarded: for="203.0.113.2"`
	b.accepted(one)
	second := b.accepted(one)
	b.denied(http.StatusTooManyRequests, causeConnectionsPerAddress, one)
	b.accepted(other)
	for range 10 {
		b.accepted() // tools on this machine
	}
	_ = second.Close()
	b.eventually("a place is free", func() bool { return b.gateway.admission.taken() == 12 })
	_ = b.accepted(one).Close()
	b.eventually("a place is free", func() bool { return b.gateway.admission.taken() == 12 })

	for range 4 { // with the one above
		_ = b.accepted("X-Forwarded-For: 2001:db8::1").Close()
	}
	b.eventually("they have left", func() bool { return b.gateway.admission.taken() == 12 })
	_ = b.accepted("X-Forwarded-For: 2001:db8::2").Close()
	b.eventually("it has left", func() bool { return b.gateway.admission.taken() == 12 })
	b.denied(http.StatusTooManyRequests, causeConnectionRatePerAddress, "X-Forwarded-For: 2001:db8::3")
	if n := b.gateway.count.accepted.Load(); n != 19 {
		t.Errorf("%d sockets accepted", n)
	}
}

func TestConnectionRate(t *testing.T) {
	b := newBench(t, func(o *Options, _ *testCanister) { o.Limits.ConnectionRate, o.Limits.ConnectionBurst = 1, 3 })
	for range 3 {
		b.accepted()
	}
	b.denied(http.StatusServiceUnavailable, causeConnectionRate)
}

func TestConnectionLimitCounts(t *testing.T) {
	b := newBench(t, func(o *Options, _ *testCanister) { o.Limits.MaxConnections = 1 })
	b.accepted()
	b.denied(http.StatusServiceUnavailable, causeConnections)
	b.stop()
	b.denied(http.StatusServiceUnavailable, causeStopping)
}

// Without trusted proxies, loopback is an address like any other, whatever it says.
func TestUntrustedLoopback(t *testing.T) {
	b := newBench(t, func(o *Options, _ *testCanister) {
		o.TrustedProxies = []netip.Prefix{}
		o.Limits.MaxConnectionsPerAddress = 1
	})
	b.accepted("X-Forwarded-For: 203.0.113.1")
	b.denied(http.StatusTooManyRequests, causeConnectionsPerAddress, "X-Forwarded-For: 203.0.113.2")
	b.denied(http.StatusTooManyRequests, causeConnectionsPerAddress)
}

func TestOrigins(t *testing.T) {
	const good, bad = "Origin: https://app.example.com", "Origin: https://app.example.org"
	b := newBench(t, func(o *Options, _ *testCanister) {
		o.AllowedOrigins = []string{"https://*.example.com", "http://localhost:5173"}
	})
	b.accepted(good)
	b.accepted("Origin: http://localhost:5173")
	b.accepted() // no browser
	b.denied(http.StatusForbidden, causeOrigin, bad)
	b.denied(http.StatusForbidden, causeOrigin, "Origin: null")
	b.denied(http.StatusForbidden, causeOrigin, bad, good)

	b = newBench(t, func(o *Options, _ *testCanister) {
		o.AllowedOrigins = []string{"https://app.example.com"}
		o.RequireOrigin = true
	})
	b.accepted(good)
	b.denied(http.StatusForbidden, causeOrigin)

	b = newBench(t, nil)
	b.accepted(bad)
	b.accepted("Origin: null")

	if _, err := newOrigins([]string{"example.com"}, false); err == nil {
		t.Error("a pattern without a scheme was accepted")
	}
}

// A request that cannot be upgraded gives its place back and is counted.
func TestBadUpgrade(t *testing.T) {
	b := newBench(t, nil)
	request, err := http.NewRequest(http.MethodGet, b.server.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Connection", "Upgrade")
	request.Header.Set("Upgrade", "websocket")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	_ = response.Body.Close()
	b.counted(causeUpgrade, 1)
	if response.StatusCode != http.StatusBadRequest || b.gateway.admission.taken() != 0 {
		t.Errorf("status %d, %d places taken", response.StatusCode, b.gateway.admission.taken())
	}
}

// flood writes frames until there are no more or the socket is closed.
func (p *peer) flood(frames [][]byte) {
	p.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		for _, frame := range frames {
			if p.conn.WriteMessage(websocket.BinaryMessage, frame) != nil {
				return
			}
		}
	}()
	p.Cleanup(func() {
		_ = p.conn.Close()
		<-done
	})
}

// messages are n frames that the gateway would forward.
func (p *peer) messages(n, size int) [][]byte {
	p.Helper()
	frames := make([][]byte, n)
	for i := range frames {
		frames[i] = p.sign(p.messageEnvelope(make([]byte, size)))
	}
	return frames
}

func (b *bench) received() int {
	return get(b.canister, func() int { return len(b.canister.received) })
}

func TestFrameRate(t *testing.T) {
	const burst, more = 30, 300
	b := newBench(t, func(o *Options, _ *testCanister) { o.Limits.FrameRate, o.Limits.FrameBurst = 1, burst })
	bystander, p := b.open(), b.open()
	frames := p.messages(burst-1+more, 10) // and the ws_open
	for _, frame := range frames[:burst-1] {
		p.write(frame)
	}
	b.receivedAll(burst - 1)
	p.flood(frames[burst-1:])
	p.cut(CloseTryAgainLater, "more than 1 frames a second; come back in 30s", causeFrameRate)
	if n := b.received(); n >= burst-1+more {
		t.Errorf("all %d messages were forwarded", n)
	}
	b.canister.send(bystander.key, []byte("still here"))
	if m := bystander.message(); string(m.Content) != "still here" {
		t.Errorf("the bystander got %q", m.Content)
	}
}

// The defaults are made for what a page does, and for what it does at worst.
func TestBurstOfAPage(t *testing.T) {
	b := newBench(t, func(_ *Options, c *testCanister) { c.window = 8 })
	p := b.open()
	p.flood(p.messages(1000, 2000))
	b.receivedAll(1000)
}

func TestByteRate(t *testing.T) {
	const size = 50_000
	b := newBench(t, func(o *Options, _ *testCanister) { o.Limits.ByteRate, o.Limits.ByteBurst = 1000, 300_000 })
	p := b.open()
	for _, frame := range p.messages(5, size) {
		p.write(frame)
	}
	b.receivedAll(5)
	p.flood(p.messages(10, size))
	p.cut(CloseTryAgainLater, "more than 1000 bytes a second; come back in 5m0s", causeByteRate)
	if n := b.received(); n > 6 {
		t.Errorf("%d messages were forwarded", n)
	}
}

// Frames without an end and without content are bytes, too.
func TestEmptyFragments(t *testing.T) {
	b := newBench(t, func(o *Options, _ *testCanister) { o.Limits.ByteRate, o.Limits.ByteBurst = 1000, 10_000 })
	p := b.open()
	raw := p.conn.NetConn()
	if _, err := raw.Write([]byte{0x02, 0x80, 0, 0, 0, 0}); err != nil { // binary, not the last fragment, masked
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range 100_000 {
			if _, err := raw.Write([]byte{0x00, 0x80, 0, 0, 0, 0}); err != nil {
				return
			}
		}
	}()
	p.cut(CloseTryAgainLater, "bytes a second", causeByteRate)
	_ = raw.Close()
	<-done
}

func TestPingFlood(t *testing.T) {
	b := newBench(t, func(o *Options, _ *testCanister) { o.Limits.FrameRate, o.Limits.FrameBurst = 1, 20 })
	for _, kind := range []int{websocket.PingMessage, websocket.PongMessage} {
		p := b.open()
		p.conn.SetPongHandler(func(string) error { return nil })
		for range 18 {
			if err := p.conn.WriteControl(kind, nil, time.Now().Add(time.Second)); err != nil {
				t.Fatal(err)
			}
		}
		p.send("x")
		b.eventually("these are fine", func() bool { return b.received() > 0 })
		b.canister.set(func() { b.canister.received = nil })
		done := make(chan struct{})
		go func() {
			defer close(done)
			for p.conn.WriteControl(kind, nil, time.Now().Add(time.Second)) == nil {
			}
		}()
		p.closed(CloseTryAgainLater, "frames a second")
		_ = p.conn.Close()
		<-done
	}
	b.counted(causeFrameRate, 2)
}

// Each delegation costs the gateway a signature check, and counts as a frame.
func TestDelegationsCount(t *testing.T) {
	b := newBench(t, func(o *Options, _ *testCanister) { o.Limits.FrameRate, o.Limits.FrameBurst = 1, 40 })
	p := b.dial()
	p.delegate(9)
	p.write(p.sign(p.openEnvelope())) // 10
	p.message()
	p.flood(p.messages(20, 10)) // 3 of them
	p.cut(CloseTryAgainLater, "frames a second", causeFrameRate)
	b.eventually("those before are forwarded", func() bool { return b.received() >= 3 })
	if n := b.received(); n > 5 {
		t.Errorf("%d messages were forwarded", n)
	}
}

// delegate puts n delegations between the peer's identity and its signatures.
func (p *peer) delegate(n int, targets ...candid.Principal) {
	p.Helper()
	root := p.identity
	signer, chain := root, []candid.Delegation(nil)
	for range n {
		next, err := ic.NewEd25519Identity()
		if err != nil {
			p.Fatal(err)
		}
		d, err := ic.Delegate(signer, next.PublicKeyDER(), uint64(time.Now().Add(time.Hour).UnixNano()), targets...) //nolint:gosec // after 1970
		if err != nil {
			p.Fatal(err)
		}
		signer, chain = next, append(chain, d)
	}
	p.identity = ic.NewDelegatedIdentity(root.PublicKeyDER(), chain, signer)
}

func TestFirstFrameTimeout(t *testing.T) {
	const timeout = 100 * time.Millisecond
	b := newBench(t, func(o *Options, c *testCanister) {
		o.Limits.FirstFrameTimeout = timeout
		c.slowOpen = 3 * timeout // the canister's own time is not the client's
	})
	p := b.dial()
	p.write(p.sign(p.openEnvelope()))
	silent := b.dial()
	for range 3 { // signs of life are no frames
		if err := silent.conn.WriteControl(websocket.PingMessage, nil, time.Now().Add(time.Second)); err != nil {
			t.Fatal(err)
		}
	}
	silent.cut(CloseOpenTimeout, "no ws_open within 100ms of the handshake", causeFirstFrameTimeout)
	if m := p.message(); !m.IsServiceMessage {
		t.Errorf("message = %+v", m)
	}
	p.send("x")
	b.receivedAll(1)
}

// Before a connection is open its frames are small; afterwards they may be as
// large as the limit says.
func TestFrameSize(t *testing.T) {
	b := newBench(t, func(o *Options, _ *testCanister) { o.Limits.MaxFrameBytes = 400_000 })
	p := b.open()
	p.write(p.messages(1, 390_000)[0])
	b.receivedAll(1)
	p.write(make([]byte, 400_001))
	p.cut(CloseFrameTooLarge, "400000 bytes at most", causeFrameSize)

	early := b.dial()
	early.write(make([]byte, maxOpenBytes+1))
	early.closed(CloseFrameTooLarge, "131072 bytes at most")
	fits := b.dial()
	fits.write(make([]byte, maxOpenBytes))
	fits.closed(CloseMalformed, "CBOR")
}

func TestConnectionsPerCanister(t *testing.T) {
	b := newBench(t, func(o *Options, _ *testCanister) { o.Limits.MaxConnectionsPerCanister = 2 })
	first := b.open()
	b.open()
	third := b.dial()
	third.write(third.sign(third.openEnvelope()))
	third.cut(CloseTryAgainLater, "this canister has as many connections as it may have here", causeConnectionsPerCanister)
	_ = first.conn.Close()
	b.eventually("the canister is told", func() bool { return get(b.canister, func() bool { return b.canister.closed[first.key] == 1 }) })
	b.open()
	if n := get(b.canister, func() int { return b.canister.closed[third.key] }); n != 0 {
		t.Errorf("the canister was told of a client it has never heard of")
	}
}

func TestConnectionsPerPrincipal(t *testing.T) {
	b := newBench(t, func(o *Options, _ *testCanister) { o.Limits.MaxConnectionsPerPrincipal = 2 })
	identity, err := ic.NewEd25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	same := func() *peer {
		p := b.dial()
		p.identity, p.key.Principal = identity, identity.Principal()
		p.write(p.sign(p.openEnvelope()))
		return p
	}
	first, second := same(), same()
	first.message()
	second.message()
	same().cut(CloseTryAgainLater, "this principal has 2 connections here", causeConnectionsPerPrincipal)
	b.open() // somebody else
	_ = first.conn.Close()
	b.eventually("the canister is told", func() bool { return get(b.canister, func() bool { return b.canister.closed[first.key] == 1 }) })
	b.eventually("a place is free", func() bool { return b.principals() == 2 })
	same().message()
	b.stop()
	if n := b.principals(); n != 0 {
		t.Errorf("%d principals remembered", n)
	}
}

// principals is for how many of them the gateway counts.
func (b *bench) principals() (sum int) {
	b.gateway.mu.Lock()
	defer b.gateway.mu.Unlock()
	for _, n := range b.gateway.principals {
		sum += n
	}
	return sum
}

func TestAllowedCanisters(t *testing.T) {
	canister := func(n byte) candid.Principal { return candid.Principal([]byte{0, 0, 0, 0, 0, 0, 0, n, 1, 1}) }
	user, err := ic.NewEd25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	const ok = causes // no refusal
	tests := []struct {
		name        string
		allow, deny []candid.Principal
		want        map[candid.Principal]cause
	}{
		{"all", nil, nil, map[candid.Principal]cause{canister(1): ok, canister(2): ok, canister(9): ok,
			"": causeNotRouted, candid.Anonymous: causeNotRouted, user.Principal(): causeNotRouted}},
		{"denied", nil, []candid.Principal{canister(2)}, map[candid.Principal]cause{canister(1): ok, canister(2): causeDenied, canister(9): ok}},
		{"allowed", []candid.Principal{canister(2)}, nil, map[candid.Principal]cause{canister(1): causeDenied, canister(2): ok, canister(9): ok}},
		{"both", []candid.Principal{canister(1), canister(2)}, []candid.Principal{canister(2)},
			map[candid.Principal]cause{canister(1): ok, canister(2): causeDenied, canister(3): causeDenied, canister(9): ok}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			routes, err := newRoutes([]Route{
				{Any: true, Adapter: &testCanister{}, Allow: test.allow, Deny: test.deny},
				{Canister: canister(9), Adapter: &testCanister{}},
			})
			if err != nil {
				t.Fatal(err)
			}
			for p, want := range test.want {
				route, refused := routes.find(p)
				switch {
				case want == ok && (refused != nil || route == nil):
					t.Errorf("%s: %+v", p, refused)
				case want != ok && (refused == nil || refused.cause != want || refused.Code != CloseNotRouted):
					t.Errorf("%s: %+v, want %s", p, refused, causeNames[want])
				}
			}
		})
	}
	if _, err := newRoutes([]Route{{Canister: canister(1), Adapter: &testCanister{}, Deny: []candid.Principal{canister(2)}}}); err == nil {
		t.Error("a route for one canister that denies another was accepted")
	}
}

func TestDeniedCanister(t *testing.T) {
	b := newBench(t, func(o *Options, c *testCanister) {
		o.Routes[0].Any, o.Routes[0].Canister = true, ""
		o.Routes[0].Deny = []candid.Principal{c.id}
	})
	p := b.dial()
	p.write(p.sign(p.openEnvelope()))
	p.cut(CloseNotRouted, "does not serve canister "+b.canister.id.String(), causeDenied)
	if len(b.gateway.hubs) != 0 || len(b.canister.clients) != 0 {
		t.Error("something was created for it")
	}
}

// A client that is told to go and does not, is gone soon, whatever it sends.
func TestFloodAfterClose(t *testing.T) {
	b := newBench(t, func(o *Options, _ *testCanister) { o.Limits.ByteRate, o.Limits.ByteBurst = 1000, 100_000 })
	p := b.open()
	p.write([]byte("not CBOR"))
	done := make(chan struct{})
	go func() {
		defer close(done)
		junk := make([]byte, 10_000)
		for p.conn.WriteMessage(websocket.BinaryMessage, junk) == nil {
		}
	}()
	b.eventually("its socket is closed", func() bool { return b.gateway.admission.taken() == 0 })
	<-done
	if n := b.gateway.count.refusals[causeMalformed].Load() + b.gateway.count.refusals[causeByteRate].Load(); n != 1 {
		t.Errorf("counted %d times", n)
	}
	var timeout net.Error
	if _, _, err := p.conn.ReadMessage(); errors.As(err, &timeout) && timeout.Timeout() {
		t.Errorf("the socket is open: %v", err)
	}
}
