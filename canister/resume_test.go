package canister_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/icrelay/icrelay/candid"
)

const resumeMs = 120_000

// lose tells the relay canister that a connection is lost.
func (w *world) lose(c *conn) {
	w.t.Helper()
	if text := w.tryLose(c.gateway, c.key); text != "" {
		w.t.Fatalf("relay_lost: %s", text)
	}
}

func (w *world) tryLose(gateway candid.Principal, key candid.ClientKey) string {
	w.t.Helper()
	return w.result(w.start(gateway, w.relay, "relay_lost", candid.EncodeCloseArgs(key)))
}

// tell has the admin send a text: to all connections of a client, to one, or to everybody. It returns how many those are.
func (w *world) tell(to any, text string) uint64 {
	w.t.Helper()
	reached, refusal := w.tryTell(to, candid.EncodeText(text))
	if refusal != "" {
		w.t.Fatalf("%v %q: %s", to, text, refusal)
	}
	return reached
}

func (w *world) tryTell(to any, content []byte) (reached uint64, refusal string) {
	w.t.Helper()
	b := candid.NewBuilder()
	switch to := to.(type) {
	case candid.Principal:
		return w.push(admin, "send", b.Add(candid.PrincipalType, to).Add(candid.BlobType, content))
	case candid.ClientKey:
		return w.to("send", admin, to, content)
	}
	return w.broadcast(admin, content)
}

// closeAll has the admin close all connections of a client.
func (w *world) closeAll(principal candid.Principal) uint64 {
	w.t.Helper()
	reached, refusal := w.push(admin, "close", candid.NewBuilder().Add(candid.PrincipalType, principal))
	if refusal != "" {
		w.t.Fatalf("close: %s", refusal)
	}
	return reached
}

// resumption is a number of relay_status.
func (w *world) resumption(field string) uint64 {
	w.t.Helper()
	v, ok := w.status(admin).Field("resume").Opt()
	if !ok {
		w.t.Fatal("nothing is kept")
	}
	return number(w.t, v, field)
}

func wantTexts(t *testing.T, what string, c *conn, want ...string) {
	t.Helper()
	if diff := cmp.Diff(append([]string{}, want...), c.texts()); diff != "" {
		t.Errorf("%s: %s", what, diff)
	}
}

// A client that comes back gets what it has not acknowledged, and what came while it was away, in order and before
// what comes next; through whichever gateway.
func TestResume(t *testing.T) {
	for _, back := range []candid.Principal{gateway1, gateway2} {
		w := newRelay(t, settings{resumeMs: resumeMs})
		a := w.open(client(1), 1, gateway1)
		other := w.open(client(2), 1, gateway1)
		w.tell(client(1), "1 received")
		a.has(2)
		w.tell(client(1), "2 perhaps received")
		w.tell(nil, "3 for all")
		w.lose(a)
		if n := w.tell(client(1), "4 while away"); n != 1 {
			t.Errorf("sent to %d", n)
		}
		if n := w.tell(a.key, "5 to the connection"); n != 1 {
			t.Errorf("sent to %d", n)
		}
		w.tell(client(2), "for another")
		if n := w.tell(nil, "6 for all"); n != 2 {
			t.Errorf("broadcast to %d", n)
		}
		w.advance(resumeMs * time.Millisecond)
		a2 := w.open(client(1), 2, back)
		w.tell(nil, "7 afterwards")
		w.tell(a.key, "8 to the lost connection")
		wantTexts(t, "the client that is back", a2, "2 perhaps received", "3 for all", "4 while away", "5 to the connection", "6 for all", "7 afterwards", "8 to the lost connection")
		wantTexts(t, "another client", other, "3 for all", "for another", "6 for all", "7 afterwards")
		if diff := cmp.Diff([]string{"open"}, a2.services()); diff != "" {
			t.Error(diff)
		}
		// it is lost again before it has acknowledged anything
		w.lose(a2)
		a3 := w.open(client(1), 3, gateway1)
		wantTexts(t, "back again", a3, "2 perhaps received", "3 for all", "4 while away", "5 to the connection", "6 for all", "7 afterwards", "8 to the lost connection")
		a3.has(uint64(len(a3.inbox()))) //nolint:gosec // small
		w.lose(a3)
		wantTexts(t, "with nothing missed", w.open(client(1), 4, gateway1))
		if got := w.resumption("resumed"); got != 3 {
			t.Errorf("%d resumed", got)
		}
		if got := w.resumption("waiting"); got != 0 {
			t.Errorf("%d are waited for", got)
		}
	}
}

