package client

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/icrelay/icrelay/candid"
	"github.com/icrelay/icrelay/ic"
)

// echo sends back every application message and acknowledges it, until the client closes.
func echo(p *peer) {
	p.open()
	for {
		m, err := p.takeMessage()
		if err != nil {
			return
		}
		if !m.IsServiceMessage {
			p.app(m.Content)
			p.service(candid.ServiceMessage{Kind: candid.AckMessage, LastIncoming: m.SequenceNum})
		}
	}
}

func TestConversation(t *testing.T) {
	n := newNetwork(t, echo)
	c := n.dial()
	if c.Gateway() != testGateway {
		t.Errorf("gateway %s", c.Gateway())
	}
	for i := range 20 {
		want := fmt.Appendf(nil, "message %d", i)
		if err := c.Send(deadline(t), want); err != nil {
			t.Fatal(err)
		}
		m, err := c.ReceiveMessage(deadline(t))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(m.Content, want) {
			t.Errorf("got %q, want %q", m.Content, want)
		}
		if sequence := uint64(2*i + 2); m.Sequence != sequence { // between them: the OpenMessage and the acks
			t.Errorf("sequence %d, want %d", m.Sequence, sequence)
		}
		if age := time.Since(m.Time); age < 0 || age > patience {
			t.Errorf("made at %s", m.Time)
		}
	}
	if err := c.Err(); err != nil {
		t.Errorf("open, but Err is %v", err)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	if err := c.Send(deadline(t), nil); !errors.Is(err, ErrClosed) {
		t.Errorf("Send after Close: %v", err)
	}
	if _, err := c.Receive(deadline(t)); !errors.Is(err, ErrClosed) {
		t.Errorf("Receive after Close: %v", err)
	}
	if err := c.Close(); err != nil {
		t.Errorf("second Close: %v", err)
	}
}

func TestOrderOfOneSender(t *testing.T) {
	const messages = 300
	n := newNetwork(t, func(p *peer) {
		p.open()
		for i := range uint64(messages) {
			m, err := p.takeMessage()
			if err != nil {
				t.Errorf("message %d: %v", i, err)
				return
			}
			if want := fmt.Sprint(i); m.SequenceNum != i+1 || string(m.Content) != want {
				t.Errorf("got %q as %d, want %q as %d", m.Content, m.SequenceNum, want, i+1)
			}
		}
		p.closeCode()
	})
	c := n.dial(func(o *Options) { o.SendMessages = 4 })
	buffer := make([]byte, 0, 8)
	for i := range messages {
		buffer = fmt.Append(buffer[:0], i) // Send must not keep it
		if err := c.Send(deadline(t), buffer); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
}

func TestKeepAlive(t *testing.T) {
	answers := make(chan candid.ServiceMessage, 1)
	n := newNetwork(t, func(p *peer) {
		p.open()
		p.app([]byte("one"))
		p.service(candid.ServiceMessage{Kind: candid.AckMessage})
		m, err := p.takeMessage()
		if err != nil || !m.IsServiceMessage || m.SequenceNum != 1 {
			t.Errorf("got %+v, %v", m, err)
		}
		answer, err := candid.DecodeServiceMessage(m.Content)
		if err != nil {
			t.Error(err)
		}
		answers <- answer
		p.closeCode()
	})
	n.dial()
	if answer := <-answers; answer.Kind != candid.KeepAliveMessage || answer.LastIncoming != 3 {
		t.Errorf("answer %+v, want a KeepAliveMessage for message 3", answer)
	}
}

// TestBroken: whatever is wrong with a message ends the connection with the
// right error, tells the gateway code 4000, and never reaches Receive.
func TestBroken(t *testing.T) {
	other := candid.ClientKey{Principal: "\x01somebody\x02", Nonce: 1}
	otherNetwork := newNetwork(t, func(*peer) {})
	one := func(p *peer) certified { return p.certify(testCanister, p.next(false, []byte("content")))[0] }
	for _, tt := range []struct {
		name  string
		frame func(p *peer) []byte
		want  error
	}{
		{"not CBOR", func(*peer) []byte { return []byte("not cbor") }, ErrMalformed},
		{"empty", func(*peer) []byte { return nil }, ErrMalformed},
		{"another certificate", func(p *peer) []byte {
			c := one(p)
			c.cert = p.certificate(testCanister, bytes.Repeat([]byte{1}, 32))
			return c.frame()
		}, ErrVerification},
		{"signed by another network", func(p *peer) []byte {
			c := one(p)
			forger := &peer{network: otherNetwork, time: p.time}
			tree, _ := ic.DecodeHashTree(c.tree)
			root := tree.Digest()
			c.cert = forger.certificate(testCanister, root[:])
			return c.frame()
		}, ErrVerification},
		{"of another canister", func(p *peer) []byte {
			return p.certify("\x00\x00\x00\x00\x00\x00\x00\x08\x01\x01", p.next(false, nil))[0].frame()
		}, ErrVerification},
		{"certificate too old", func(p *peer) []byte {
			p.time = time.Now().Add(-6 * time.Minute)
			return one(p).frame()
		}, ErrVerification},
		{"certificate from the future", func(p *peer) []byte {
			p.time = time.Now().Add(6 * time.Minute)
			return one(p).frame()
		}, ErrVerification},
		{"certificate cut off", func(p *peer) []byte {
			c := one(p)
			c.cert = c.cert[:len(c.cert)-1]
			return c.frame()
		}, ErrVerification},
		{"witness cut off", func(p *peer) []byte {
			c := one(p)
			c.tree = c.tree[:len(c.tree)-1]
			return c.frame()
		}, ErrVerification},
		{"witness without the message", func(p *peer) []byte {
			c := one(p)
			tree, _ := ic.DecodeHashTree(c.tree)
			c.tree = ic.Pruned(tree.Digest()).Encode()
			return c.frame()
		}, ErrVerification},
		{"another key", func(p *peer) []byte {
			c := one(p)
			c.key += "0"
			return c.frame()
		}, ErrVerification},
		{"changed content", func(p *peer) []byte {
			c := one(p)
			c.content[len(c.content)-1] ^= 1
			return c.frame()
		}, ErrVerification},
		{"content of the message beside", func(p *peer) []byte {
			both := p.certify(testCanister, p.next(false, []byte("1")), p.next(false, []byte("2")))
			both[0].content = both[1].content
			return both[0].frame()
		}, ErrVerification},
		{"for another client", func(p *peer) []byte {
			m := p.next(false, nil)
			m.ClientKey = other
			return p.frame(m)
		}, ErrClientKey},
		{"a message left out", func(p *peer) []byte {
			p.next(false, nil)
			return p.frame(p.next(false, nil))
		}, ErrSequence},
		{"a message repeated", func(p *peer) []byte {
			frame := one(p).frame()
			p.write(frame)
			return frame
		}, ErrSequence},
		{"a second OpenMessage", func(p *peer) []byte {
			return p.frame(p.next(true, candid.EncodeServiceMessage(candid.ServiceMessage{Kind: candid.OpenMessage, ClientKey: p.key})))
		}, ErrService},
		{"a KeepAliveMessage", func(p *peer) []byte {
			return p.frame(p.next(true, candid.EncodeServiceMessage(candid.ServiceMessage{Kind: candid.KeepAliveMessage})))
		}, ErrService},
		{"a service message that is none", func(p *peer) []byte {
			return p.frame(p.next(true, []byte("DIDL")))
		}, ErrService},
		{"acknowledgement of what was not sent", func(p *peer) []byte {
			return p.frame(p.next(true, candid.EncodeServiceMessage(candid.ServiceMessage{Kind: candid.AckMessage, LastIncoming: 1})))
		}, ErrService},
	} {
		t.Run(tt.name, func(t *testing.T) {
			type closed struct {
				code   int
				reason string
			}
			seen := make(chan closed, 1)
			n := newNetwork(t, func(p *peer) {
				p.open()
				p.write(tt.frame(p))
				code, reason := p.closeCode()
				seen <- closed{code, reason}
			})
			c := n.dial()
			var err error
			for err == nil { // a repeated message arrives once
				_, err = c.Receive(deadline(t))
			}
			var end *CloseError
			if !errors.Is(err, tt.want) || !errors.As(err, &end) || end.Remote || end.Code != CloseProtocol {
				t.Errorf("error %v, want %v", err, tt.want)
			}
			if got := <-seen; got.code != CloseProtocol || !strings.Contains(end.Reason, strings.TrimSuffix(got.reason, "...")) {
				t.Errorf("the gateway saw %d %q", got.code, got.reason)
			}
		})
	}
}

func TestOneCertificateForManyMessages(t *testing.T) {
	n := newNetwork(t, func(p *peer) {
		p.open()
		var batch []candid.WebsocketMessage
		for i := range 50 {
			batch = append(batch, p.next(false, fmt.Append(nil, i)))
		}
		for _, m := range p.certify(testCanister, batch...) {
			p.write(m.frame())
		}
		p.closeCode()
	})
	c := n.dial()
	for i := range 50 {
		got, err := c.Receive(deadline(t))
		if err != nil {
			t.Fatal(err)
		}
		if string(got) != fmt.Sprint(i) {
			t.Errorf("got %q, want %d", got, i)
		}
	}
}

// TestCertificateAges: a certificate that was verified while it was young is
// not good for ever.
func TestCertificateAges(t *testing.T) {
	var mu sync.Mutex
	now := time.Now()
	more := make(chan struct{})
	n := newNetwork(t, func(p *peer) {
		p.open()
		both := p.certify(testCanister, p.next(false, nil), p.next(false, nil))
		p.write(both[0].frame())
		<-more
		p.write(both[1].frame())
		p.closeCode()
	})
	c := n.dial(func(o *Options) {
		o.Now = func() time.Time { mu.Lock(); defer mu.Unlock(); return now }
	})
	if _, err := c.Receive(deadline(t)); err != nil {
		t.Fatal(err)
	}
	mu.Lock()
	now = now.Add(6 * time.Minute)
	mu.Unlock()
	close(more)
	if _, err := c.Receive(deadline(t)); !errors.Is(err, ErrVerification) {
		t.Errorf("error %v", err)
	}
}

func TestClosedByGateway(t *testing.T) {
	for _, tt := range []struct {
		code      int
		reason    string
		reconnect bool
	}{
		{websocket.CloseNormalClosure, "", false},
		{websocket.CloseGoingAway, "the gateway stops", true},
		{websocket.CloseTryAgainLater, "messages come faster than this client reads them", true},
		{4100, "the canister was upgraded", true},
		{4203, "no room", false},
	} {
		t.Run(fmt.Sprint(tt.code), func(t *testing.T) {
			n := newNetwork(t, func(p *peer) {
				p.open()
				p.app([]byte("last words"))
				_ = p.ws.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(tt.code, tt.reason), time.Now().Add(patience))
				if code, _ := p.closeCode(); code != tt.code {
					t.Errorf("answered with %d", code)
				}
			})
			c := n.dial()
			<-c.Done()
			if got, err := c.Receive(deadline(t)); err != nil || string(got) != "last words" {
				t.Errorf("got %q, %v", got, err)
			}
			_, err := c.Receive(deadline(t))
			var closed *CloseError
			if !errors.As(err, &closed) || !closed.Remote || closed.Code != tt.code || closed.Reason != tt.reason {
				t.Fatalf("error %v", err)
			}
			if closed.Reconnect() != tt.reconnect {
				t.Errorf("Reconnect is %v", closed.Reconnect())
			}
		})
	}
}

func TestClosedByCanister(t *testing.T) {
	for _, tt := range []struct {
		reason    candid.CloseReason
		code      int
		reconnect bool
	}{
		{candid.ClosedByApplication, CloseApplication, false},
		{candid.KeepAliveTimeout, CloseProtocol, true},
		{candid.WrongSequenceNumber, CloseProtocol, true},
		{candid.InvalidServiceMessage, CloseProtocol, true},
	} {
		t.Run(tt.reason.String(), func(t *testing.T) {
			n := newNetwork(t, func(p *peer) {
				p.open()
				p.service(candid.ServiceMessage{Kind: candid.CloseMessage, Reason: tt.reason})
				if code, reason := p.closeCode(); code != tt.code || !strings.Contains(reason, tt.reason.String()) {
					t.Errorf("the gateway saw %d %q", code, reason)
				}
			})
			_, err := n.dial().Receive(deadline(t))
			var closed *CloseError
			var byCanister *CanisterClosedError
			if !errors.As(err, &closed) || !errors.As(err, &byCanister) || byCanister.Reason != tt.reason {
				t.Fatalf("error %v", err)
			}
			if closed.Reconnect() != tt.reconnect {
				t.Errorf("Reconnect is %v", closed.Reconnect())
			}
		})
	}
}

func TestSocketBreaks(t *testing.T) {
	n := newNetwork(t, func(p *peer) {
		p.open()
		_ = p.ws.Close() // no close frame
	})
	_, err := n.dial().Receive(deadline(t))
	var closed *CloseError
	if !errors.As(err, &closed) || closed.Code != websocket.CloseAbnormalClosure || closed.Remote || !errors.Is(err, ErrLost) || !closed.Reconnect() {
		t.Errorf("error %v", err)
	}
}

// TestCloseCodeThatMustNotBeSent: 1006 is for this side alone (RFC 6455, section 7.4.1).
func TestCloseCodeThatMustNotBeSent(t *testing.T) {
	n := newNetwork(t, func(p *peer) {
		p.open()
		_, _ = p.ws.NetConn().Write([]byte{0x88, 2, 1006 >> 8, 1006 & 0xff})
		if code, _ := p.closeCode(); code != websocket.CloseProtocolError {
			t.Errorf("answered with %d", code)
		}
	})
	_, err := n.dial().Receive(deadline(t))
	var closed *CloseError
	if !errors.As(err, &closed) || closed.Code != websocket.CloseProtocolError || closed.Remote || !errors.Is(err, ErrMalformed) {
		t.Errorf("error %v", err)
	}
}

func TestUpgradeErrors(t *testing.T) {
	for name, test := range map[string]struct {
		answer func(w http.ResponseWriter)
		want   string
	}{
		"moved": {func(w http.ResponseWriter) {
			w.Header().Set("Location", "https://elsewhere.example/")
			w.WriteHeader(http.StatusFound)
		}, "HTTP 302 to https://elsewhere.example/"},
		"another handshake": {func(w http.ResponseWriter) {
			w.Header().Set("Upgrade", "websocket")
			w.Header().Set("Connection", "Upgrade")
			w.Header().Set("Sec-WebSocket-Accept", "no such key")
			w.WriteHeader(http.StatusSwitchingProtocols)
		}, "HTTP 101, but Upgrade, Connection or Sec-WebSocket-Accept is not that of a WebSocket"},
		"without a word": {func(w http.ResponseWriter) { w.WriteHeader(http.StatusForbidden) }, "HTTP 403"},
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { test.answer(w) }))
			t.Cleanup(server.Close)
			o := newNetwork(t, func(*peer) {}).options()
			o.URL = "ws" + strings.TrimPrefix(server.URL, "http")
			_, err := Dial(deadline(t), o)
			var upgrade *UpgradeError
			if !errors.As(err, &upgrade) || !strings.HasSuffix(upgrade.Error(), test.want) {
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
}

func TestDialFails(t *testing.T) {
	silent := func(p *peer) { p.closeCode() }
	for _, tt := range []struct {
		name   string
		script func(p *peer)
		change func(o *Options)
		want   error
	}{
		{"no handshake", silent, func(o *Options) { o.OpenTimeout = 50 * time.Millisecond }, ErrOpenTimeout},
		{"no open message", func(p *peer) { p.handshake(); p.closeCode() }, func(o *Options) { o.OpenTimeout = 50 * time.Millisecond }, ErrOpenTimeout},
		{"handshake is not CBOR", func(p *peer) { p.write([]byte{0xff}) }, nil, ErrMalformed},
		{"handshake is text", func(p *peer) { _ = p.ws.WriteMessage(websocket.TextMessage, nil) }, nil, ErrMalformed},
		{"another gateway", func(p *peer) { p.handshake() }, func(o *Options) { o.Gateway = "\x01another\x02" }, ErrGateway},
		{"open message for another client", func(p *peer) {
			p.handshake()
			p.takeOpen()
			p.service(candid.ServiceMessage{Kind: candid.OpenMessage, ClientKey: candid.ClientKey{Principal: p.key.Principal, Nonce: p.key.Nonce + 1}})
			p.closeCode()
		}, nil, ErrClientKey},
		{"application message first", func(p *peer) {
			p.handshake()
			p.takeOpen()
			p.app(nil)
			p.closeCode()
		}, nil, ErrService},
		{"acknowledgement first", func(p *peer) {
			p.handshake()
			p.takeOpen()
			p.service(candid.ServiceMessage{Kind: candid.AckMessage})
			p.closeCode()
		}, nil, ErrService},
	} {
		t.Run(tt.name, func(t *testing.T) {
			n := newNetwork(t, tt.script)
			opt := n.options()
			if tt.change != nil {
				tt.change(&opt)
			}
			_, err := Dial(deadline(t), opt)
			var closed *CloseError
			if !errors.Is(err, tt.want) || !errors.As(err, &closed) {
				t.Errorf("error %v, want %v", err, tt.want)
			}
		})
	}
}

func TestDialRefused(t *testing.T) {
	n := newNetwork(t, func(p *peer) {
		p.handshake()
		p.takeOpen()
		_ = p.ws.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(4203, "not on the list"), time.Now().Add(patience))
		p.closeCode()
	})
	_, err := Dial(deadline(t), n.options())
	var closed *CloseError
	if !errors.As(err, &closed) || !closed.Remote || closed.Code != 4203 || closed.Reason != "not on the list" {
		t.Errorf("error %v", err)
	}
}

