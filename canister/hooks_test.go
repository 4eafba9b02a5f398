package canister_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/icrelay/icrelay/candid"
)

// Every way in which a connection ends is told, once, and in order with the client's messages.
func TestHooks(t *testing.T) {
	w := newWorld(t)
	target := w.installTarget()
	w.installRelay(settings{
		calls: []method{{target, "put"}},
		hooks: []hook{{target: target, open: "opened", close: "closed"}},
		ackMs: 60_000, keepAliveMs: 20_000,
	})
	conns := make([]*conn, 7)
	for i := range conns {
		conns[i] = w.open(client(i), uint64(10+i), gateway1)
		conns[i].send(candid.EncodeText(fmt.Sprint("hello of ", i)))
		w.idle()
	}
	want := []string{}
	for i := range conns {
		want = append(want, fmt.Sprintf("open %s %d", client(i), 10+i), fmt.Sprint("hello of ", i))
	}
	if diff := cmp.Diff(want, w.texts(target, "log")); diff != "" {
		t.Fatal(diff)
	}
	gone := func(i int) {
		t.Helper()
		w.idle()
		want = append(want, "close "+client(i).String())
		if diff := cmp.Diff(want, w.texts(target, "log")); diff != "" {
			t.Fatal(diff)
		}
	}
	if text := w.tryClose(gateway1, conns[0].key); text != "" {
		t.Fatal(text)
	}
	gone(0)
	if text := w.tryClose(gateway1, conns[0].key); text == "" {
		t.Error("closed twice")
	}
	if text := w.result(conns[1].start(100, candid.EncodeText("too far ahead"))); text == "" {
		t.Error("accepted")
	}
	gone(1)
	if _, text := w.tryShut(client(2)); text != "" {
		t.Fatal(text)
	}
	gone(2)
	// one that does not answer
	w.advance(60 * time.Second)
	for _, c := range conns[4:] {
		c.keepAlive()
	}
	w.advance(20 * time.Second)
	gone(3)
	// one whose place another connection of the same principal takes
	for nonce := uint64(201); nonce <= 231; nonce++ {
		w.open(client(4), nonce, gateway1)
		want = append(want, fmt.Sprintf("open %s %d", client(4), nonce))
	}
	w.idle()
	w.open(client(4), 300, gateway1)
	w.idle()
	want = append(want, "close "+client(4).String(), fmt.Sprintf("open %s 300", client(4)))
	if diff := cmp.Diff(want, w.texts(target, "log")); diff != "" {
		t.Fatal(diff)
	}
	// a gateway that is not allowed any more
	s := settings{gateways: []candid.Principal{gateway2}, hooks: []hook{{target: target, close: "closed"}}}
	if text := w.refusal(w.call(admin, w.relay, "relay_configure", s.argument(t))); text != "" {
		t.Fatal(text)
	}
	w.idle()
	if got := len(w.texts(target, "log")) - len(want); got != 32+2 {
		t.Errorf("%d were told of, want 34", got)
	}
}

// A hook that fails harms nobody, and one that hangs delays only what is for the same target.
func TestHooksThatFail(t *testing.T) {
	w := newWorld(t)
	bad, good := w.installTarget(), w.installTarget()
	w.installRelay(settings{
		calls: []method{{good, "put"}},
		hooks: []hook{{target: bad, open: "nosuch", close: "toldSlowly"}, {target: good, open: "opened"}, {target: good, close: "closed"}},
	})
	a, b := w.open(client(1), 1, gateway1), w.open(client(2), 1, gateway1)
	a.send(candid.EncodeText("x"))
	w.idle()
	if got := len(list(t, w.status(admin), "rejections")); got != 2 {
		t.Errorf("%d rejections", got)
	}
	if text := w.tryClose(gateway1, b.key); text != "" {
		t.Fatal(text)
	}
	w.idle()
	want := []string{"open " + client(1).String() + " 1", "open " + client(2).String() + " 1", "x", "close " + client(2).String()}
	if diff := cmp.Diff(want, w.texts(good, "log")); diff != "" {
		t.Error(diff)
	}
}

// A client is refused while a hook's target cannot take in more, and one that goes is told of in any case.
func TestHooksOfABusyTarget(t *testing.T) {
	w := newWorld(t)
	target := w.installTarget()
	tells := hook{target: target, open: "toldSlowly", close: "toldSlowly"}
	w.installRelay(settings{hooks: []hook{tells, tells, tells, tells}})
	w.call(stranger, target, "hold", candid.EncodeEmpty())
	opened := 0
	refusal := ""
	for refusal == "" && opened < 1_000 {
		if refusal = w.tryOpen(client(opened), 1, gateway1); refusal == "" {
			opened++
		}
	}
	if want := "Too many calls are waiting for " + target.String() + ", try again later"; refusal != want || opened < 100 {
		t.Fatalf("client %d: %q, want %q", opened, refusal, want)
	}
	for i := range 20 {
		if text := w.tryClose(gateway1, candid.ClientKey{Principal: client(i), Nonce: 1}); text != "" {
			t.Fatalf("close of %d: %s", i, text)
		}
	}
	w.call(stranger, target, "release", candid.EncodeEmpty())
	w.idle()
	if got, _ := w.decode(w.ask(stranger, target, "logSize", candid.EncodeEmpty())).Uint64(); got != uint64(4*(opened+20)) { //nolint:gosec // small
		t.Errorf("%d were told of, want %d", got, 4*(opened+20))
	}
}

// What happened before an upgrade is told after it.
func TestHooksOutliveAnUpgrade(t *testing.T) {
	w := newWorld(t)
	target := w.installTarget()
	s := settings{hooks: []hook{{target: target, open: "opened", close: "closed"}}}
	w.installRelay(s)
	c := w.open(client(1), 1, gateway1)
	w.idle()
	if err := w.machine.Stop(t.Context(), target); err != nil {
		t.Fatal(err)
	}
	if err := w.upgrade(s); err != nil {
		t.Fatal(err)
	}
	if err := w.machine.Start(t.Context(), target); err != nil {
		t.Fatal(err)
	}
	if text := w.tryClose(gateway1, c.key); text != "" {
		t.Fatal(text)
	}
	w.idle()
	if diff := cmp.Diff([]string{"open " + client(1).String() + " 1", "close " + client(1).String()}, w.texts(target, "log")); diff != "" {
		t.Error(diff)
	}
}