// Nobody gets what is not theirs, or not any more.
func TestNoResume(t *testing.T) {
	for _, tt := range []struct {
		name  string
		s     settings
		after func(w *world, a *conn) // what happens to the connection
		as    int
	}{
		{"off", settings{}, func(w *world, a *conn) { w.lose(a) }, 1},
		{"closed by the client", settings{resumeMs: resumeMs}, func(w *world, a *conn) {
			if text := w.tryClose(a.gateway, a.key); text != "" {
				w.t.Error(text)
			}
		}, 1},
		{"closed by the application", settings{resumeMs: resumeMs}, func(w *world, a *conn) {
			w.closeAll(a.key.Principal)
		}, 1},
		{"closed by the application while away", settings{resumeMs: resumeMs}, func(w *world, a *conn) {
			w.lose(a)
			if n := w.closeAll(a.key.Principal); n != 1 {
				w.t.Errorf("%d closed", n)
			}
		}, 1},
		{"a message out of turn", settings{resumeMs: resumeMs}, func(w *world, a *conn) {
			if w.result(a.start(100, candid.EncodeText("x"))) == "" {
				w.t.Error("accepted")
			}
		}, 1},
		{"another principal", settings{resumeMs: resumeMs}, func(w *world, a *conn) { w.lose(a) }, 2},
		{"too late", settings{resumeMs: resumeMs}, func(w *world, a *conn) {
			w.lose(a)
			w.advance(resumeMs*time.Millisecond + time.Millisecond)
		}, 1},
		{"timed out, then closed by the client", settings{resumeMs: resumeMs, ackMs: 60_000, keepAliveMs: 20_000}, func(w *world, a *conn) {
			w.advance(60 * time.Second)
			w.advance(21 * time.Second)
			if got := w.resumption("waiting"); got != 1 {
				w.t.Errorf("%d are waited for", got)
			}
			_ = w.tryClose(a.gateway, a.key)
		}, 1},
		{"switched off meanwhile", settings{resumeMs: resumeMs}, func(w *world, a *conn) {
			w.lose(a)
			for _, s := range []settings{{}, {resumeMs: resumeMs}} {
				if text := w.refusal(w.call(admin, w.relay, "relay_configure", s.argument(w.t))); text != "" {
					w.t.Error(text)
				}
			}
		}, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newRelay(t, tt.s)
			a := w.open(client(1), 1, gateway1)
			w.tell(client(1), "not received")
			tt.after(w, a)
			if strings.HasPrefix(tt.name, "another") {
				w.tell(client(1), "while away")
			} else if _, text := w.tryTell(client(1), candid.EncodeText("x")); text == "" {
				t.Error("a message is kept for it")
			}
			wantTexts(t, "a new connection", w.open(client(tt.as), 2, gateway1))
		})
	}
}

// Whatever the relay canister itself gives up is lost, too.
func TestResumeAfterTimeout(t *testing.T) {
	w := newRelay(t, settings{resumeMs: resumeMs, ackMs: 60_000, keepAliveMs: 20_000})
	a := w.open(client(1), 1, gateway1)
	w.tell(client(1), "1")
	w.advance(60 * time.Second)
	w.advance(21 * time.Second)
	if diff := cmp.Diff([]string{"ack 0", "close KeepAliveTimeout"}, a.services()); diff != "" {
		t.Error(diff)
	}
	w.tell(client(1), "2")
	wantTexts(t, "back", w.open(client(1), 2, gateway2), "1", "2")
}