func TestDialNoWebSocket(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "5")
		http.Error(w, "no more connections now", http.StatusServiceUnavailable)
	}))
	t.Cleanup(server.Close)
	opt := newNetwork(t, func(*peer) {}).options()
	opt.URL = "ws" + strings.TrimPrefix(server.URL, "http")
	_, err := Dial(deadline(t), opt)
	var upgrade *UpgradeError
	if !errors.As(err, &upgrade) {
		t.Fatalf("error %v", err)
	}
	if upgrade.Status != http.StatusServiceUnavailable || upgrade.Text != "no more connections now" || upgrade.RetryAfter != 5*time.Second {
		t.Errorf("%+v", upgrade)
	}
}

func TestDialContext(t *testing.T) {
	for _, tt := range []struct {
		name   string
		script func(p *peer, reached func())
	}{
		{"before the handshake", func(p *peer, reached func()) { reached(); p.closeCode() }},
		{"before the open message", func(p *peer, reached func()) { p.handshake(); p.takeOpen(); reached(); p.closeCode() }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(deadline(t))
			defer cancel()
			n := newNetwork(t, func(p *peer) { tt.script(p, cancel) })
			if _, err := Dial(ctx, n.options()); !errors.Is(err, context.Canceled) {
				t.Errorf("error %v", err)
			}
		})
	}
}

