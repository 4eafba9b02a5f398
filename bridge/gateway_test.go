package bridge

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"go.uber.org/goleak"

	"github.com/icrelay/icrelay/candid"
	"github.com/icrelay/icrelay/ic"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestConversation(t *testing.T) {
	b := newBench(t, nil)
	one, two := b.open(), b.open()
	for n := range 20 {
		one.send(fmt.Sprintf("one %d", n))
	}
	b.eventually("20 messages received", func() bool { return get(b.canister, func() bool { return len(b.canister.received) == 20 }) })
	for n, m := range b.canister.received {
		if string(m.Content) != fmt.Sprintf("one %d", n) {
			t.Fatalf("message %d is %q", n, m.Content)
		}
	}
	for n := range 120 { // more than two batches
		b.canister.send(one.key, fmt.Appendf(nil, "to one %d", n))
		b.canister.send(two.key, fmt.Appendf(nil, "to two %d", n))
	}
	for n := range 120 {
		if m := one.message(); string(m.Content) != fmt.Sprintf("to one %d", n) {
			t.Fatalf("one got %q at %d", m.Content, n)
		}
		if m := two.message(); string(m.Content) != fmt.Sprintf("to two %d", n) {
			t.Fatalf("two got %q at %d", m.Content, n)
		}
	}
	_ = one.conn.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(1000, ""), time.Now().Add(time.Second))
	b.eventually("the canister is told that one has gone", func() bool { return get(b.canister, func() bool { return b.canister.closed[one.key] == 1 }) })
	b.canister.send(two.key, []byte("still here"))
	if m := two.message(); string(m.Content) != "still here" {
		t.Fatalf("two got %q", m.Content)
	}
}

// A message that was read is delivered even when its sender has gone.
func TestMessageBeforeClose(t *testing.T) {
	release := make(chan struct{})
	b := newBench(t, func(_ *Options, c *testCanister) {
		c.onMessage = func(ctx context.Context, _ Envelope) error {
			select {
			case <-release:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	})
	p := b.open()
	for range 5 {
		p.send("last words")
	}
	_ = p.conn.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(1000, ""), time.Now().Add(time.Second))
	close(release)
	b.eventually("the client is closed", func() bool { return get(b.canister, func() bool { return b.canister.closed[p.key] == 1 }) })
	if n := get(b.canister, func() int { return len(b.canister.received) }); n != 5 {
		t.Fatalf("%d messages received before the close, want 5", n)
	}
}

func TestRefusals(t *testing.T) {
	stranger, err := ic.NewEd25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name  string
		open  bool // the session is open when the frame comes
		do    func(p *peer)
		code  int
		part  string
		cause cause
	}{
		{"text frame", false, func(p *peer) { _ = p.conn.WriteMessage(websocket.TextMessage, []byte("hello")) }, CloseUnsupportedData, "binary frames", causeTextFrame},
		{"text frame when open", true, func(p *peer) { _ = p.conn.WriteMessage(websocket.TextMessage, []byte("hello")) }, CloseUnsupportedData, "binary frames", causeTextFrame},
		{"not CBOR", false, func(p *peer) { p.write([]byte("hello")) }, CloseMalformed, "CBOR", causeMalformed},
		{"not CBOR when open", true, func(p *peer) { p.write([]byte("hello")) }, CloseMalformed, "CBOR", causeMalformed},
		{"empty frame", false, func(p *peer) { p.write(nil) }, CloseMalformed, "CBOR", causeMalformed},
		{"no envelope in it", false, func(p *peer) { p.write([]byte{0xa0}) }, CloseMalformed, "envelope", causeMalformed},
		{"too large", false, func(p *peer) { _ = p.conn.WriteMessage(websocket.BinaryMessage, make([]byte, 3<<20)) }, CloseFrameTooLarge, "", causeFrameSize},
		{"message first", false, func(p *peer) { p.send("hello") }, CloseNotAllowed, "ws_open", causeMethod},
		{"second open", true, func(p *peer) { p.write(p.sign(p.openEnvelope())) }, CloseNotAllowed, "ws_message", causeMethod},
		{"other method", true, func(p *peer) { p.write(p.sign(p.envelope("drain_treasury", nil))) }, CloseNotAllowed, "drain_treasury", causeMethod},
		{"other canister", false, func(p *peer) {
			env := p.openEnvelope()
			env.Canister = candid.Principal("\x00\x00\x00\x00\x00\x00\x00\x02\x01\x01")
			p.write(p.sign(env))
		}, CloseNotRouted, "no route", causeNotRouted},
		{"other canister when open", true, func(p *peer) {
			env := p.messageEnvelope([]byte("x"))
			env.Canister = candid.Principal("\x00\x00\x00\x00\x00\x00\x00\x02\x01\x01")
			p.write(p.sign(env))
		}, CloseNotAllowed, "is with canister", causeCanister},
		{"other sender when open", true, func(p *peer) {
			p.identity = stranger
			p.send("x")
		}, CloseNotAllowed, "is signed by", causeSender},
		{"other gateway", false, func(p *peer) {
			p.write(p.sign(p.envelope("ws_open", candid.EncodeOpenArgs(1, stranger.Principal()))))
		}, CloseNotAllowed, "names gateway", causeGateway},
		{"argument of another type", false, func(p *peer) { p.write(p.sign(p.envelope("ws_open", candid.EncodeText("x")))) }, CloseMalformed, "ws_open", causeMalformed},
		{"a query", false, func(p *peer) {
			env := p.openEnvelope()
			env.RequestType = "query"
			p.write(p.sign(env))
		}, CloseNotAllowed, "calls", causeNotCall},
		{"expired", false, func(p *peer) {
			env := p.openEnvelope()
			env.IngressExpiry = uint64(time.Now().Add(-time.Minute).UnixNano())
			p.write(p.sign(env))
		}, CloseNotAllowed, "ingress_expiry", causeExpiry},
		{"far future", false, func(p *peer) {
			env := p.openEnvelope()
			env.IngressExpiry = uint64(time.Now().Add(time.Hour).UnixNano())
			p.write(p.sign(env))
		}, CloseNotAllowed, "ingress_expiry", causeExpiry},
		{"altered after signing", false, func(p *peer) {
			env := p.openEnvelope()
			p.sign(env)
			env.Arg = candid.EncodeOpenArgs(p.key.Nonce+1, p.canister.gateway)
			p.write(candid.EncodeClientFrame(env.Encode()))
		}, CloseNotAllowed, "signature", causeSignature},
	}
	b := newBench(t, nil)
	bystander := b.open()
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			on := *b
			on.T = t
			var p *peer
			if test.open {
				p = on.open()
			} else {
				p = on.dial()
			}
			before := b.gateway.count.refusals[test.cause].Load()
			test.do(p)
			p.closed(test.code, test.part)
			on.counted(test.cause, before+1)
			if test.open {
				b.eventually("the canister is told", func() bool { return get(b.canister, func() bool { return b.canister.closed[p.key] == 1 }) })
			} else if get(b.canister, func() bool { _, known := b.canister.clients[p.key]; return known }) {
				t.Error("the canister knows the refused client")
			}
			b.canister.send(bystander.key, []byte(test.name))
			if m := bystander.message(); string(m.Content) != test.name {
				t.Errorf("the bystander got %q", m.Content)
			}
		})
	}
}

