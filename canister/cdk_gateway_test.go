package canister_test

import (
	"testing"

	"github.com/icrelay/icrelay/candid"
)

// d_ws_close: who may say that a client has gone. What is looked at first decides the text.
func TestCDKCloseByGateways(t *testing.T) {
	w := newCDK(t, settings{})
	c1, c2 := w.open(client(1), 1, gateway1), w.open(client(2), 1, gateway2)
	unknown := candid.ClientKey{Principal: client(3), Nonce: 1}
	notRegistered := func(p candid.Principal) string { return "Gateway with principal " + p.String() + " is not registered" }
	for _, caller := range append(someGateways(5, 5), candid.Anonymous, controller, admin, client(1)) {
		for _, key := range []candid.ClientKey{c1.key, unknown} {
			if got, want := w.tryClose(caller, key), notRegistered(caller); got != want {
				t.Errorf("got %q, want %q", got, want)
			}
		}
	}
	for _, key := range append(someKeys(5, 5), unknown, candid.ClientKey{Principal: client(1), Nonce: 2}) {
		if got, want := w.tryClose(gateway1, key), "Client with key "+key.String()+" doesn't have an open connection"; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	for _, other := range []struct {
		gateway candid.Principal
		c       *conn
	}{{gateway1, c2}, {gateway2, c1}} {
		want := "Client with key " + other.c.key.String() + " was not registered to gateway " + other.gateway.String()
		if got := w.tryClose(other.gateway, other.c.key); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	c1.keepAlive()
	c2.keepAlive()
	if got := w.tryClose(gateway1, c1.key); got != "" {
		t.Error(got)
	}
	c1.checkGone()
	w.checkCount(gateway1, 1) // no close message: nobody would read it
	c2.keepAlive()
}

// h_multiple_gateways: a client goes from one gateway to another, with the same key.
func TestCDKClientSwitchesGateways(t *testing.T) {
	const sent = 5
	for i, key := range someKeys(6, 10) {
		gateways := someGateways(uint64(i), 2)
		w := newCDK(t, settings{})
		w.open(key.Principal, key.Nonce, gateways[0])
		w.sendTexts(key.Principal, 1, sent)
		got := w.poll(gateways[0], 0)
		if len(got.Messages) != sent+1 || !got.EndOfQueue {
			t.Errorf("%s: the first gateway has %d messages, end of queue %v", key, len(got.Messages), got.EndOfQueue)
		}
		w.checkTexts(got.Messages, key, 1)
		w.checkEmpty(gateways[1], 0)

		if text := w.tryClose(gateways[0], key); text != "" {
			t.Fatal(text)
		}
		w.open(key.Principal, key.Nonce, gateways[1])
		got = w.poll(gateways[1], 0)
		if len(got.Messages) != 1 || !got.EndOfQueue {
			t.Fatalf("%s: the second gateway has %d messages, end of queue %v", key, len(got.Messages), got.EndOfQueue)
		}
		w.checkTexts(got.Messages, key, 1)
		if s := w.service(got.Messages[0]); s.Kind != candid.OpenMessage || s.ClientKey != key {
			t.Errorf("%s: %+v", key, s)
		}
		w.sendTexts(key.Principal, 1, sent)
		got = w.poll(gateways[1], 0)
		if len(got.Messages) != sent+1 || !got.EndOfQueue {
			t.Errorf("%s: the second gateway has %d messages, end of queue %v", key, len(got.Messages), got.EndOfQueue)
		}
		w.checkTexts(got.Messages, key, 1)
		// nothing more came to the first, which may still read what it had
		w.checkCount(gateways[0], sent+1)
		want := "Client with key " + key.String() + " was not registered to gateway " + gateways[0].String()
		if text := w.tryClose(gateways[0], key); text != want {
			t.Errorf("got %q, want %q", text, want)
		}
	}
}