func TestOptions(t *testing.T) {
	n := newNetwork(t, func(*peer) {})
	for name, change := range map[string]func(*Options){
		"URL":      func(o *Options) { o.URL = "" },
		"Canister": func(o *Options) { o.Canister = "" },
		"Identity": func(o *Options) { o.Identity = nil },
		"Verifier": func(o *Options) { o.Verifier = nil },
	} {
		t.Run(name, func(t *testing.T) {
			opt := n.options()
			change(&opt)
			if _, err := Dial(deadline(t), opt); err == nil || !strings.Contains(err.Error(), "Options."+name) {
				t.Errorf("error %v", err)
			}
		})
	}
}

func TestTimeouts(t *testing.T) {
	const short = 50 * time.Millisecond
	for _, tt := range []struct {
		name   string
		change func(o *Options)
		want   error
	}{
		{"no acknowledgement", func(o *Options) { o.AckTimeout = short }, ErrAckTimeout},
		{"nothing heard", func(o *Options) { o.IdleTimeout = short; o.PingInterval = time.Hour }, ErrIdle},
	} {
		t.Run(tt.name, func(t *testing.T) {
			n := newNetwork(t, func(p *peer) { p.open(); p.closeCode() })
			c := n.dial(tt.change)
			if err := c.Send(deadline(t), []byte("hello")); err != nil {
				t.Fatal(err)
			}
			if _, err := c.Receive(deadline(t)); !errors.Is(err, tt.want) {
				t.Errorf("error %v, want %v", err, tt.want)
			}
		})
	}
}