func TestCanisterRefusesOpen(t *testing.T) {
	b := newBench(t, func(_ *Options, c *testCanister) {
		c.refuseOpen = func(candid.ClientKey) error { return Refused("members only") }
	})
	p := b.dial()
	p.write(p.sign(p.openEnvelope()))
	p.cut(CloseRefused, "members only", causeOpenRefused)
	b.stop()
	if n := len(b.canister.closed); n != 0 {
		t.Errorf("the canister was told of %d clients that it had refused", n)
	}
	if b.canister.polls != 0 {
		t.Errorf("%d polls for a client that was refused", b.canister.polls)
	}
}

func TestCanisterNotReached(t *testing.T) {
	b := newBench(t, func(_ *Options, c *testCanister) {
		c.refuseOpen = func(candid.ClientKey) error { return errors.New("connection reset") }
	})
	p := b.dial()
	p.write(p.sign(p.openEnvelope()))
	p.cut(CloseTryAgainLater, "ws_open did not reach the canister", causeUnreachable)
	// Nobody knows whether it arrived: the canister is told to forget it.
	b.eventually("close", func() bool { return get(b.canister, func() bool { return b.canister.closed[p.key] == 1 }) })
}

func TestCanisterRefusesMessage(t *testing.T) {
	b := newBench(t, func(_ *Options, c *testCanister) {
		c.onMessage = func(context.Context, Envelope) error { return Refused("the target says no") }
	})
	p := b.open()
	p.send("x")
	p.cut(CloseMessageRefused, "the target says no", causeMessageRefused)
}

func TestDuplicateKeyNeverReplaces(t *testing.T) {
	b := newBench(t, nil)
	first := b.open()
	second := b.dial()
	second.identity, second.key = first.identity, first.key
	second.write(second.sign(second.openEnvelope()))
	second.cut(CloseDuplicate, "client_nonce", causeDuplicate)
	b.canister.send(first.key, []byte("mine"))
	if m := first.message(); string(m.Content) != "mine" {
		t.Errorf("first got %q", m.Content)
	}
	if n := get(b.canister, func() int { return b.canister.closed[first.key] }); n != 0 {
		t.Errorf("the canister was told %d times that the first has gone", n)
	}
}