// A client that is back before its old connection is known to be lost gets the rest when that is.
func TestResumeHalfOpen(t *testing.T) {
	w := newRelay(t, settings{resumeMs: resumeMs, resumeTag: "Resumed"})
	a := w.open(client(1), 1, gateway1)
	w.tell(client(1), "1")
	w.tell(client(1), "2")
	b := w.open(client(1), 2, gateway2)
	w.tell(client(1), "3")
	w.tell(a.key, "4 to the old one")
	c := w.open(client(1), 3, gateway1)
	w.tell(nil, "5")
	if diff := cmp.Diff([]string{"Resumed false", "3", "5"}, b.tagged("Resumed")); diff != "" {
		t.Error(diff)
	}
	w.lose(a)
	w.tell(nil, "6")
	want := []string{"Resumed false", "3", "5", "Resumed true", "1", "2", "4 to the old one", "6"}
	if diff := cmp.Diff(want, b.tagged("Resumed")); diff != "" {
		t.Error(diff)
	}
	// the second one was half open as well; what the third has itself it does not get again
	w.lose(b)
	want = []string{"Resumed false", "5", "6", "Resumed true", "3", "1", "2", "4 to the old one"}
	if diff := cmp.Diff(want, c.tagged("Resumed")); diff != "" {
		t.Error(diff)
	}
	w.lose(c)
	want = []string{"Resumed true", "5", "6", "3", "1", "2", "4 to the old one"}
	if diff := cmp.Diff(want, w.open(client(1), 4, gateway1).tagged("Resumed")); diff != "" {
		t.Error(diff)
	}
	// one that is half open is asked; who answers is another window of the same client
	if diff := cmp.Diff([]string{"open", "ack 0", "ack 0"}, a.services()); diff != "" {
		t.Error(diff)
	}
}

// The same in another order: the newer one is lost first.
func TestResumeBothLost(t *testing.T) {
	w := newRelay(t, settings{resumeMs: resumeMs})
	a := w.open(client(1), 1, gateway1)
	w.tell(client(1), "1")
	b := w.open(client(1), 2, gateway1)
	w.tell(client(1), "2")
	w.lose(b)
	w.tell(a.key, "3")
	w.lose(a)
	w.tell(client(1), "4")
	wantTexts(t, "back", w.open(client(1), 3, gateway1), "1", "3", "2", "4")
	wantTexts(t, "a second window", w.open(client(1), 4, gateway1))

	// and the newer one is gone on with before the older one is lost
	w = newRelay(t, settings{resumeMs: resumeMs})
	a = w.open(client(1), 1, gateway1)
	w.tell(client(1), "1")
	b = w.open(client(1), 2, gateway1)
	w.tell(client(1), "2")
	w.lose(b)
	c := w.open(client(1), 3, gateway1)
	w.lose(a)
	wantTexts(t, "back", c, "2", "1")
}

// Two windows of one client are told apart by their signs of life: each goes on with its own.
func TestResumeTwoWindows(t *testing.T) {
	w := newRelay(t, settings{resumeMs: resumeMs})
	a, b := w.open(client(1), 1, gateway1), w.open(client(1), 2, gateway1)
	w.tell(a.key, "for a")
	w.tell(b.key, "for b")
	a.has(2) // the question that it was asked when b opened
	w.lose(a)
	wantTexts(t, "b has nothing of a's", b, "for b")
	wantTexts(t, "a is back", w.open(client(1), 3, gateway1), "for a")
	w.lose(b)

	// both are cut off at once
	w = newRelay(t, settings{resumeMs: resumeMs})
	a, b = w.open(client(1), 1, gateway1), w.open(client(1), 2, gateway1)
	a.has(2)
	w.tell(a.key, "for a")
	w.tell(b.key, "for b")
	w.lose(b)
	w.lose(a)
	wantTexts(t, "a is back", w.open(client(1), 3, gateway1), "for a")
	wantTexts(t, "b is back", w.open(client(1), 4, gateway1), "for b")
	wantTexts(t, "a new one", w.open(client(1), 5, gateway1))
}

// A client that closes its connection is done with the half open ones from before as well.
func TestCloseEndsHalfOpen(t *testing.T) {
	w := newRelay(t, settings{resumeMs: resumeMs})
	a := w.open(client(1), 1, gateway1)
	w.tell(client(1), "old")
	b := w.open(client(1), 2, gateway1)
	if text := w.tryClose(gateway1, b.key); text != "" {
		t.Fatal(text)
	}
	w.lose(a)
	wantTexts(t, "a later conversation", w.open(client(1), 3, gateway1))
	if got := w.resumption("overflowed"); got != 0 {
		t.Errorf("%d overflowed", got)
	}
}

