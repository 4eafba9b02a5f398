package canister_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/icrelay/icrelay/candid"
	"github.com/icrelay/icrelay/localnet/execution"
)

// shapedWorld is a relay canister with one feed of a target.
func shapedWorld(t *testing.T, f feed) (*world, method) {
	t.Helper()
	w := newWorld(t)
	f.target = w.installTarget()
	w.installRelay(settings{shaped: []feed{f}, calls: []method{{f.target, "say"}}})
	return w, f.method
}

// A target may say itself where its next items are. Whether it knows its end or not, clients get each item once.
func TestFeedThatSaysItsNext(t *testing.T) {
	for _, name := range []string{"pageAt", "pageAtOrThere"} {
		t.Run(name, func(t *testing.T) {
			w, feed := shapedWorld(t, feed{method: method{name: name}})
			w.addMany(feed, 250) // older than the client
			c := w.open(client(1), 1, gateway1)
			w.idle()
			w.addMany(feed, 5)
			if got := w.pull(gateway1, feed); got != 2550 {
				t.Errorf("cursor %d", got)
			}
			c.send(candid.EncodeText("of the client"))
			if got := w.pull(gateway1, feed); got != 2560 {
				t.Errorf("cursor %d", got)
			}
			w.addMany(feed, 321) // several pages
			if got := w.pull(gateway1, feed); got != 5770 {
				t.Errorf("cursor %d", got)
			}
			want := append(append(feedItems(250, 255), "of the client"), feedItems(256, 577)...)
			if diff := cmp.Diff(want, c.texts()); diff != "" {
				t.Error(diff)
			}
			// Its place outlives an upgrade.
			if err := w.upgrade(settings{feeds: []method{feed}}); err != nil {
				t.Fatal(err)
			}
			w.addMany(feed, 1)
			if got := w.pull(gateway1, feed); got != 5780 {
				t.Errorf("cursor %d after an upgrade", got)
			}
		})
	}
}

// The end of a feed that knows its end is found with three queries, however long it is.
func TestFeedThatKnowsItsEndIsJoinedAtOnce(t *testing.T) {
	w, feed := shapedWorld(t, feed{method: method{name: "pageAt"}})
	w.addMany(feed, 5_000)
	w.setPage(feed, 10)
	w.open(client(1), 1, gateway1)
	w.idle()
	if got := number(t, list(t, w.status(admin), "feeds")[0], "cursor"); got != 50_000 {
		t.Errorf("cursor %d", got)
	}
	if got, _ := w.decode(w.ask(stranger, feed.target, "pagesAsked", candid.EncodeEmpty())).Uint64(); got > 3 {
		t.Errorf("%d queries", got)
	}
}

func TestFeedThatNeverMovesOn(t *testing.T) {
	w, feed := shapedWorld(t, feed{method: method{name: "stuckAt"}})
	c := w.open(client(1), 1, gateway1)
	w.idle()
	_, refusal := w.tryPull(gateway1, feed, nil)
	if !strings.HasPrefix(refusal, "feed "+feed.target.String()+".stuckAt: ") {
		t.Errorf("refusal %q", refusal)
	}
	if got := len(c.texts()); got > 1_000 {
		t.Errorf("%d messages", got)
	}
	c.send(candid.EncodeText("goes on"))
}

func TestFeedWithTag(t *testing.T) {
	for _, name := range []string{"since", "pageAt"} {
		w, feed := shapedWorld(t, feed{method: method{name: name}, tag: "Item"})
		c := w.open(client(1), 1, gateway1)
		w.idle()
		w.addMany(feed, 2)
		w.pull(gateway1, feed)
		if diff := cmp.Diff([]string{`variant { Item = "item 0" }`, `variant { Item = "item 1" }`}, c.contents()); diff != "" {
			t.Error(diff)
		}
	}
}