func TestWindow(t *testing.T) {
	for _, window := range []int{1, 4} {
		t.Run(fmt.Sprint(window), func(t *testing.T) {
			full := make(chan struct{}, 100)
			b := newBench(t, func(_ *Options, c *testCanister) {
				c.window = window
				c.onMessage = func(ctx context.Context, _ Envelope) error {
					full <- struct{}{}
					select {
					case <-time.After(10 * time.Millisecond):
						return nil
					case <-ctx.Done():
						return ctx.Err()
					}
				}
			})
			p := b.open()
			for range 20 {
				p.send("x")
			}
			b.eventually("20 messages", func() bool { return get(b.canister, func() bool { return len(b.canister.received) == 20 }) })
			if got := get(b.canister, func() int { return b.canister.maxUnder }); got != window {
				t.Errorf("at most %d calls were under way, want %d", got, window)
			}
		})
	}
}

// A batch that a client would refuse is never forwarded, and polling goes on.
func TestBadBatches(t *testing.T) {
	tests := []struct {
		name    string
		corrupt func(c *testCanister, b *Batch) error
	}{
		{"content altered", func(_ *testCanister, b *Batch) error {
			b.Messages[0].Content = append([]byte{}, b.Messages[0].Content...)
			b.Messages[0].Content[len(b.Messages[0].Content)-1] ^= 1
			return nil
		}},
		{"signature altered", func(_ *testCanister, b *Batch) error {
			b.Cert = append([]byte{}, b.Cert...)
			b.Cert[len(b.Cert)-1] ^= 1
			return nil
		}},
		{"witness of other messages", func(c *testCanister, b *Batch) error {
			b.Tree, _ = c.certify(c.queue[:1])
			return nil
		}},
		{"leaf missing", func(c *testCanister, b *Batch) error {
			b.Tree, b.Cert = c.certify(c.queue[:1])
			return nil
		}},
		{"labels out of order", func(c *testCanister, b *Batch) error {
			messages := slices.Clone(b.Messages)
			slices.Reverse(messages)
			b.Tree, b.Cert = c.certify(messages)
			return nil
		}},
		{"garbage", func(_ *testCanister, b *Batch) error {
			b.Cert, b.Tree = []byte("x"), []byte("y")
			return nil
		}},
		{"nonce skipped", func(c *testCanister, b *Batch) error {
			b.Messages = append([]candid.OutputMessage{}, b.Messages...)
			b.Messages = append(b.Messages[:1], b.Messages[2:]...)
			return nil
		}},
		{"key without nonce", func(_ *testCanister, b *Batch) error {
			b.Messages = append([]candid.OutputMessage{}, b.Messages...)
			b.Messages[0].Key = "x"
			return nil
		}},
		{"failure", func(*testCanister, *Batch) error { return errors.New("connection reset") }},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			b := newBench(t, nil)
			p := b.open()
			bad := 0
			b.canister.set(func() {
				b.canister.corrupt = func(batch *Batch) error {
					if len(batch.Messages) < 3 || bad == 3 {
						return nil
					}
					bad++
					return test.corrupt(b.canister, batch)
				}
				for n := range 3 {
					b.canister.enqueue(p.key, false, fmt.Append(nil, n))
				}
			})
			for n := range 3 {
				if m := p.message(); string(m.Content) != fmt.Sprint(n) {
					t.Fatalf("got %q at %d", m.Content, n)
				}
			}
			if n := b.gateway.count.pollErrors.Load(); n != 3 {
				t.Errorf("%d poll errors counted, want 3", n)
			}
		})
	}
}

func TestCanisterForgets(t *testing.T) {
	b := newBench(t, nil)
	old := b.open()
	b.canister.send(old.key, []byte("before"))
	old.message()
	b.canister.forget()
	fresh := b.open() // its open message has a nonce that was passed long ago
	old.closed(CloseCanisterReset, "reconnect")
	b.canister.send(fresh.key, []byte("after"))
	if m := fresh.message(); string(m.Content) != "after" {
		t.Errorf("got %q", m.Content)
	}
}

// A replica that answers an open it has executed before brings a session that
// never gets a message. It must not make the gateway believe in a reset. It can
// happen after a restart of the gateway, which forgets what was used.
func TestReplayedOpenAfterRestart(t *testing.T) {
	b := newBench(t, func(o *Options, c *testCanister) { o.Limits.OpenTimeout = greetingPatience + time.Second })
	bystander := b.open()
	p := b.dial()
	frame := p.sign(p.openEnvelope())
	p.write(frame)
	p.message()
	_ = p.conn.Close()
	b.eventually("the canister is told", func() bool { return get(b.canister, func() bool { return b.canister.closed[p.key] == 1 }) })
	b.canister.set(func() { b.canister.answered[p.key] = true })
	b.gateway.opens.dropSoonest()

	ghost := b.dial()
	ghost.write(frame)
	ghost.closed(CloseOpenTimeout, "no message of the canister")
	b.canister.send(bystander.key, []byte("still here"))
	if m := bystander.message(); string(m.Content) != "still here" {
		t.Errorf("the bystander got %q", m.Content)
	}
}

