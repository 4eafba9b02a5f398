package client

import (
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/icrelay/icrelay/candid"
	"github.com/icrelay/icrelay/ic"
)

// countingIdentity counts what it signs.
type countingIdentity struct {
	ic.Identity
	signed atomic.Int64
}

func (id *countingIdentity) Sign(message []byte) ([]byte, error) {
	id.signed.Add(1)
	return id.Identity.Sign(message)
}

// inOrder echoes messages and wants their numbers to count up. After the first
// so many it acknowledges, which the client answers with a message of its own.
func inOrder(acknowledge uint64) func(p *peer) {
	return func(p *peer) {
		p.open()
		for next := uint64(1); ; next++ {
			m, err := p.takeMessage()
			if err != nil {
				return
			}
			if m.SequenceNum != next {
				p.t.Errorf("message %d where %d is next", m.SequenceNum, next)
			}
			if m.IsServiceMessage {
				continue
			}
			p.app(m.Content)
			if m.SequenceNum == acknowledge {
				p.service(candid.ServiceMessage{Kind: candid.AckMessage, LastIncoming: m.SequenceNum})
			}
		}
	}
}

// prepare connects a client that has prepared so many messages that long ago.
func (n *network) prepare(messages int, ago time.Duration) (c *Conn, identity *countingIdentity, prepared []*Prepared) {
	n.t.Helper()
	var late atomic.Int64
	late.Store(int64(-ago))
	c = n.dial(func(o *Options) {
		identity = &countingIdentity{Identity: o.Identity}
		o.Identity = identity
		o.Now = func() time.Time { return time.Now().Add(time.Duration(late.Load())) }
	})
	for i := range messages {
		p, err := c.Prepare(fmt.Appendf(nil, "message %d", i))
		if err != nil {
			n.t.Fatal(err)
		}
		prepared = append(prepared, p)
	}
	late.Store(0)
	return c, identity, prepared
}

func TestPrepared(t *testing.T) {
	const messages = 6
	for name, test := range map[string]struct {
		acknowledge uint64        // this message
		wait        time.Duration // between signing and sending, by the client's clock
		plain       bool          // a message that was not prepared comes in between
		anew        int64         // signatures while the messages are sent
		prepared    uint64        // those of them that are of prepared messages
	}{
		"sent as signed":                 {},
		"a keep-alive takes a number":    {acknowledge: 2, anew: 1 + messages - 2, prepared: messages - 2},
		"too old":                        {wait: preparedLife, anew: messages, prepared: messages},
		"a plain message takes a number": {plain: true, anew: 1 + messages, prepared: messages},
	} {
		t.Run(name, func(t *testing.T) {
			n := newNetwork(t, inOrder(test.acknowledge))
			c, identity, prepared := n.prepare(messages, test.wait)
			signed := identity.signed.Load()
			if test.plain {
				if err := c.Send(deadline(t), []byte("plain")); err != nil {
					t.Fatal(err)
				}
				if got, err := c.Receive(deadline(t)); err != nil || string(got) != "plain" {
					t.Fatalf("got %q, %v", got, err)
				}
			}
			for i, p := range prepared {
				if err := c.SendPrepared(deadline(t), p); err != nil {
					t.Fatal(err)
				}
				got, err := c.Receive(deadline(t))
				if want := fmt.Sprintf("message %d", i); err != nil || string(got) != want {
					t.Fatalf("got %q, %v, want %q", got, err, want)
				}
				for test.acknowledge == uint64(i+1) && identity.signed.Load() == signed {
					time.Sleep(time.Millisecond) // until the keep-alive is on its way
				}
			}
			if got := identity.signed.Load() - signed; got != test.anew {
				t.Errorf("%d signatures while the messages were sent, want %d", got, test.anew)
			}
			if got := c.SignedAnew(); got != test.prepared {
				t.Errorf("%d prepared messages were signed anew, want %d", got, test.prepared)
			}
			// What is prepared now knows of everything before.
			signed = identity.signed.Load()
			p, err := c.Prepare([]byte("last"))
			if err != nil {
				t.Fatal(err)
			}
			if err := c.SendPrepared(deadline(t), p); err != nil {
				t.Fatal(err)
			}
			if _, err := c.Receive(deadline(t)); err != nil {
				t.Fatal(err)
			}
			if got := identity.signed.Load() - signed; got != 1 {
				t.Errorf("%d signatures for a message that was prepared once", got)
			}
		})
	}
}