// Items with a recipient go to that client's connections, and to nobody when it has none.
func TestFeedWithRecipient(t *testing.T) {
	w := newWorld(t)
	target := w.installTarget()
	letters, notices := method{target, "lettersSince"}, method{target, "noticesSince"}
	w.installRelay(settings{shaped: []feed{{method: letters, recipient: "to", tag: "L"}, {method: notices, recipient: "to", last: 10}}})
	a, a2, b := w.open(client(1), 1, gateway1), w.open(client(1), 2, gateway2), w.open(client(2), 1, gateway1)
	w.idle()
	w.pull(gateway1, letters)
	w.pull(gateway1, notices) // nothing is on its way any more
	write := func(to candid.Principal, text string) {
		t.Helper()
		arg, err := candid.NewBuilder().Add(candid.PrincipalType, to).Add(candid.TextType, text).Bytes()
		if err != nil {
			t.Fatal(err)
		}
		w.call(stranger, target, "write", arg)
	}
	write(client(1), "to a")
	write(client(3), "to somebody else")
	write(client(2), "to b")
	write(candid.Anonymous, "to all")
	count := func(feed method) uint64 {
		t.Helper()
		return w.pull(gateway1, feed)
	}
	if got := count(letters) + count(notices); got != 8 {
		t.Errorf("cursors add up to %d", got)
	}
	got := func(c *conn) string { return strings.Join(c.contents(), "\n") }
	for _, tc := range []struct {
		conn *conn
		all  []string // and in this order
	}{{a, []string{"to a", "to a", "to all"}}, {a2, []string{"to a", "to a", "to all"}}, {b, []string{"to b", "to b", "to all"}}} {
		contents := tc.conn.contents()
		if len(contents) != len(tc.all) {
			t.Errorf("%s got %s", tc.conn.key, got(tc.conn))
			continue
		}
		for i, want := range tc.all {
			if !strings.Contains(contents[i], `"`+want+`"`) {
				t.Errorf("%s: message %d is %s, want %q", tc.conn.key, i, contents[i], want)
			}
		}
	}
	// A newcomer gets of the last items what is for it.
	c := w.open(client(3), 1, gateway2)
	if got := c.contents(); len(got) != 2 || !strings.Contains(got[0], "to somebody else") || !strings.Contains(got[1], "to all") {
		t.Errorf("the newcomer got %q", got)
	}
	// Items without the field are an error that names it.
	if text := w.refusal(w.call(admin, w.relay, "relay_configure", settings{shaped: []feed{{method: method{target, "since"}, recipient: "to"}}}.argument(t))); text != "" {
		t.Fatal(text)
	}
	w.idle()
	w.addMany(method{target, "since"}, 1)
	if _, refusal := w.tryPull(gateway1, method{target, "since"}, nil); !strings.Contains(refusal, "to") || refusal == "" {
		t.Errorf("refusal %q", refusal)
	}
}

