package canister_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/icrelay/icrelay/candid"
	"github.com/icrelay/icrelay/localnet/execution"
)

// feedWorld is a relay canister with one feed of a target, and the target's `put` as call.
func feedWorld(t *testing.T, name string) (*world, method) {
	t.Helper()
	w := newWorld(t)
	feed := method{w.installTarget(), name}
	w.installRelay(settings{calls: []method{{feed.target, "put"}}, feeds: []method{feed}})
	return w, feed
}

func (w *world) addMany(feed method, count uint64) {
	w.t.Helper()
	w.call(stranger, feed.target, "addMany", candid.EncodeNat(count))
}

func (w *world) setPage(feed method, size uint64) {
	w.t.Helper()
	w.call(stranger, feed.target, "setPage", candid.EncodeNat(size))
}

func feedItems(from, to int) []string {
	out := []string{}
	for i := from; i < to; i++ {
		out = append(out, fmt.Sprintf("item %d", i))
	}
	return out
}

func TestFeed(t *testing.T) {
	w, feed := feedWorld(t, "since")
	w.addMany(feed, 7)
	first := w.open(client(1), 1, gateway1)
	w.idle()
	w.addMany(feed, 3)
	if got := w.pull(gateway1, feed); got != 10 {
		t.Errorf("cursor %d", got)
	}
	// The first client gets what came after it joined.
	if diff := cmp.Diff(feedItems(7, 10), first.texts()); diff != "" {
		t.Error(diff)
	}
	second := w.open(client(2), 1, gateway2)
	w.addMany(feed, 2)
	if got := w.pull(gateway2, feed); got != 12 {
		t.Errorf("cursor %d", got)
	}
	if got := w.pull(gateway2, feed); got != 12 {
		t.Errorf("cursor %d after a pull with nothing new", got)
	}
	if diff := cmp.Diff(feedItems(7, 12), first.texts()); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(feedItems(10, 12), second.texts()); diff != "" {
		t.Error(diff)
	}
	state := list(t, w.status(gateway1), "feeds")[0]
	if number(t, state, "cursor") != 12 || number(t, state, "items") != 5 || text(t, state, "last_error") != "" {
		t.Errorf("state %v", state)
	}

	// All go, more comes, one comes back: it does not get what came meanwhile.
	w.tryClose(gateway1, first.key)
	w.tryClose(gateway2, second.key)
	w.addMany(feed, 1_000)
	third := w.open(client(3), 1, gateway1)
	w.idle()
	w.addMany(feed, 1)
	if got := w.pull(gateway1, feed); got != 1_013 {
		t.Errorf("cursor %d", got)
	}
	if diff := cmp.Diff(feedItems(1_012, 1_013), third.texts()); diff != "" {
		t.Error(diff)
	}
}