// A client that is told whether it goes on begins with that, and comes back to the right words.
func TestResumeTag(t *testing.T) {
	w := newRelay(t, settings{resumeMs: resumeMs, resumeTag: "Resumed"})
	a := w.open(client(1), 1, gateway1)
	w.tell(client(1), "1")
	if diff := cmp.Diff([]string{"Resumed false", "1"}, a.tagged("Resumed")); diff != "" {
		t.Error(diff)
	}
	w.lose(a)
	if diff := cmp.Diff([]string{"Resumed true", "1"}, w.open(client(1), 2, gateway1).tagged("Resumed")); diff != "" {
		t.Error(diff)
	}
}

// tagged is texts, where a message may be variant { tag : bool } as well.
func (c *conn) tagged(tag string) []string {
	c.w.t.Helper()
	out := []string{}
	for _, m := range c.inbox() {
		if m.IsServiceMessage {
			continue
		}
		v := c.w.decode(m.Content)
		if inner, ok := v.Tag(tag); ok {
			b, _ := inner.Bool()
			out = append(out, fmt.Sprint(tag, " ", b))
			continue
		}
		text, ok := v.Text()
		if !ok {
			c.w.t.Fatalf("message %v", v)
		}
		out = append(out, text)
	}
	return out
}

// The last items are for those who begin anew. Feeds go on where they were for somebody who comes back, also when
// nobody was there meanwhile.
func TestResumeFeeds(t *testing.T) {
	w := newWorld(t)
	target := w.installTarget()
	f := feed{method: method{target, "since"}, last: 2}
	s := settings{shaped: []feed{f}, resumeMs: resumeMs}
	w.installRelay(s)
	a := w.open(client(1), 1, gateway1)
	w.idle()
	w.addMany(f.method, 3)
	w.pull(gateway1, f.method)
	wantTexts(t, "first", a, feedItems(0, 3)...)
	a.has(uint64(len(a.inbox()))) //nolint:gosec // small
	w.lose(a)
	w.addMany(f.method, 5)
	a2 := w.open(client(1), 2, gateway1)
	w.pull(gateway1, f.method) // waits for the one that a2 has begun
	wantTexts(t, "back", a2, feedItems(3, 8)...)
	b := w.open(client(2), 1, gateway1)
	wantTexts(t, "a newcomer", b, feedItems(6, 8)...)
	// others are there meanwhile
	a2.has(uint64(len(a2.inbox()))) //nolint:gosec // small
	w.lose(a2)
	w.addMany(f.method, 2)
	w.pull(gateway1, f.method)
	wantTexts(t, "back again", w.open(client(1), 3, gateway2), feedItems(8, 10)...)
	// nobody is waited for any more: the feed begins at its end
	for _, c := range []*conn{b, {gateway: gateway2, key: candid.ClientKey{Principal: client(1), Nonce: 3}}} {
		w.lose(c)
	}
	w.addMany(f.method, 5)
	w.advance(resumeMs*time.Millisecond + time.Second)
	late := w.open(client(1), 4, gateway1)
	w.idle()
	w.pull(gateway1, f.method)
	wantTexts(t, "late", late, feedItems(13, 15)...)
}