// TestRenew: what is renewed after a keep-alive, or when it is old, is sent as it is.
func TestRenew(t *testing.T) {
	const messages = 4
	for name, test := range map[string]struct {
		acknowledge uint64
		wait        time.Duration
		renewed     bool
	}{
		"nothing happened":            {},
		"a keep-alive takes a number": {acknowledge: 1, renewed: true},
		"half its time has passed":    {wait: preparedLife / 2, renewed: true},
	} {
		t.Run(name, func(t *testing.T) {
			n := newNetwork(t, inOrder(test.acknowledge))
			c, identity, prepared := n.prepare(messages, test.wait)
			for i, p := range prepared {
				if renewed, err := c.Renew(p); err != nil || renewed != (test.renewed && (i > 0 || test.acknowledge == 0)) {
					t.Errorf("message %d: renewed is %t, %v", i, renewed, err)
				}
				signed := identity.signed.Load()
				if err := c.SendPrepared(deadline(t), p); err != nil {
					t.Fatal(err)
				}
				if _, err := c.Receive(deadline(t)); err != nil {
					t.Fatal(err)
				}
				for i == 0 && test.acknowledge > 0 && identity.signed.Load() == signed {
					time.Sleep(time.Millisecond) // until the keep-alive is on its way
				}
			}
			if got := c.SignedAnew(); got != 0 {
				t.Errorf("%d messages were signed anew", got)
			}
		})
	}
}

// TestFrameBytes: both sides say how long the same frame is.
func TestFrameBytes(t *testing.T) {
	out, back := make(chan int, 1), make(chan int, 1)
	n := newNetwork(t, func(p *peer) {
		p.open()
		_, frame, err := p.ws.ReadMessage()
		if err != nil {
			return
		}
		out <- len(frame)
		frame = p.frame(p.next(false, []byte("back")))
		back <- len(frame)
		p.write(frame)
		p.closeCode()
	})
	c := n.dial()
	p, err := c.Prepare([]byte("there"))
	if err != nil {
		t.Fatal(err)
	}
	if err := c.SendPrepared(deadline(t), p); err != nil {
		t.Fatal(err)
	}
	m, err := c.ReceiveMessage(deadline(t))
	if err != nil {
		t.Fatal(err)
	}
	if there, here := <-out, <-back; p.FrameBytes() != there || m.FrameBytes != here {
		t.Errorf("sent %d of %d bytes, received %d of %d", p.FrameBytes(), there, m.FrameBytes, here)
	}
}

func TestPreparedTooLarge(t *testing.T) {
	n := newNetwork(t, echo)
	c := n.dial(func(o *Options) { o.MaxMessageBytes = 10 })
	if _, err := c.Prepare(make([]byte, 11)); !errors.Is(err, ErrTooLarge) {
		t.Errorf("got %v", err)
	}
}

// TestCheckEvery: of three messages that nobody has certified, the third is found out.
func TestCheckEvery(t *testing.T) {
	n := newNetwork(t, func(p *peer) {
		p.open() // the first, which is verified
		for range 3 {
			m := p.certify(testCanister, p.next(false, []byte("forged")))[0]
			m.tree = ic.Labeled([]byte("websocket"), ic.Empty()).Encode()
			p.write(m.frame())
		}
		p.closeCode()
	})
	c := n.dial(func(o *Options) { o.CheckEvery = 3 })
	for range 2 {
		if got, err := c.Receive(deadline(t)); err != nil || string(got) != "forged" {
			t.Fatalf("got %q, %v", got, err)
		}
	}
	if _, err := c.Receive(deadline(t)); !errors.Is(err, ErrVerification) {
		t.Errorf("got %v, want %v", err, ErrVerification)
	}
}