// The CDK forgets a gateway that has had no clients for a while, and counts
// anew for the next one, who must get its messages from the first on.
func TestNoncesRestartBetweenClients(t *testing.T) {
	for _, messages := range []int{0, 1, 2, 10} {
		t.Run(fmt.Sprint(messages), func(t *testing.T) {
			b := newBench(t, nil)
			first := b.open()
			b.canister.send(first.key, []byte("x"))
			first.message()
			_ = first.conn.Close()
			b.eventually("the canister is told", func() bool { return get(b.canister, func() bool { return b.canister.closed[first.key] == 1 }) })
			b.canister.forget()
			b.canister.set(func() {
				b.canister.onOpen = func(key candid.ClientKey) {
					for n := range messages {
						b.canister.enqueue(key, false, fmt.Append(nil, n))
					}
				}
			})
			start := time.Now()
			second := b.open()
			for n := range messages {
				if m := second.message(); string(m.Content) != fmt.Sprint(n) {
					t.Fatalf("got %q at %d", m.Content, n)
				}
			}
			if took := time.Since(start); took > greetingPatience {
				t.Errorf("it took %s", took)
			}
		})
	}
}

// The same while an old client is connected, who has to be told.
func TestNoncesRestartUnderClients(t *testing.T) {
	for _, messages := range []int{0, 2, 10} {
		t.Run(fmt.Sprint(messages), func(t *testing.T) {
			b := newBench(t, nil)
			old := b.open()
			b.canister.send(old.key, []byte("x"))
			old.message()
			b.canister.forget()
			b.canister.set(func() {
				b.canister.onOpen = func(key candid.ClientKey) {
					for n := range messages {
						b.canister.enqueue(key, false, fmt.Append(nil, n))
					}
				}
			})
			second := b.open()
			for n := range messages {
				if m := second.message(); string(m.Content) != fmt.Sprint(n) {
					t.Fatalf("got %q at %d", m.Content, n)
				}
			}
			old.closed(CloseCanisterReset, "reconnect")
		})
	}
}

// A client that speaks to a canister that has forgotten it makes the others hear of it.
func TestForgottenWithoutNewcomers(t *testing.T) {
	b := newBench(t, nil)
	active, passive := b.open(), b.open()
	b.canister.forget()
	active.send("hello?")
	active.closed(CloseMessageRefused, "not connected")
	passive.closed(CloseCanisterReset, "reconnect")
}

// A replica that answers the first poll after a message, and is behind, costs little,
// also when nothing was said for a while before.
func TestReplicaBehindAnswer(t *testing.T) {
	var until atomic.Int64
	b := newBench(t, func(o *Options, c *testCanister) {
		o.Polling = Polling{Interval: 20 * time.Millisecond, IdleInterval: time.Hour}
		c.corrupt = func(batch *Batch) error {
			if time.Now().UnixNano() < until.Load() {
				*batch = Batch{EndOfQueue: true}
			}
			return nil
		}
		c.onMessage = func(_ context.Context, env Envelope) error {
			until.Store(time.Now().Add(30 * time.Millisecond).UnixNano())
			c.mu.Lock()
			defer c.mu.Unlock()
			c.enqueue(env.Client, false, []byte("echo"))
			return nil
		}
	})
	p := b.open()
	b.eventually("the poller has slowed down", func() (slow bool) {
		b.canister.set(func() { slow = b.canister.polls >= 9 })
		return slow
	})
	start := time.Now()
	p.send("hello")
	if m := p.message(); string(m.Content) != "echo" {
		t.Errorf("got %q", m.Content)
	}
	if took := time.Since(start); took > time.Second {
		t.Errorf("the echo took %s", took)
	}
}

// The answer of a replica that is behind a refusal does not settle the doubt that
// the refusal has raised, also when another one has said that there is nothing.
func TestForgottenBehindRefusal(t *testing.T) {
	const behind = 200 * time.Millisecond
	for name, empty := range map[string]bool{"behind": false, "behind and not in turn": true} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, func(_ *Options, c *testCanister) { c.age = 2 * behind }) // and not less, however late the timer below is
			active, passive := b.open(), b.open()
			b.canister.set(func() {
				answers := 0
				b.canister.corrupt = func(batch *Batch) error {
					if answers++; empty && answers%2 == 1 {
						*batch = Batch{EndOfQueue: true}
					}
					return nil
				}
				b.canister.onMessage = func(context.Context, Envelope) error {
					b.canister.set(func() { answers = 0 })
					time.AfterFunc(behind, func() { // the replicas that answer polls learn of it
						b.canister.forget()
						b.canister.set(func() { b.canister.age = 0 })
					})
					return Refused("client not connected")
				}
			})
			active.send("hello?")
			active.closed(CloseMessageRefused, "not connected")
			passive.closed(CloseCanisterReset, "reconnect")
		})
	}
}