// Everybody who joins gets the last items before the next, in order and once, the first client and later ones.
func TestLastItemsForNewcomers(t *testing.T) {
	for _, name := range []string{"since", "pageAt", "pageAtOrThere"} {
		t.Run(name, func(t *testing.T) {
			w, feed := shapedWorld(t, feed{method: method{name: name}, last: 5})
			w.addMany(feed, 230)
			first := w.open(client(1), 1, gateway1)
			during := w.open(client(2), 1, gateway2) // while the end is looked for, or after
			w.idle()
			w.pull(gateway1, feed)
			w.addMany(feed, 2)
			w.pull(gateway1, feed)
			later := w.open(client(3), 1, gateway1)
			w.addMany(feed, 1)
			w.pull(gateway1, feed)
			for _, check := range []struct {
				conn *conn
				from int
			}{{first, 225}, {during, 225}, {later, 227}} {
				if diff := cmp.Diff(feedItems(check.from, 233), check.conn.texts()); diff != "" {
					t.Errorf("%s: %s", check.conn.key, diff)
				}
			}
			// Fewer than that many are all there are, also for the first client after a while without any.
			for _, c := range []*conn{first, during, later} {
				if text := w.tryClose(c.gateway, c.key); text != "" {
					t.Fatal(text)
				}
			}
			w.addMany(feed, 3)
			again := w.open(client(1), 2, gateway1)
			w.idle()
			w.pull(gateway1, feed)
			if diff := cmp.Diff(feedItems(231, 236), again.texts()); diff != "" {
				t.Error(diff)
			}
			// What is kept outlives an upgrade.
			s := settings{shaped: []shapedFeed{{method: feed, last: 5}}}
			if err := w.upgrade(s); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(feedItems(231, 236), w.open(client(4), 1, gateway1).texts()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

type shapedFeed = feed

func TestLastItemsOfAShortFeed(t *testing.T) {
	for _, name := range []string{"since", "pageAt"} {
		w, feed := shapedWorld(t, feed{method: method{name: name}, last: 100})
		w.addMany(feed, 3)
		c := w.open(client(1), 1, gateway1)
		w.idle()
		w.pull(gateway1, feed)
		if diff := cmp.Diff(feedItems(0, 3), c.texts()); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

// A feed with an interval is asked by the relay canister itself, while there are clients and no longer.
func TestTimerFeed(t *testing.T) {
	w, feed := shapedWorld(t, feed{method: method{name: "countedSince"}, intervalMs: 2_000})
	asked := func() uint64 {
		t.Helper()
		n, _ := w.decode(w.ask(stranger, feed.target, "countedCalls", candid.EncodeEmpty())).Uint64()
		return n
	}
	for range 3 {
		w.advance(2 * time.Second)
	}
	if got := asked(); got != 0 {
		t.Errorf("asked %d times without a client", got)
	}
	c := w.open(client(1), 1, gateway1)
	w.idle()
	for i := range uint64(5) {
		w.addMany(feed, 1)
		w.advance(2 * time.Second)
		if got := len(c.texts()); got != int(i)+1 { //nolint:gosec // small
			t.Errorf("%d items after %d intervals", got, i+1)
		}
	}
	// An upgrade and a new configuration keep the timer going, once.
	s := settings{shaped: []shapedFeed{{method: feed, intervalMs: 1_000}}}
	if err := w.upgrade(s); err != nil {
		t.Fatal(err)
	}
	if text := w.refusal(w.call(admin, w.relay, "relay_configure", s.argument(t))); text != "" {
		t.Fatal(text)
	}
	before := asked()
	w.advance(time.Second)
	w.advance(time.Second)
	if got := asked() - before; got != 2 {
		t.Errorf("asked %d times in two intervals", got)
	}
	if text := w.tryClose(gateway1, c.key); text != "" {
		t.Fatal(text)
	}
	w.advance(time.Second)
	before = asked()
	for range 5 {
		w.advance(time.Second)
	}
	if got := asked() - before; got != 0 {
		t.Errorf("asked %d times after the last client went", got)
	}
	// It starts again with the next client.
	d := w.open(client(2), 1, gateway1)
	w.idle()
	w.addMany(feed, 1)
	w.advance(time.Second)
	if diff := cmp.Diff(feedItems(5, 6), d.texts()); diff != "" {
		t.Error(diff)
	}
}

// A target that is reinstalled starts over: what it has then is new, with clients connected and without.
func TestReinstalledTarget(t *testing.T) {
	for _, name := range []string{"since", "pageAt"} {
		for _, connected := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s connected=%v", name, connected), func(t *testing.T) {
				w, feed := shapedWorld(t, feed{method: method{name: name}})
				w.addMany(feed, 20)
				c := w.open(client(1), 1, gateway1)
				w.idle()
				w.addMany(feed, 1)
				w.pull(gateway1, feed)
				if !connected {
					if text := w.tryClose(gateway1, c.key); text != "" {
						t.Fatal(text)
					}
				}
				if err := w.machine.Install(context.Background(), feed.target, execution.ModeReinstall, readFile(t, targetModule), candid.EncodeEmpty(), controller); err != nil {
					t.Fatal(err)
				}
				want := feedItems(20, 21)
				if connected {
					w.addMany(feed, 3)
					w.pull(gateway1, feed)
					want = append(want, feedItems(0, 3)...)
				} else {
					w.addMany(feed, 3)
					c = w.open(client(2), 1, gateway1)
					w.idle()
					want = feedItems(3, 5)
					w.addMany(feed, 2)
					w.pull(gateway1, feed)
				}
				if diff := cmp.Diff(want, c.texts()); diff != "" {
					t.Error(diff)
				}
			})
		}
	}
}

// One that refuses to look beyond its end is found out too; one that only fails for a while keeps its place.
func TestReinstalledOrFailingTarget(t *testing.T) {
	w, feed := shapedWorld(t, feed{method: method{name: "since"}})
	w.call(stranger, feed.target, "refuseBeyondEnd", candid.EncodeEmpty())
	c := w.open(client(1), 1, gateway1)
	w.idle()
	w.addMany(feed, 20)
	w.pull(gateway1, feed)

	if err := w.machine.Stop(t.Context(), feed.target); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if _, refusal := w.tryPull(gateway1, feed, nil); !strings.Contains(refusal, "IC0508") {
			t.Errorf("a stopped target: %q", refusal)
		}
	}
	if err := w.machine.Start(t.Context(), feed.target); err != nil {
		t.Fatal(err)
	}
	w.addMany(feed, 1)
	w.pull(gateway1, feed)

	if err := w.machine.Install(context.Background(), feed.target, execution.ModeReinstall, readFile(t, targetModule), candid.EncodeEmpty(), controller); err != nil {
		t.Fatal(err)
	}
	w.call(stranger, feed.target, "refuseBeyondEnd", candid.EncodeEmpty())
	w.addMany(feed, 3)
	w.pull(gateway1, feed)
	if diff := cmp.Diff(append(feedItems(0, 21), feedItems(0, 3)...), c.texts()); diff != "" {
		t.Error(diff)
	}
}

const targetModule = "e2e/canisters/target/target.wasm"

// A page that does not fit into a full queue is taken up where it was left, item for item.
func TestFullQueueInsideAPage(t *testing.T) {
	w, feed := shapedWorld(t, feed{method: method{name: "pageAt"}})
	w.open(client(1), 1, gateway1)
	w.idle()
	w.setPage(feed, 3)
	large := strings.Repeat("x", 590_000)
	add, err := candid.NewBuilder().Add(candid.VecOf(candid.TextType), []string{large, large, large}).Bytes()
	if err != nil {
		t.Fatal(err)
	}
	const items = 120 // 64 MiB are 113 of them, in the middle of a page
	for range 4 {
		for range items / 12 {
			w.call(stranger, feed.target, "add", add)
		}
		w.pull(gateway1, feed)
	}
	full := w.nextNonce(gateway1)
	if full < 110 || full > 116 || full%3 == 1 {
		t.Fatalf("%d messages are in a full queue", full)
	}
	// the gateway has polled half of them
	if _, refusal := w.tryPull(gateway1, feed, full/2); refusal != "" {
		t.Fatal(refusal)
	}
	if got := w.decodeMessage(w.lastMessage(gateway1)).SequenceNum; got != items+1 || w.nextNonce(gateway1) != items+1 {
		t.Errorf("the last message has number %d, want %d: each item once, behind the open message", got, items+1)
	}
}