// Replies of calls under way find the client where it is: away, or back.
func TestResumeReplies(t *testing.T) {
	w := newWorld(t)
	target := w.installTarget()
	w.installRelay(settings{routed: []call{{method: method{target, "echo"}, reply: "Sender"}}, resumeMs: resumeMs})
	a := w.open(client(1), 1, gateway1)
	if err := w.machine.Stop(t.Context(), target); err != nil {
		t.Fatal(err)
	}
	if err := w.machine.Start(t.Context(), target); err != nil {
		t.Fatal(err)
	}
	release := w.hold()
	first := a.start(1, candid.EncodeText("before"))
	lost := w.start(a.gateway, w.relay, "relay_lost", candid.EncodeCloseArgs(a.key))
	release()
	w.wait(first)
	if text := w.result(lost); text != "" {
		t.Fatal(text)
	}
	w.idle()
	b := w.open(client(1), 2, gateway1)
	wantTexts(t, "back", b, "before")

	release = w.hold()
	second := b.start(1, candid.EncodeText("under way"))
	lost = w.start(b.gateway, w.relay, "relay_lost", candid.EncodeCloseArgs(b.key))
	opened := w.start(client(1), w.relay, "ws_open", candid.EncodeOpenArgs(3, gateway2))
	release()
	w.wait(second)
	if text := w.result(lost) + w.result(opened); text != "" {
		t.Fatal(text)
	}
	w.idle()
	c := &conn{w: w, key: candid.ClientKey{Principal: client(1), Nonce: 3}, gateway: gateway2}
	wantTexts(t, "back", c, "before", "under way")
}

// What is kept outlives an upgrade, with what open connections have not acknowledged.
func TestResumeOutlivesAnUpgrade(t *testing.T) {
	s := settings{resumeMs: resumeMs}
	w := newRelay(t, s)
	a, b := w.open(client(1), 1, gateway1), w.open(client(2), 1, gateway1)
	w.tell(nil, "1")
	w.lose(a)
	if err := w.upgrade(s); err != nil {
		t.Fatal(err)
	}
	w.tell(nil, "2")
	w.lose(b)
	for n := range 2 {
		wantTexts(t, "back", w.open(client(n+1), 2, gateway1), "1", "2")
	}
	// one that forgets
	if err := w.upgrade(settings{}); err != nil {
		t.Fatal(err)
	}
	if _, some := w.status(admin).Field("resume").Opt(); some {
		t.Error("something is kept")
	}
}

// Where it is switched on while clients are connected, what was sent before is not there to be sent again: so nothing
// is, until they have acknowledged it.
func TestResumeSwitchedOn(t *testing.T) {
	w := newRelay(t, settings{})
	a, b := w.open(client(1), 1, gateway1), w.open(client(2), 1, gateway1)
	w.tell(nil, "1")
	on := settings{resumeMs: resumeMs}
	if text := w.refusal(w.call(admin, w.relay, "relay_configure", on.argument(t))); text != "" {
		t.Fatal(text)
	}
	w.tell(nil, "2")
	b.has(2)
	w.lose(a)
	w.lose(b)
	wantTexts(t, "one that may miss something", w.open(client(1), 2, gateway1))
	wantTexts(t, "one that has it all", w.open(client(2), 2, gateway1), "2")
	if got := w.resumption("overflowed"); got != 1 {
		t.Errorf("%d overflowed", got)
	}
}

// What is kept is bounded. A client for which something was thrown away begins anew; it never gets messages with a gap.
func TestResumeOverflow(t *testing.T) {
	w := newRelay(t, settings{resumeMs: resumeMs, resumeTag: "Resumed", maxMessages: 1_000})
	large := strings.Repeat("x", 300_000)
	fresh := []string{"Resumed false"}

	// while it is away
	a := w.open(client(1), 1, gateway1)
	w.lose(a)
	for range 3 {
		w.tell(client(1), large)
	}
	if got := w.resumption("bytes"); got < 900_000 || got > 1_000_000 {
		t.Errorf("%d bytes", got)
	}
	w.tell(client(1), large)
	if _, text := w.tryTell(client(1), candid.EncodeText(large)); text == "" {
		t.Error("a message is kept for it")
	}
	if diff := cmp.Diff(fresh, w.open(client(1), 2, gateway1).tagged("Resumed")); diff != "" {
		t.Error(diff)
	}

	// while it is there, and does not answer
	b := w.open(client(2), 1, gateway1)
	for n := range 1_001 {
		w.tell(client(2), fmt.Sprint(n))
	}
	w.lose(b)
	if diff := cmp.Diff(fresh, w.open(client(2), 2, gateway1).tagged("Resumed")); diff != "" {
		t.Error(diff)
	}

	// one that answers in the end
	c := w.open(client(3), 1, gateway1)
	for n := range 1_002 {
		w.tell(client(3), fmt.Sprint(n))
	}
	c.has(uint64(len(c.inbox()) - 1)) //nolint:gosec // small
	w.lose(c)
	if diff := cmp.Diff([]string{"Resumed true", "1001"}, w.open(client(3), 2, gateway1).tagged("Resumed")); diff != "" {
		t.Error(diff)
	}
	if got := w.resumption("overflowed"); got != 2 {
		t.Errorf("%d overflowed", got)
	}
	if got := w.resumption("bytes"); got > 1_000 {
		t.Errorf("%d bytes are left", got)
	}
}

