package canister_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/icrelay/icrelay/candid"
)

// Clients, queues, cursors and what waits for its turn outlive an upgrade.
func TestUpgrade(t *testing.T) {
	w := newWorld(t)
	target := w.installTarget()
	feed := method{target, "since"}
	s := settings{calls: []method{{target, "put"}}, feeds: []method{feed}, ackMs: 60_000, keepAliveMs: 20_000}
	w.installRelay(s)
	a, b := w.open(client(1), 1, gateway1), w.open(client(2), 1, gateway2)
	w.idle()
	a.send(candid.EncodeText("1"))
	w.addMany(feed, 30)
	w.pull(gateway1, feed)
	before := w.pollAll(gateway1, 0)
	// Two messages wait for the second.
	for _, n := range []uint64{3, 4} {
		if text := w.result(a.start(n, candid.EncodeText(fmt.Sprint(n)))); text != "" {
			t.Fatal(text)
		}
	}
	w.advance(50 * time.Second)
	if err := w.upgrade(s); err != nil {
		t.Fatal(err)
	}

	if diff := cmp.Diff(before, w.pollAll(gateway1, 0)); diff != "" {
		t.Error(diff)
	}
	if text := w.result(a.start(2, candid.EncodeText("2"))); text != "" {
		t.Fatal(text)
	}
	a.sent = 4
	a.send(candid.EncodeText("5"))
	if diff := cmp.Diff([]string{"1", "2", "3", "4", "5"}, w.texts(target, "log")); diff != "" {
		t.Error(diff)
	}
	w.addMany(feed, 2)
	if got := w.pull(gateway2, feed); got != 32 {
		t.Errorf("cursor %d", got)
	}
	for _, c := range []*conn{a, b} {
		if diff := cmp.Diff(feedItems(0, 32), c.texts()); diff != "" {
			t.Error(diff)
		}
	}
	// The first acknowledgement after the upgrade is not late, and its answer counts.
	w.advance(61 * time.Second)
	a.keepAlive()
	w.advance(21 * time.Second)
	if got := number(t, w.status(controller), "clients"); got != 1 {
		t.Errorf("%d clients", got)
	}
	b2 := b.services()
	if got := b2[len(b2)-1]; got != "close KeepAliveTimeout" {
		t.Errorf("the silent client: %q", b2)
	}
	a2 := a.services()
	if got := a2[len(a2)-1]; got != "ack 5" {
		t.Errorf("the other client: %q", a2)
	}
}

// A client that was asked for a sign of life before the upgrade must still give it.
func TestUpgradeBetweenAcknowledgementAndTimeout(t *testing.T) {
	w := newWorld(t)
	s := settings{ackMs: 60_000, keepAliveMs: 20_000}
	w.installRelay(s)
	alive, silent := w.open(client(1), 1, gateway1), w.open(client(2), 1, gateway1)
	w.advance(60 * time.Second)
	if err := w.upgrade(s); err != nil {
		t.Fatal(err)
	}
	alive.keepAlive()
	w.advance(21 * time.Second)
	if diff := cmp.Diff([]string{"ack 0", "close KeepAliveTimeout"}, silent.services()); diff != "" {
		t.Error(diff)
	}
	// The regular acknowledgement comes 60 seconds after the one before, not after the upgrade.
	w.advance(39 * time.Second)
	if diff := cmp.Diff([]string{"ack 0", "ack 1"}, alive.services()); diff != "" {
		t.Error(diff)
	}
}

// An upgrade with another configuration applies it.
func TestUpgradeConfigures(t *testing.T) {
	w := newWorld(t)
	target := w.installTarget()
	w.installRelay(settings{})
	c := w.open(client(1), 1, gateway1)
	if err := w.upgrade(settings{calls: []method{{target, "put"}}}); err != nil {
		t.Fatal(err)
	}
	c.send(candid.EncodeText("now"))
	if diff := cmp.Diff([]string{"now"}, w.texts(target, "log")); diff != "" {
		t.Error(diff)
	}
	// One that makes no sense is refused, and everything stays as it was.
	if err := w.upgrade(settings{ackMs: 1}); err == nil {
		t.Error("accepted")
	}
}

// The size of the state that an upgrade has to carry is what a busy canister has.
func TestUpgradeWithALongQueue(t *testing.T) {
	w := newWorld(t)
	target := w.installTarget()
	feed := method{target, "since"}
	s := settings{feeds: []method{feed}, maxMessages: 1_000}
	w.installRelay(s)
	for i := range 100 {
		w.open(client(i), 1, gateway1)
	}
	w.idle()
	w.addMany(feed, 100)
	w.pull(gateway1, feed)
	before := len(w.pollAll(gateway1, 0))
	if before != 10_100 {
		t.Errorf("%d messages", before)
	}
	if err := w.upgrade(s); err != nil {
		t.Fatal(err)
	}
	if got := len(w.pollAll(gateway1, 0)); got != before {
		t.Errorf("%d messages after the upgrade, %d before", got, before)
	}
}