// TestPings: a quiet gateway that answers pings is not idle.
func TestPings(t *testing.T) {
	pings := make(chan struct{}, 100)
	n := newNetwork(t, func(p *peer) {
		p.open()
		answer := p.ws.PingHandler()
		p.ws.SetPingHandler(func(data string) error {
			pings <- struct{}{}
			return answer(data)
		})
		p.closeCode()
	})
	c := n.dial(func(o *Options) { o.PingInterval = 20 * time.Millisecond; o.IdleTimeout = 500 * time.Millisecond })
	for range 40 { // longer than the idle timeout
		<-pings
	}
	if err := c.Err(); err != nil {
		t.Error(err)
	}
}

func TestSendWaitsForRoom(t *testing.T) {
	read := make(chan struct{})
	received := make(chan int, 1)
	n := newNetwork(t, func(p *peer) {
		p.open()
		<-read
		for count := 0; ; count++ {
			if _, err := p.takeMessage(); err != nil {
				received <- count
				return
			}
		}
	})
	c := n.dial(func(o *Options) { o.SendMessages = 2; o.CloseTimeout = patience })
	content := bytes.Repeat([]byte("x"), 1<<20)
	sent := 0
	for { // until the socket's buffers and the queue are full
		ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
		err := c.Send(ctx, content)
		cancel()
		if errors.Is(err, context.DeadlineExceeded) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if sent++; sent > 100 {
			t.Fatal("100 MiB were queued")
		}
	}
	close(read)
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	if got := <-received; got != sent {
		t.Errorf("%d of %d messages arrived", got, sent)
	}
}