// One replica that is behind, or pretends that there is nothing, ends no session.
func TestLaggingReplica(t *testing.T) {
	b := newBench(t, nil)
	p := b.open()
	b.canister.send(p.key, []byte("x"))
	p.message()
	lies := 0
	b.canister.set(func() {
		b.canister.corrupt = func(batch *Batch) error {
			if lies < missingTimes-1 {
				lies++
				*batch = Batch{EndOfQueue: true}
			}
			return nil
		}
	})
	b.gateway.hubs[b.canister.id].doubt()
	b.eventually("the doubts are settled", func() bool { return b.gateway.hubs[b.canister.id].doubted.Load() == 0 })
	b.canister.send(p.key, []byte("still here"))
	if m := p.message(); string(m.Content) != "still here" {
		t.Errorf("got %q", m.Content)
	}
}

// A connection whose first message is lost for good is ended, the others go on.
func TestGreetingLost(t *testing.T) {
	b := newBench(t, nil)
	bystander := b.open()
	b.canister.set(func() {
		b.canister.onOpen = func(key candid.ClientKey) {
			b.canister.queue[len(b.canister.queue)-1].ClientKey = bystander.key // nobody's any more
			b.canister.queue = b.canister.queue[:len(b.canister.queue)-1]
			b.canister.enqueue(key, false, []byte("second"))
		}
	})
	p := b.dial()
	p.write(p.sign(p.openEnvelope()))
	p.closed(CloseCanisterReset, "first message")
	b.canister.send(bystander.key, []byte("still here"))
	if m := bystander.message(); string(m.Content) != "still here" {
		t.Errorf("the bystander got %q", m.Content)
	}
}

// The stock client needs a moment after the handshake; a refusal does not wait.
func TestFirstMessageDelay(t *testing.T) {
	const delay = 200 * time.Millisecond
	b := newBench(t, func(o *Options, _ *testCanister) { o.FirstMessageDelay = delay })
	start := time.Now()
	p := b.open()
	if took := time.Since(start); took < delay {
		t.Errorf("the first message came after %s", took)
	}
	start = time.Now()
	b.canister.send(p.key, []byte("x"))
	p.message()
	if took := time.Since(start); took > delay {
		t.Errorf("the second message took %s", took)
	}
	start = time.Now()
	q := b.dial()
	q.write([]byte("not CBOR"))
	q.closed(CloseMalformed, "CBOR")
	if took := time.Since(start); took > delay {
		t.Errorf("the refusal took %s", took)
	}
}

