package canister_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/icrelay/icrelay/candid"
)

// e_send test_1: nobody can be sent anything who is not connected.
func TestCDKSendToNobody(t *testing.T) {
	w := newCDK(t, settings{})
	w.open(client(1), 1, gateway1)
	for _, to := range append(someGateways(7, 5), client(2), gateway1, candid.Anonymous) {
		want := "Client with principal " + to.String() + " doesn't have an open connection"
		if _, got := w.trySend(to, candid.EncodeText("test")); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	w.checkCount(gateway1, 1)
}

// e_send test_2: a message is queued behind those before, with the next number.
func TestCDKSend(t *testing.T) {
	w := newCDK(t, settings{})
	c, other := w.open(client(1), 1, gateway1), w.open(client(2), 1, gateway1)
	for i := range 3 {
		if reached, refusal := w.trySend(client(1), candid.EncodeText(testText(i+1))); reached != 1 || refusal != "" {
			t.Fatalf("reached %d: %s", reached, refusal)
		}
	}
	got := w.poll(gateway1, 2)
	if len(got.Messages) != 3 || !got.EndOfQueue {
		t.Errorf("%d messages, end of queue %v", len(got.Messages), got.EndOfQueue)
	}
	w.checkTexts(got.Messages, c.key, 2)
	if diff := cmp.Diff([]string{}, other.texts()); diff != "" {
		t.Error(diff)
	}
}

// Unlike the CDK, which queues any bytes, the relay canister refuses what no client could read.
func TestCDKSendNeedsCandid(t *testing.T) {
	w := newCDK(t, settings{})
	w.open(client(1), 1, gateway1)
	for _, tc := range []struct {
		name    string
		content []byte
	}{
		{"nothing", nil},
		{"no Candid", []byte{1, 2, 3}},
		{"no value", candid.EncodeEmpty()},
		{"cut short", candid.EncodeText("test")[:8]},
	} {
		if reached, refusal := w.trySend(client(1), tc.content); reached != 0 || !strings.HasPrefix(refusal, "The message ") {
			t.Errorf("%s: reached %d, refusal %q", tc.name, reached, refusal)
		}
	}
	w.checkCount(gateway1, 1)
}

// A client that was closed gets nothing more, though it opens again.
func TestCDKSendAfterClose(t *testing.T) {
	w := newCDK(t, settings{})
	c := w.open(client(1), 1, gateway1)
	if got := w.tryClose(gateway1, c.key); got != "" {
		t.Fatal(got)
	}
	want := "Client with principal " + client(1).String() + " doesn't have an open connection"
	if _, got := w.trySend(client(1), candid.EncodeText("lost")); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	again := w.open(client(1), 2, gateway2)
	if _, refusal := w.trySend(client(1), candid.EncodeText(testText(1))); refusal != "" {
		t.Fatal(refusal)
	}
	w.checkTexts(w.poll(gateway2, 0).Messages, again.key, 1)
	w.checkCount(gateway2, 2)
	w.checkCount(gateway1, 1)
}

// f_close: the application closes a connection; the client is told, and after that it is not connected.
func TestCDKCloseByApplication(t *testing.T) {
	w := newCDK(t, settings{})
	c, other := w.open(client(1), 1, gateway1), w.open(client(3), 1, gateway1)
	notConnected := func(p candid.Principal) string {
		return "Client with principal " + p.String() + " doesn't have an open connection"
	}
	if _, got := w.tryShut(client(2)); got != notConnected(client(2)) {
		t.Errorf("got %q, want %q", got, notConnected(client(2)))
	}
	if closed, refusal := w.tryShut(client(1)); closed != 1 || refusal != "" {
		t.Errorf("closed %d: %s", closed, refusal)
	}
	if _, got := w.tryShut(client(1)); got != notConnected(client(1)) {
		t.Errorf("again: got %q, want %q", got, notConnected(client(1)))
	}
	got := w.poll(gateway1, 2).Messages
	if len(got) != 1 || got[0].ClientKey != c.key {
		t.Fatalf("%d messages behind the two open messages", len(got))
	}
	w.checkClosed(got[0], candid.ClosedByApplication)
	c.checkGone()
	if got := w.tryMessage(client(1), message(c.key, 1)); got != notConnected(client(1)) {
		t.Errorf("a message: got %q, want %q", got, notConnected(client(1)))
	}
	other.send(candid.EncodeText("x"))
}
