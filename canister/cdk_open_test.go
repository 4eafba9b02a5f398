package canister_test

import (
	"bytes"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/icrelay/icrelay/candid"
)

// a_ws_open: a client's first message, to the byte of its envelope.
func TestCDKOpenMessage(t *testing.T) {
	w := newCDK(t, settings{})
	for i, key := range []candid.ClientKey{
		{Principal: client(1), Nonce: 0},
		{Principal: client(2), Nonce: 1},
		{Principal: client(3), Nonce: 1 << 53},
		{Principal: client(4), Nonce: math.MaxUint64},
		{Principal: "\x07", Nonce: 23}, // a principal may have any length
		{Principal: candid.Principal(bytes.Repeat([]byte{0xff}, 29)), Nonce: 256},
	} {
		c := w.open(key.Principal, key.Nonce, gateway1)
		got := w.poll(gateway1, uint64(i))
		if len(got.Messages) != 1 {
			t.Fatalf("%s: %d messages", key, len(got.Messages))
		}
		first := got.Messages[0]
		if first.ClientKey != c.key || keyNonce(t, gateway1, first.Key) != uint64(i) {
			t.Errorf("%s: message %s for %s", key, first.Key, first.ClientKey)
		}
		if s := w.service(first); s.Kind != candid.OpenMessage || s.ClientKey != c.key {
			t.Errorf("%s: service message %+v", key, s)
		}
		want := candid.EncodeWebsocketMessage(candid.WebsocketMessage{
			ClientKey: c.key, SequenceNum: 1, Timestamp: w.nanoseconds(), IsServiceMessage: true,
			Content: w.decodeMessage(first).Content,
		})
		if !bytes.Equal(first.Content, want) {
			t.Errorf("%s: envelope\n%x, the CDK's is\n%x", key, first.Content, want)
		}
	}
}

// a_ws_open test_4: a principal opens one connection after the other, each with another nonce. The CDK forgets the one
// before; here they live side by side, up to their limit.
func TestCDKOpenWithOtherNonces(t *testing.T) {
	const opens = cdkMaxMessages
	w := newCDK(t, settings{})
	r := rand.New(rand.NewPCG(1, 1))
	var conns []*conn
	for range opens {
		w.advance(time.Millisecond) // at the limit the one not heard of for longest goes
		conns = append(conns, w.open(client(1), r.Uint64(), gateway1))
		c := conns[len(conns)-1]
		var mine []candid.OutputMessage
		for _, m := range w.pollAll(gateway1, 0) {
			if m.ClientKey == c.key {
				mine = append(mine, m)
			}
		}
		if len(mine) != 1 {
			t.Fatalf("%d messages for %s", len(mine), c.key)
		}
		if s := w.service(mine[0]); s.Kind != candid.OpenMessage || s.ClientKey != c.key {
			t.Fatalf("service message %+v", s)
		}
	}
	for _, c := range conns[opens-32:] {
		c.keepAlive()
	}
	conns[0].checkGone()
}

// An open that is refused leaves nothing behind, and neither the connection nor the gateway's queue changes.
func TestCDKOpenRefused(t *testing.T) {
	w := newCDK(t, settings{})
	if got, want := w.tryOpen(candid.Anonymous, 1, gateway2), "Anonymous principal is not allowed"; got != want {
		t.Errorf("anonymous: got %q, want %q", got, want)
	}
	anonymous := candid.ClientKey{Principal: candid.Anonymous, Nonce: 1}
	if got, want := w.tryClose(gateway2, anonymous), "Gateway with principal "+gateway2.String()+" is not registered"; got != want {
		t.Errorf("closing it: got %q, want %q", got, want)
	}

	c := w.open(client(1), 1, gateway1)
	c.send(candid.EncodeText("x"))
	// whichever gateway the second one names
	for _, gateway := range []candid.Principal{gateway1, gateway2} {
		want := "Client with key " + c.key.String() + " already has an open connection"
		if got := w.tryOpen(client(1), 1, gateway); got != want {
			t.Errorf("the same key: got %q, want %q", got, want)
		}
	}
	c.send(candid.EncodeText("y"))
	w.checkCount(gateway1, 1)
	w.checkEmpty(gateway2, 0)
	if got, want := w.tryClose(gateway2, c.key), "Gateway with principal "+gateway2.String()+" is not registered"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// A client that was closed can open the same key again: everything begins anew but the nonces of the gateway.
func TestCDKOpenAgain(t *testing.T) {
	w := newCDK(t, settings{})
	c := w.open(client(1), 7, gateway1)
	w.sendTexts(client(1), 1, 3)
	c.send(candid.EncodeText("x"))
	if got := w.tryClose(gateway1, c.key); got != "" {
		t.Fatal(got)
	}
	again := w.open(client(1), 7, gateway1)
	got := w.poll(gateway1, 4)
	w.checkTexts(got.Messages, again.key, 1)
	if len(got.Messages) != 1 || keyNonce(t, gateway1, got.Messages[0].Key) != 4 {
		t.Errorf("%d messages from nonce 4 on", len(got.Messages))
	}
	again.send(candid.EncodeText("y")) // with number 1
}

// Whoever is named as the gateway is the gateway, even the anonymous principal: the CDK does not look either.
func TestCDKAnyGateway(t *testing.T) {
	for _, gateway := range []candid.Principal{candid.Anonymous, "", "\x04"} {
		t.Run(gateway.String(), func(t *testing.T) {
			w := newCDK(t, settings{})
			c := w.open(client(1), 1, gateway)
			w.checkTexts(w.poll(gateway, 0).Messages, c.key, 1)
			w.checkCount(gateway, 1)
			if got := w.tryClose(gateway, c.key); got != "" {
				t.Error(got)
			}
		})
	}
}
