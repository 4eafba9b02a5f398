package bridge

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/icrelay/icrelay/ic"
)

// socketPair is a socket and the connection at its other end.
func socketPair(t *testing.T) (*socket, net.Conn) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	far, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	conn, err := Listener(listener).Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = far.Close(), conn.Close() })
	s, ok := conn.(*socket)
	if !ok {
		t.Fatalf("%T", conn)
	}
	return s, far
}

// TestSocketDoesNotWait: what the other side does not read is kept, and goes its
// way in order when it does.
func TestSocketDoesNotWait(t *testing.T) {
	const chunks = 40
	s, far := socketPair(t)
	s.hurry()
	s.expect(chunks << 20)
	var all []byte
	start := time.Now()
	for i := range chunks {
		chunk := bytes.Repeat([]byte{byte(i)}, 1<<20)
		all = append(all, chunk...)
		if n, err := s.Write(chunk); n != len(chunk) || err != nil {
			t.Fatal(n, err)
		}
	}
	if took := time.Since(start); took > 5*time.Second || !s.behind() {
		t.Fatalf("took %s, behind: %t", took, s.behind())
	}
	s.expect(0)
	if _, err := s.Write([]byte("x")); !errors.Is(err, errBehind) {
		t.Fatalf("more than there is room for: %v", err)
	}
	if err := s.flush(time.Now().Add(50 * time.Millisecond)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("nobody reads: %v", err)
	}
	var read sync.WaitGroup
	read.Go(func() {
		got := make([]byte, len(all))
		if _, err := io.ReadFull(far, got); err != nil || !bytes.Equal(got, all) {
			t.Errorf("something else has come: %v", err)
		}
	})
	if err := s.flush(time.Now().Add(time.Minute)); err != nil || s.behind() {
		t.Fatal(err, s.behind())
	}
	read.Wait()

	if err := s.flush(time.Now().Add(-time.Second)); err != nil {
		t.Errorf("with nothing to send: %v", err)
	}
	_ = s.Close()
	if _, err := s.Write([]byte("x")); err == nil {
		t.Error("it takes bytes although it is closed")
	}
}

// TestSocketBefore: until it is eager a socket is a connection like any other.
func TestSocketBefore(t *testing.T) {
	s, far := socketPair(t)
	if err := s.SetDeadline(time.Now().Add(50 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Write(make([]byte, 64<<20)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("nobody reads: %v", err)
	}
	if _, err := s.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("nobody writes: %v", err)
	}
	s.hurry() // what the deadline was for is over
	if _, err := s.Write([]byte("x")); err != nil {
		t.Errorf("eager, after a deadline: %v", err)
	}
	_ = far.Close()
	if conn := newSocket(s); conn != net.Conn(s) {
		t.Error("a socket is wrapped again")
	}
}

// TestPingIsAnswered beside messages, by what writes them.
func TestPingIsAnswered(t *testing.T) {
	for name, b := range map[string]*bench{"plain": newBench(t, nil), "TLS": newSecureBench(t, nil)} {
		p := b.open()
		var pongs []string
		p.conn.SetPongHandler(func(data string) error {
			pongs = append(pongs, data)
			return nil
		})
		for i := range 20 {
			if err := p.conn.WriteControl(websocket.PingMessage, fmt.Append(nil, i), time.Now().Add(time.Second)); err != nil {
				t.Fatal(err)
			}
			b.canister.send(p.key, []byte("message"))
			p.message()
		}
		b.canister.send(p.key, []byte("last"))
		p.message()
		if len(pongs) == 0 || pongs[len(pongs)-1] != "19" {
			t.Errorf("%s: %q", name, pongs)
		}
	}
}

// TestCloseIsAnswered although messages wait that the client does not want any more.
func TestCloseIsAnswered(t *testing.T) {
	b := newBench(t, func(o *Options, _ *testCanister) { o.FirstMessageDelay = time.Hour })
	p := b.dial()
	p.write(p.sign(p.openEnvelope()))
	b.eventually("a message waits", func() bool { return b.gateway.count.messagesOut.Load() == 1 })
	if err := p.conn.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(websocket.CloseGoingAway, "bye"), time.Now().Add(time.Second)); err != nil {
		t.Fatal(err)
	}
	p.closed(websocket.CloseGoingAway, "")
	b.eventually("the canister is told", func() bool { return get(b.canister, func() bool { return b.canister.closed[p.key] == 1 }) })
}

// TestPollBeforeVerification: the canister is asked for messages as soon as a
// call has an answer, whatever time the verification of that takes, and not a
// second time afterwards.
func TestPollBeforeVerification(t *testing.T) {
	verified := make(chan struct{})
	b := newBench(t, func(o *Options, c *testCanister) {
		o.Polling.Interval, o.Polling.IdleInterval = time.Hour, time.Hour
		c.onMessage = func(ctx context.Context, env Envelope) error {
			c.send(env.Client, []byte("answer"))
			ic.Answered(ctx)
			<-verified
			return nil
		}
	})
	p := b.open()
	p.send("question")
	if m := p.message(); string(m.Content) != "answer" {
		t.Fatalf("got %q", m.Content)
	}
	polls := get(b.canister, func() int { return b.canister.polls })
	close(verified)
	b.eventually("the call is over", func() bool { return b.gateway.count.messagesIn.Load() == 1 })
	time.Sleep(50 * time.Millisecond)
	if again := get(b.canister, func() int { return b.canister.polls }); again != polls {
		t.Errorf("%d more polls", again-polls)
	}
}

// TestAnsweredAgain: a first answer that does not count, because it does not
// verify or says that the call is still processing, is not the only one to be told of.
func TestAnsweredAgain(t *testing.T) {
	b := newBench(t, func(o *Options, c *testCanister) {
		o.Polling.Interval, o.Polling.IdleInterval = time.Hour, time.Hour
		c.onMessage = func(ctx context.Context, env Envelope) error {
			ic.Answered(ctx)
			time.Sleep(100 * time.Millisecond)
			c.send(env.Client, []byte("answer"))
			ic.Answered(ctx)
			return nil
		}
	})
	p := b.open()
	p.send("question")
	if m := p.message(); string(m.Content) != "answer" {
		t.Fatalf("got %q", m.Content)
	}
}