func TestSendEndsWithTheConnection(t *testing.T) {
	full := make(chan struct{})
	n := newNetwork(t, func(p *peer) {
		p.open()
		<-full
	})
	c := n.dial(func(o *Options) { o.SendBytes = 1 << 20; o.CloseTimeout = 50 * time.Millisecond })
	content := bytes.Repeat([]byte("x"), 1<<20)
	var err error
	for sent := 0; err == nil; sent++ {
		ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
		err = c.Send(ctx, content)
		cancel()
	}
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Fatal(err)
	}
	waiting := make(chan error)
	go func() { waiting <- c.Send(context.Background(), content) }()
	close(full)
	var closed *CloseError
	if err := <-waiting; !errors.As(err, &closed) {
		t.Errorf("error %v", err)
	}
}

func TestSendTooLarge(t *testing.T) {
	n := newNetwork(t, echo)
	c := n.dial(func(o *Options) { o.MaxMessageBytes = 10; o.SendBytes = 5 })
	if err := c.Send(deadline(t), make([]byte, 11)); !errors.Is(err, ErrTooLarge) {
		t.Errorf("error %v", err)
	}
	// Larger than the queue, but allowed: it has the queue for itself.
	for range 3 {
		if err := c.Send(deadline(t), make([]byte, 10)); err != nil {
			t.Fatal(err)
		}
	}
	for range 3 {
		if got, err := c.Receive(deadline(t)); err != nil || len(got) != 10 {
			t.Fatal(len(got), err)
		}
	}
}