// A client that has much to acknowledge is asked, so that little is sent twice.
func TestResumeAsks(t *testing.T) {
	w := newRelay(t, settings{resumeMs: resumeMs, maxMessages: 1_000})
	a := w.open(client(1), 1, gateway1)
	for n := range 63 {
		w.tell(client(1), fmt.Sprint(n))
	}
	if diff := cmp.Diff([]string{"open"}, a.services()); diff != "" {
		t.Error(diff)
	}
	for n := range 20 {
		w.tell(client(1), fmt.Sprint(63+n))
	}
	if diff := cmp.Diff([]string{"open", "ack 0"}, a.services()); diff != "" {
		t.Error(diff)
	}
	a.has(66) // open, 64 texts, and the question
	if got := w.resumption("messages"); got != 19 {
		t.Errorf("%d messages are kept", got)
	}
	for n := range 45 {
		w.tell(client(1), fmt.Sprint(83+n))
	}
	if got := a.services(); !slices.Equal(got, []string{"open", "ack 0", "ack 1"}) {
		t.Errorf("%q", got)
	}
	// a client that claims more than it was sent gains nothing
	a.has(1 << 60)
	w.tell(client(1), "last")
	w.lose(a)
	wantTexts(t, "back", w.open(client(1), 2, gateway1), "last")
	// the question does not shorten anybody's time to answer
	if got := number(t, w.status(admin), "clients"); got != 1 {
		t.Errorf("%d clients", got)
	}
}

// A connection that is lost has closed, for those who want to know.
func TestResumeHooks(t *testing.T) {
	w := newWorld(t)
	target := w.installTarget()
	w.installRelay(settings{hooks: []hook{{target: target, open: "opened", close: "closed"}}, resumeMs: resumeMs})
	a := w.open(client(1), 1, gateway1)
	w.lose(a)
	w.open(client(1), 2, gateway1)
	w.idle()
	want := []string{fmt.Sprintf("open %s 1", client(1)), fmt.Sprintf("close %s", client(1)), fmt.Sprintf("open %s 2", client(1))}
	if diff := cmp.Diff(want, w.texts(target, "log")); diff != "" {
		t.Error(diff)
	}
}

// Only the gateway of a connection can say that it is lost.
func TestLostAuthority(t *testing.T) {
	w := newRelay(t, settings{resumeMs: resumeMs})
	a := w.open(client(1), 1, gateway1)
	w.open(client(2), 1, gateway2)
	for sender, want := range map[candid.Principal]string{
		stranger:  "is not registered",
		gateway2:  "was not registered to gateway",
		client(1): "is not registered",
	} {
		if text := w.tryLose(sender, a.key); !strings.Contains(text, want) {
			t.Errorf("%s: %q", sender, text)
		}
	}
	w.lose(a)
	if text := w.tryLose(gateway1, a.key); !strings.Contains(text, "doesn't have an open connection") {
		t.Error(text)
	}
	// nor can another one say that it is closed
	_ = w.tryClose(gateway2, a.key)
	if got := w.resumption("waiting"); got != 1 {
		t.Errorf("%d are waited for", got)
	}
}

// A client may come back with the key of its lost connection.
func TestResumeSameKey(t *testing.T) {
	w := newRelay(t, settings{resumeMs: resumeMs})
	for n := range 5 {
		c := w.open(client(1), 1, gateway1)
		w.tell(c.key, fmt.Sprint(n))
		w.lose(c)
	}
	if got := w.resumption("messages"); got != 5 {
		t.Errorf("%d messages are kept", got)
	}
	w.advance(resumeMs*time.Millisecond + time.Second)
	w.open(client(2), 1, gateway1)
	for _, field := range []string{"messages", "bytes", "waiting"} {
		if got := w.resumption(field); got != 0 {
			t.Errorf("%s: %d", field, got)
		}
	}
	if got := w.resumption("expired"); got != 1 {
		t.Errorf("%d expired", got)
	}
}