// A message that stalls holds up those more than a window behind it.
func TestWindowIsADistance(t *testing.T) {
	const size = 4
	release := make(chan struct{})
	b := newBench(t, func(_ *Options, c *testCanister) {
		c.window = size
		c.onMessage = func(ctx context.Context, env Envelope) error {
			if sequenceOf(t, env) > 1 {
				return nil
			}
			select {
			case <-release:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	})
	p := b.open()
	for range 20 {
		p.send("x")
	}
	b.eventually("the window is full", func() bool { return get(b.canister, func() bool { return len(b.canister.received) == size-1 }) })
	time.Sleep(50 * time.Millisecond)
	if n := get(b.canister, func() int { return len(b.canister.received) }); n != size-1 {
		t.Errorf("%d messages passed the stalled one, want %d", n, size-1)
	}
	close(release)
	b.eventually("all 20", func() bool { return get(b.canister, func() bool { return len(b.canister.received) == 20 }) })
}

// The end of a session while its open is under way: the timer, a stop.
func TestEndDuringOpen(t *testing.T) {
	b := newBench(t, func(o *Options, c *testCanister) {
		o.Limits.OpenTimeout = 30 * time.Millisecond
		c.slowOpen = 100 * time.Millisecond
	})
	p := b.dial()
	p.write(p.sign(p.openEnvelope()))
	p.closed(CloseOpenTimeout, "")
	b.eventually("the canister is told", func() bool { return get(b.canister, func() bool { return b.canister.closed[p.key] == 1 }) })
	q := b.dial()
	q.write(q.sign(q.openEnvelope()))
	b.stop()
}

// After errors of polls, a newcomer whose open succeeds is served at once.
func TestOpenEndsBackoff(t *testing.T) {
	b := newBench(t, func(o *Options, c *testCanister) { o.Polling.MaxBackoff = time.Hour })
	p := b.open()
	b.canister.set(func() { b.canister.corrupt = func(*Batch) error { return errors.New("connection reset") } })
	b.eventually("a long pause", func() bool { return b.gateway.count.pollErrors.Load() > 8 })
	b.canister.set(func() { b.canister.corrupt = nil })
	b.open()
	b.canister.send(p.key, []byte("again"))
	if m := p.message(); string(m.Content) != "again" {
		t.Errorf("got %q", m.Content)
	}
}

// What was queued for a client before its end still reaches it, if it reads.
func TestQueueBeforeClose(t *testing.T) {
	b := newBench(t, func(o *Options, _ *testCanister) { o.Limits.WriteTimeout = time.Second })
	p := b.open()
	big := bytes.Repeat([]byte("x"), 50_000)
	for range 100 {
		b.canister.send(p.key, big)
	}
	b.eventually("all is queued", func() bool { return b.gateway.count.messagesOut.Load() == 101 })
	p.write([]byte("not CBOR"))
	for range 100 {
		p.message()
		time.Sleep(15 * time.Millisecond) // slower than one write timeout in all
	}
	p.closed(CloseMalformed, "CBOR")
}

func TestBackoff(t *testing.T) {
	for errs := range 200 {
		for _, first := range []time.Duration{time.Millisecond, time.Second, 24 * time.Hour} {
			if d := backoff(first, 30*time.Second, errs); d < 0 || d > max(first, 30*time.Second) {
				t.Fatalf("backoff(%s, 30s, %d) = %s", first, errs, d)
			}
		}
	}
}

func TestSlowReader(t *testing.T) {
	b := newBench(t, func(o *Options, _ *testCanister) {
		o.Limits.QueueBytes = 1 << 20
		o.Limits.WriteTimeout = time.Second
	})
	slow, quick := b.open(), b.open()
	big := bytes.Repeat([]byte("x"), 100_000)
	b.eventually("the slow client is given up", func() bool {
		b.canister.send(slow.key, big)
		b.canister.send(quick.key, []byte("small"))
		if m := quick.message(); string(m.Content) != "small" {
			t.Fatalf("quick got %d bytes", len(m.Content))
		}
		return get(b.canister, func() bool { return b.canister.closed[slow.key] == 1 })
	})
	if b.gateway.count.closes[CloseTryAgainLater] != 1 {
		t.Errorf("closes = %v", b.gateway.count.closes)
	}
}

func TestTimeouts(t *testing.T) {
	b := newBench(t, func(o *Options, _ *testCanister) {
		o.Limits.OpenTimeout = 50 * time.Millisecond
		o.Limits.PingInterval = 20 * time.Millisecond
		o.Limits.IdleTimeout = 300 * time.Millisecond
	})
	alive := b.open()
	pings := make(chan struct{}, 100)
	pong := alive.conn.PingHandler()
	alive.conn.SetPingHandler(func(data string) error {
		select {
		case pings <- struct{}{}:
		default:
		}
		return pong(data)
	})
	silent := b.open()
	silent.conn.SetPingHandler(func(string) error { return nil }) // sends no pong

	b.dial().cut(CloseOpenTimeout, "handshake", causeOpenTimeout)
	go func() { // answers pings while it waits
		for range 20 {
			<-pings
		}
		b.canister.send(alive.key, []byte("you live"))
	}()
	if m := alive.message(); string(m.Content) != "you live" {
		t.Errorf("alive got %q", m.Content)
	}
	silent.cut(CloseIdle, "pong", causeIdle)
}

// TestSlowFrame: a large frame that takes longer than the idle timeout, but keeps
// coming, is taken; one that stops is not.
func TestSlowFrame(t *testing.T) {
	b := newBench(t, func(o *Options, _ *testCanister) {
		o.Limits.IdleTimeout, o.Limits.PingInterval = 600*time.Millisecond, time.Hour
	})
	write := func(p *peer, parts int) {
		t.Helper()
		frame := p.sign(p.messageEnvelope(make([]byte, 8*signOfLife)))
		w, err := p.conn.NextWriter(websocket.BinaryMessage)
		if err != nil {
			t.Fatal(err)
		}
		for i := range parts {
			if _, err := w.Write(frame[i*len(frame)/8 : (i+1)*len(frame)/8]); err != nil {
				t.Fatal(err)
			}
			time.Sleep(150 * time.Millisecond) // the client's line is slow
		}
		if parts == 8 {
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
	write(b.open(), 8)
	b.receivedAll(1)
	write(b.open(), 3)
	b.eventually("the one that has stopped is closed, and the other, which is silent now", func() bool { return b.closes(CloseIdle) == 2 })
}

func TestPollerRestsWithoutClients(t *testing.T) {
	b := newBench(t, nil)
	for range 3 {
		p := b.open()
		_ = p.conn.Close()
		b.eventually("the poller ends", func() bool {
			h := b.gateway.hubs[b.canister.id]
			h.mu.Lock()
			defer h.mu.Unlock()
			return !h.polling && len(h.sessions) == 0
		})
	}
	before := get(b.canister, func() int { return b.canister.polls })
	time.Sleep(100 * time.Millisecond)
	if after := get(b.canister, func() int { return b.canister.polls }); after != before {
		t.Errorf("%d polls without clients", after-before)
	}
}

func TestAnyRouteForgetsCanisters(t *testing.T) {
	b := newBench(t, func(o *Options, c *testCanister) {
		o.Routes[0].Any = true
		c.refuseOpen = func(candid.ClientKey) error { return Refused("no") }
	})
	for n := range 5 {
		p := b.dial()
		env := p.openEnvelope()
		env.Canister = candid.Principal([]byte{byte(n), 1, 1})
		p.write(p.sign(env))
		p.closed(CloseRefused, "no")
	}
	b.eventually("no canister is remembered", func() bool {
		b.gateway.mu.Lock()
		defer b.gateway.mu.Unlock()
		return len(b.gateway.hubs) == 0
	})
}

// TestPollsLieApart: however often the poller is woken, there is time between polls,
// and nothing of what woke it is forgotten.
func TestPollsLieApart(t *testing.T) {
	b := newBench(t, nil)
	p := b.open()
	h := b.gateway.hubs[b.canister.id]
	before, start := get(b.canister, func() int { return b.canister.polls }), time.Now()
	sent := 0
	for ; time.Since(start) < 200*time.Millisecond; sent++ {
		b.canister.send(p.key, []byte("x"))
		h.wake()
	}
	for range sent {
		p.message()
	}
	polls, most := get(b.canister, func() int { return b.canister.polls })-before, int(time.Since(start)/pollGap)+2
	if polls > most {
		t.Errorf("%d polls in %s, want %d at most", polls, time.Since(start), most)
	}
}

// TestAnyRouteKeepsItsPlace: what a canister said to clients that have gone is not
// read again for the next one.
func TestAnyRouteKeepsItsPlace(t *testing.T) {
	b := newBench(t, func(o *Options, _ *testCanister) { o.Routes = []Route{{Any: true, Adapter: o.Routes[0].Adapter}} })
	for range 3 {
		p := b.open()
		for range 20 {
			b.canister.send(p.key, []byte("x"))
			p.message()
		}
		_ = p.conn.Close()
		b.eventually("the canister has no hub", func() bool {
			b.gateway.mu.Lock()
			defer b.gateway.mu.Unlock()
			return len(b.gateway.hubs) == 0
		})
	}
	if n := b.gateway.count.messagesStale.Load(); n != 0 {
		t.Errorf("%d messages of clients that have gone were read again", n)
	}
}

func TestStop(t *testing.T) {
	b := newBench(t, nil)
	peers := make([]*peer, 50)
	for i := range peers {
		peers[i] = b.open()
	}
	waiting := b.dial()
	done := make(chan struct{})
	go func() {
		defer close(done)
		b.gateway.Stop(context.Background())
	}()
	for _, p := range append(peers, waiting) {
		p.closed(CloseGoingAway, "stops")
	}
	<-done
	for _, p := range peers {
		if n := b.canister.closed[p.key]; n != 1 {
			t.Errorf("the canister was told %d times that %s has gone", n, p.key)
		}
	}
	_, response, err := websocket.DefaultDialer.Dial("ws"+strings.TrimPrefix(b.server.URL, "http"), nil)
	if err == nil || response == nil || response.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("a new socket after the stop: %v", err)
	}
}

// A canister that does not answer cannot hold up a stop.
func TestStopDeadline(t *testing.T) {
	b := newBench(t, func(o *Options, c *testCanister) {
		o.Limits.StopTimeout = 100 * time.Millisecond
		c.onMessage = func(ctx context.Context, _ Envelope) error {
			<-ctx.Done()
			return ctx.Err()
		}
	})
	p := b.open()
	p.send("x")
	start := time.Now()
	b.stop()
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("the stop took %s", took)
	}
}

// When many clients go at once, few calls at a time tell the canister, and it is
// told of all. A stop does not wait for those that had no turn.
func TestManyFarewells(t *testing.T) {
	answer := make(chan struct{})
	b := newBench(t, func(o *Options, c *testCanister) {
		o.Limits.StopTimeout = 100 * time.Millisecond
		c.onClose = func(ctx context.Context) {
			select {
			case <-answer:
			case <-ctx.Done():
			}
		}
	})
	b.gateway.farewells = 3
	leave := func(n int) (keys []candid.ClientKey) {
		for range n {
			p := b.open()
			keys = append(keys, p.key)
			_ = p.conn.Close()
		}
		b.eventually("three calls under way", func() bool { return get(b.canister, func() int { return b.canister.under }) == 3 })
		return keys
	}
	keys := leave(20)
	close(answer)
	b.eventually("no session left", func() bool {
		b.gateway.mu.Lock()
		defer b.gateway.mu.Unlock()
		return len(b.gateway.sessions) == 0
	})
	for _, key := range keys {
		if n := get(b.canister, func() int { return b.canister.closed[key] }); n != 1 {
			t.Errorf("the canister was told %d times that %s has gone", n, key)
		}
	}
	if most := get(b.canister, func() int { return b.canister.maxUnder }); most != 3 {
		t.Errorf("%d calls were under way, want 3", most)
	}

	answer = make(chan struct{})
	leave(20)
	start := time.Now()
	b.stop()
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("the stop took %s", took)
	}
}

func TestConnectionLimit(t *testing.T) {
	b := newBench(t, func(o *Options, _ *testCanister) { o.Limits.MaxConnections = 2 })
	b.open()
	second := b.open()
	_, response, err := websocket.DefaultDialer.Dial("ws"+strings.TrimPrefix(b.server.URL, "http"), nil)
	if err == nil || response == nil || response.StatusCode != http.StatusServiceUnavailable || response.Header.Get("Retry-After") == "" {
		t.Fatalf("third socket: %v", err)
	}
	_ = second.conn.Close()
	b.eventually("a place is free", func() bool { n, _ := b.gateway.connections(); return n == 1 })
	b.open()
}

// A session whose socket is gone holds no place, whatever its last calls take.
func TestConnectionLimitCountsSockets(t *testing.T) {
	release := make(chan struct{})
	b := newBench(t, func(o *Options, c *testCanister) {
		o.Limits.MaxConnections = 1
		c.onMessage = func(ctx context.Context, _ Envelope) error {
			select {
			case <-release:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	})
	defer close(release)
	first := b.open()
	first.send("slow")
	b.eventually("the call is under way", func() bool { return get(b.canister, func() bool { return b.canister.under == 1 }) })
	_ = first.conn.Close()
	b.eventually("the place is free", func() bool { n, _ := b.gateway.connections(); return n == 0 })
	b.dial()
	response, err := http.Get(b.server.URL + "/info")
	if err != nil {
		t.Fatal(err)
	}
	_ = response.Body.Close()
	upgrade, err := http.NewRequest(http.MethodGet, b.server.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	upgrade.Header.Set("Connection", "Upgrade")
	upgrade.Header.Set("Upgrade", "websocket") // and nothing else: cannot be upgraded
	if response, err = http.DefaultClient.Do(upgrade); err != nil {
		t.Fatal(err)
	}
	_ = response.Body.Close()
	if n, _ := b.gateway.connections(); n != 1 {
		t.Errorf("%d sockets counted, want 1", n)
	}
}

func TestInfo(t *testing.T) {
	b := newBench(t, func(o *Options, _ *testCanister) {
		o.Info = Info{Network: NetworkInfo{URL: "http://127.0.0.1:1", RootKeyHex: "00"}, Canisters: map[string]string{"a": "aaaaa-aa"}}
	})
	response, err := http.Get(b.server.URL + "/info")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	var info Info
	if err := json.NewDecoder(response.Body).Decode(&info); err != nil {
		t.Fatal(err)
	}
	if info.GatewayPrincipal != b.canister.gateway.String() || info.Network.URL != "http://127.0.0.1:1" || info.Canisters["a"] != "aaaaa-aa" ||
		len(info.Routes) != 1 || info.Routes[0] != (RouteInfo{b.canister.id.String(), "test"}) {
		t.Errorf("info = %+v", info)
	}
	for path, want := range map[string]int{"/health": 200, "/": 200, "/nothing": 404} {
		response, err := http.Get(b.server.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		_ = response.Body.Close()
		if response.StatusCode != want {
			t.Errorf("GET %s = %d, want %d", path, response.StatusCode, want)
		}
	}
}

func TestCloseReasonFits(t *testing.T) {
	for _, text := range []string{"", "short", strings.Repeat("x", 200), strings.Repeat("ü", 100), "\xff\xfe"} {
		frame := CloseReason{4200, text}.frame()
		if len(frame) > 125 {
			t.Errorf("%.20q: %d bytes", text, len(frame))
		}
		if !bytes.Equal([]byte(strings.ToValidUTF8(string(frame[2:]), "")), frame[2:]) {
			t.Errorf("%.20q: not UTF-8", text)
		}
	}
}