// What a client causes comes after the end that the feed found when the client joined.
func TestOwnMessagesComeBack(t *testing.T) {
	for _, before := range []uint64{0, 1, 99, 100, 101, 5_000} {
		t.Run(fmt.Sprint(before), func(t *testing.T) {
			w := newWorld(t)
			feed := method{w.installTarget(), "since"}
			w.installRelay(settings{calls: []method{{feed.target, "say"}}, feeds: []method{feed}})
			w.addMany(feed, before)
			// The first messages are sent before the canister has answered.
			open := w.start(client(1), w.relay, "ws_open", candid.EncodeOpenArgs(1, gateway1))
			c := &conn{w: w, key: candid.ClientKey{Principal: client(1), Nonce: 1}, gateway: gateway1}
			var done []<-chan execution.Result
			for n := range uint64(5) {
				done = append(done, c.start(n+1, candid.EncodeText(fmt.Sprintf("own %d", n))))
			}
			for _, d := range append(done, open) {
				if text := w.result(d); text != "" {
					t.Fatal(text)
				}
			}
			w.idle()
			w.pull(gateway1, feed)
			if diff := cmp.Diff([]string{"own 0", "own 1", "own 2", "own 3", "own 4"}, c.texts()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// The end of a long feed is found by looking ahead, also where the target refuses to look past it.
func TestSeekingIsShort(t *testing.T) {
	for _, refuses := range []bool{false, true} {
		t.Run(fmt.Sprintf("refuses %v", refuses), func(t *testing.T) {
			w, feed := feedWorld(t, "countedSince")
			w.setPage(feed, 10)
			w.addMany(feed, 12_345)
			if refuses {
				w.call(stranger, feed.target, "refuseBeyondEnd", candid.EncodeEmpty())
			}
			c := w.open(client(1), 1, gateway1)
			w.idle()
			if got := w.pull(gateway1, feed); got != 12_345 {
				t.Errorf("cursor %d", got)
			}
			if got := c.texts(); len(got) != 0 {
				t.Errorf("%d texts", len(got))
			}
			calls, _ := w.decode(w.ask(stranger, feed.target, "countedCalls", candid.EncodeEmpty())).Uint64()
			if calls > 100 { // reading page by page would take 1,235
				t.Errorf("%d queries", calls)
			}
		})
	}
}

func TestPages(t *testing.T) {
	w, feed := feedWorld(t, "countedSince")
	c := w.open(client(1), 1, gateway1)
	w.idle()
	w.setPage(feed, 10)
	count := func() uint64 {
		t.Helper()
		n, _ := w.decode(w.ask(stranger, feed.target, "countedCalls", candid.EncodeEmpty())).Uint64()
		return n
	}
	w.pull(gateway1, feed) // waits for what the opening started
	before := count()
	w.addMany(feed, 95)
	if got := w.pull(gateway1, feed); got != 95 {
		t.Errorf("cursor %d", got)
	}
	if diff := cmp.Diff(feedItems(0, 95), c.texts()); diff != "" {
		t.Error(diff)
	}
	// A page shorter than the longest is the last.
	if got := count() - before; got != 10 {
		t.Errorf("%d queries for 10 pages", got)
	}
	w.addMany(feed, 1)
	w.pull(gateway1, feed)
	if got := count() - before; got != 11 {
		t.Errorf("%d queries after one more item", got)
	}
}

func TestPullsCoalesce(t *testing.T) {
	w, feed := feedWorld(t, "countedSince")
	c := w.open(client(1), 1, gateway1)
	w.idle()
	w.addMany(feed, 5)
	release := w.hold()
	var pulls []<-chan execution.Result
	for range 50 {
		pulls = append(pulls, w.startPull(gateway1, feed, nil))
	}
	release()
	for _, p := range pulls {
		if _, text := w.pulled(p); text != "" {
			t.Fatal(text)
		}
	}
	if diff := cmp.Diff(feedItems(0, 5), c.texts()); diff != "" {
		t.Error(diff)
	}
	if calls, _ := w.decode(w.ask(stranger, feed.target, "countedCalls", candid.EncodeEmpty())).Uint64(); calls > 30 {
		t.Errorf("%d queries for 50 pulls", calls)
	}
}

func TestManyClients(t *testing.T) {
	w, feed := feedWorld(t, "since")
	conns := make([]*conn, 150)
	for i := range conns {
		conns[i] = w.open(client(i), 1, []candid.Principal{gateway1, gateway2}[i%2])
	}
	w.idle()
	// 3000 messages: more than are queued in one message of the canister.
	w.addMany(feed, 20)
	if got := w.pull(gateway1, feed); got != 20 {
		t.Errorf("cursor %d", got)
	}
	for _, i := range []int{0, 1, 75, 149} {
		if diff := cmp.Diff(feedItems(0, 20), conns[i].texts()); diff != "" {
			t.Error(diff)
		}
	}
}

func TestFeedsThatFail(t *testing.T) {
	for _, tc := range []struct{ name, method, want string }{
		{"no such method", "nosuch", "nosuch"},
		{"another type", "textSince", "a text where a vec of items is expected"},
		{"another argument", "refuse", "IC0503: "},
		{"traps", "trapSince", "trapped on purpose"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t)
			feed := method{w.installFile("e2e/canisters/faulty/faulty.wasm"), tc.method}
			good := method{w.installTarget(), "since"}
			w.installRelay(settings{calls: []method{{feed.target, "accept"}}, feeds: []method{feed, good}})
			c := w.open(client(1), 1, gateway1)
			w.idle()
			_, refusal := w.tryPull(gateway1, feed, nil)
			if !strings.HasPrefix(refusal, "feed "+feed.target.String()+"."+feed.name+": ") || !strings.Contains(refusal, tc.want) {
				t.Errorf("refusal %q", refusal)
			}
			if got := text(t, list(t, w.status(gateway1), "feeds")[0], "last_error"); got != refusal {
				t.Errorf("last_error %q", got)
			}
			// Calls to the same target go on, and so do other feeds.
			c.send(candid.EncodeText("x"))
			if got, _ := w.decode(w.ask(stranger, feed.target, "count", candid.EncodeEmpty())).Uint64(); got != 1 {
				t.Errorf("%d calls arrived", got)
			}
			w.addMany(good, 2)
			w.pull(gateway1, good)
			if diff := cmp.Diff(feedItems(0, 2), c.texts()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// A feed without end takes neither the canister nor its queues over.
func TestEndlessFeed(t *testing.T) {
	w := newWorld(t)
	feed := method{w.installFile("e2e/canisters/faulty/faulty.wasm"), "endlessSince"}
	w.installRelay(settings{calls: []method{{feed.target, "accept"}}, feeds: []method{feed}})
	c := w.open(client(1), 1, gateway1)
	w.idle()
	w.idle()
	_, refusal := w.tryPull(gateway1, feed, nil)
	if !strings.Contains(refusal, "its end was not found") {
		t.Errorf("refusal %q", refusal)
	}
	c.send(candid.EncodeText("x"))
}

func TestConfigureFeeds(t *testing.T) {
	w, feed := feedWorld(t, "since")
	c := w.open(client(1), 1, gateway1)
	w.idle()
	w.addMany(feed, 3)
	w.pull(gateway1, feed)
	other := method{w.installTarget(), "since"}
	w.addMany(other, 4)
	// A feed that stays keeps its cursor; a new one starts at its end, as there are clients.
	s := settings{feeds: []method{other, feed}}
	if text := w.refusal(w.call(admin, w.relay, "relay_configure", s.argument(t))); text != "" {
		t.Fatal(text)
	}
	w.idle()
	w.addMany(feed, 1)
	w.addMany(other, 1)
	if a, b := w.pull(gateway1, feed), w.pull(gateway1, other); a != 4 || b != 5 {
		t.Errorf("cursors %d and %d", a, b)
	}
	if diff := cmp.Diff([]string{"item 0", "item 1", "item 2", "item 3", "item 4"}, c.texts()); diff != "" {
		t.Error(diff)
	}
}