// A page is a client of the model test: what it was sent, and what it has seen.
type page struct {
	w         *world
	principal candid.Principal
	nonce     uint64
	now       *conn   // the connection that it uses, if any
	read      int     // how much of its inbox it has read
	dead      []*conn // cut off, and nobody knows yet
	sent      int
	seen      map[string]int
}

func (p *page) open(gateway candid.Principal) {
	p.w.t.Helper()
	p.nonce++
	p.now, p.read = p.w.open(p.principal, p.nonce, gateway), 0
}

// receive reads at most so many messages that are new, and returns the number of the last one.
func (p *page) receive(n int) (last uint64) {
	p.w.t.Helper()
	inbox := p.now.inbox()
	p.read = min(len(inbox), p.read+n)
	for _, m := range inbox[:p.read] {
		last = m.SequenceNum
		if m.IsServiceMessage {
			continue
		}
		text, err := candid.DecodeText(m.Content)
		if err != nil {
			p.w.t.Fatal(err)
		}
		p.seen[text] = max(1, p.seen[text])
	}
	return last
}

// However connections are lost, noticed or not, in whichever order: a page that goes on has seen everything in the end.
func TestResumeModel(t *testing.T) {
	for seed := range uint64(6) {
		random := rand.New(rand.NewPCG(seed, 1)) //nolint:gosec // the same in every run
		w := newRelay(t, settings{resumeMs: resumeMs, maxMessages: 1_000})
		gateways := []candid.Principal{gateway1, gateway2}
		pages := make([]*page, 3)
		for i := range pages {
			pages[i] = &page{w: w, principal: client(i), seen: make(map[string]int)}
			pages[i].open(gateway1)
		}
		for range 150 {
			p := pages[random.IntN(len(pages))]
			switch action := random.IntN(12); {
			case action < 3:
				p.sent++
				w.tell(p.principal, fmt.Sprint(p.sent))
			case action == 3:
				for _, p := range pages {
					p.sent++
				}
				// each page has a number of its own: so one after the other, as a broadcast comes
				for _, p := range pages {
					w.tell(p.principal, fmt.Sprint(p.sent))
				}
			case action == 4 && p.nonce > 0:
				p.sent++
				w.tell(candid.ClientKey{Principal: p.principal, Nonce: p.nonce}, fmt.Sprint(p.sent))
			case action < 7 && p.now != nil:
				last := p.receive(random.IntN(5))
				if random.IntN(2) == 0 && last > 0 {
					p.now.has(last)
				}
			case action == 7 && p.now != nil:
				p.receive(random.IntN(3))
				w.lose(p.now)
				p.now = nil
			case action == 8 && p.now != nil:
				p.receive(random.IntN(3))
				p.dead, p.now = append(p.dead, p.now), nil
			case action == 9 && len(p.dead) > 0:
				i := random.IntN(len(p.dead))
				w.lose(p.dead[i])
				p.dead = slices.Delete(p.dead, i, i+1)
			case action > 9 && p.now == nil:
				p.open(gateways[random.IntN(2)])
			}
		}
		for _, p := range pages {
			for _, c := range p.dead {
				w.lose(c)
			}
			if p.now == nil {
				p.open(gateway2)
			}
			last := p.receive(1_000)
			for n := 1; n <= p.sent; n++ {
				if p.seen[fmt.Sprint(n)] == 0 {
					t.Errorf("seed %d: client %s has not seen %d of %d", seed, p.principal, n, p.sent)
				}
			}
			p.now.has(last)
		}
		for _, field := range []string{"messages", "bytes", "waiting", "overflowed"} {
			if got := w.resumption(field); got != 0 {
				t.Errorf("seed %d: %s: %d", seed, field, got)
			}
		}
	}
}