// TestReceiveHoldsTheSocketBack: with a full queue nothing is lost, and an
// acknowledgement behind it is answered when there is room again.
func TestReceiveHoldsTheSocketBack(t *testing.T) {
	const messages = 40
	for name, change := range map[string]func(*Options){
		"messages": func(o *Options) { o.ReceiveMessages = 1 },
		"bytes":    func(o *Options) { o.ReceiveBytes = 3 },
	} {
		t.Run(name, func(t *testing.T) {
			answered := make(chan struct{})
			n := newNetwork(t, func(p *peer) {
				p.open()
				for i := range messages {
					p.app(fmt.Append(nil, i))
				}
				p.service(candid.ServiceMessage{Kind: candid.AckMessage})
				if m, err := p.takeMessage(); err != nil || !m.IsServiceMessage {
					t.Errorf("%+v, %v", m, err)
				}
				close(answered)
				p.closeCode()
			})
			c := n.dial(change)
			for i := range messages {
				got, err := c.Receive(deadline(t))
				if err != nil || string(got) != fmt.Sprint(i) {
					t.Fatalf("got %q, %v", got, err)
				}
			}
			<-answered
		})
	}
}

func TestReceiveContext(t *testing.T) {
	n := newNetwork(t, echo)
	c := n.dial()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := c.Receive(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}

func TestCloseWhileQueuesAreFull(t *testing.T) {
	n := newNetwork(t, func(p *peer) {
		p.open()
		for range 100 {
			p.app([]byte("unread"))
		}
		p.closeCode()
	})
	c := n.dial(func(o *Options) { o.ReceiveMessages = 1 })
	if err := c.Close(); err != nil {
		t.Error(err)
	}
}

func TestCloseWithoutAnswer(t *testing.T) {
	hold := make(chan struct{})
	n := newNetwork(t, func(p *peer) { p.open(); <-hold })
	c := n.dial(func(o *Options) { o.CloseTimeout = 50 * time.Millisecond })
	start := time.Now()
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	close(hold)
	if took := time.Since(start); took > patience/2 {
		t.Errorf("took %s", took)
	}
}

func TestConcurrentUse(t *testing.T) {
	const senders, each = 8, 25
	n := newNetwork(t, echo)
	c := n.dial()
	var work sync.WaitGroup
	counts := make(chan int, senders)
	for s := range senders {
		work.Go(func() {
			for range each {
				if err := c.Send(deadline(t), []byte{byte(s)}); err != nil {
					t.Error(err)
				}
			}
		})
		work.Go(func() {
			got := 0
			for range each {
				if _, err := c.Receive(deadline(t)); err == nil {
					got++
				}
			}
			counts <- got
		})
	}
	work.Wait()
	close(counts)
	total := 0
	for n := range counts {
		total += n
	}
	if total != senders*each {
		t.Errorf("%d of %d messages came back", total, senders*each)
	}
	var ended sync.WaitGroup
	for range senders {
		ended.Go(func() { _ = c.Close() })
	}
	ended.Wait()
}

// FuzzFrame: whatever a gateway sends, the checker answers with an error.
func FuzzFrame(f *testing.F) {
	f.Add([]byte{})
	f.Add(candid.EncodeOutputFrame("key", []byte("content"), []byte("cert"), []byte("tree")))
	f.Add(candid.EncodeOutputFrame("key", nil, ic.EncodeCertificate(ic.Empty(), make([]byte, 48), nil), ic.Empty().Encode()))
	key, err := ic.GenerateBLSKey()
	if err != nil {
		f.Fatal(err)
	}
	verifier, err := ic.NewVerifier(key.PublicKeyDER())
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, frame []byte) {
		k := checker{verifier: verifier, canister: testCanister, maxAge: time.Minute}
		if m, err := k.check(frame, time.Now()); err == nil {
			t.Errorf("accepted without the key: %+v", m)
		}
	})
}
