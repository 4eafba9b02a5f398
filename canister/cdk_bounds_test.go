package canister_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/icrelay/icrelay/candid"
)

// The CDK's queues have no bound. Here a full one takes no more clients, until what is in it is old enough to be given up.
func TestCDKFullQueue(t *testing.T) {
	w := newCDK(t, settings{})
	c := w.open(client(1), 1, gateway1)
	sent := 0
	for _, size := range []int{1_900_000, 100_000, 5_000, 200} {
		content := candid.EncodeText(strings.Repeat("x", size))
		for refusal := ""; refusal == ""; sent += size {
			_, refusal = w.trySend(client(1), content)
		}
		if sent > 64<<20+2_000_000 {
			t.Fatal("the queue takes more than 64 MiB")
		}
	}
	want := "The queue of gateway " + gateway1.String() + " is full, try again later"
	if got := w.tryOpen(client(2), 1, gateway1); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	w.open(client(200), 1, gateway2) // the other gateway's is not full
	c.keepAlive()
	if got := w.tryClose(gateway1, c.key); got != "" {
		t.Error(got)
	}
	w.advance(10*time.Second + time.Nanosecond)
	w.open(client(201), 1, gateway1)
	state := list(t, w.status(controller), "gateways")[0]
	if first := number(t, state, "first"); first == 0 {
		t.Error("nothing was dropped")
	}
	last := w.poll(gateway1, number(t, state, "next")-1).Messages
	if len(last) != 1 || last[0].ClientKey.Principal != client(201) {
		t.Errorf("%d messages at the end", len(last))
	}
}

// The CDK takes any number of gateways; here there is room for 256, of which those go first that are without clients.
func TestCDKManyGateways(t *testing.T) {
	w := newCDK(t, settings{})
	gateway := func(n int) candid.Principal { return candid.Principal(fmt.Sprintf("\x08gateway%05d\x02", n)) }
	conns := make([]*conn, 256)
	for n := range conns {
		conns[n] = w.open(client(n), 1, gateway(n))
	}
	want := "The relay canister has no room for another gateway, try again later"
	if got := w.tryOpen(client(256), 1, gateway(256)); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	w.open(client(256), 1, gateway(5)) // one that is there takes more
	if got := w.tryClose(gateway(7), conns[7].key); got != "" {
		t.Fatal(got)
	}
	if got := w.tryOpen(client(257), 1, gateway(256)); got != want {
		t.Errorf("while the one without clients may still poll: got %q, want %q", got, want)
	}
	w.checkCount(gateway(7), 1)
	w.advance(11 * time.Second)
	c := w.open(client(257), 1, gateway(256))
	w.checkTexts(w.poll(gateway(256), 0).Messages, c.key, 1)
	w.checkEmpty(gateway(7), 0)
	conns[0].keepAlive()
}

// The CDK takes whoever a client names for its gateway; with a list in the configuration it is one of these.
func TestCDKListedGateways(t *testing.T) {
	w := newWorld(t)
	w.installRelay(settings{gateways: []candid.Principal{gateway1}})
	c := w.open(client(1), 1, gateway1)
	want := "Clients cannot come through gateway " + gateway2.String() + ": the relay canister's configuration does not list it"
	if got := w.tryOpen(client(2), 1, gateway2); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got, want := w.tryClose(gateway2, c.key), "Gateway with principal "+gateway2.String()+" is not registered"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	// the anonymous principal is told so first, as by the CDK
	if got, want := w.tryOpen(candid.Anonymous, 1, gateway2), "Anonymous principal is not allowed"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}

	// Another list closes the clients of the gateways that are not in it.
	s := settings{gateways: []candid.Principal{gateway2}}
	if got := w.refusal(w.call(admin, w.relay, "relay_configure", s.argument(t))); got != "" {
		t.Fatal(got)
	}
	got := w.poll(gateway1, 1).Messages
	if len(got) != 1 {
		t.Fatalf("%d messages behind the open message", len(got))
	}
	w.checkClosed(got[0], candid.ClosedByApplication)
	c.checkGone()
	w.open(client(2), 1, gateway2)
}
