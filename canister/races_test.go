package canister_test

import (
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/icrelay/icrelay/candid"
	"github.com/icrelay/icrelay/localnet/execution"
)

// stopWhile stops the relay canister, does something while it is stopping, and starts it again.
func (w *world) stopWhile(do func()) {
	w.t.Helper()
	stopped := make(chan error, 1)
	go func() { stopped <- w.machine.Stop(w.t.Context(), w.relay) }()
	for info, _ := w.machine.Info(w.relay); info.Status != execution.StatusStopping; info, _ = w.machine.Info(w.relay) {
		runtime.Gosched()
	}
	do()
	if err := <-stopped; err != nil {
		w.t.Fatal(err)
	}
	if err := w.machine.Start(w.t.Context(), w.relay); err != nil {
		w.t.Fatal(err)
	}
}

// What waits for a target when the canister is stopped is called after it, in order and once, also where the calls before it
// were started by messages of the canister to itself.
func TestStopKeepsWhatWaits(t *testing.T) {
	w := newWorld(t)
	target := w.installTarget()
	w.installRelay(settings{calls: []method{{target, "slow"}}, maxInFlight: 2, ackMs: 60_000, keepAliveMs: 20_000})
	c := w.open(client(1), 1, gateway1)
	w.call(stranger, target, "hold", candid.EncodeEmpty())
	const messages = 20
	want := []string{}
	for n := range uint64(messages) {
		want = append(want, fmt.Sprint(n+1))
	}
	// The first comes last, so that all become ready at once.
	for n := uint64(messages); n >= 1; n-- {
		_ = c.start(n, candid.EncodeText(fmt.Sprint(n)))
	}
	for len(w.texts(target, "log")) < 2 {
		w.settle()
	}
	w.stopWhile(func() { w.call(stranger, target, "release", candid.EncodeEmpty()) })
	w.advance(60 * time.Second)
	w.idle()
	if diff := cmp.Diff(want, w.texts(target, "log")); diff != "" {
		t.Error(diff)
	}
	if got := w.rejectionCodes(); len(got) != 1 || got[0] != "NOT_STARTED" {
		t.Errorf("rejections %q", got)
	}
}

func (w *world) rejectionCodes() []string {
	w.t.Helper()
	var codes []string
	for _, r := range list(w.t, w.status(admin), "rejections") {
		codes = append(codes, text(w.t, r, "code"))
	}
	return codes
}

// during has messages submitted to the relay canister while the n-th execution of a target's method runs: they come before its
// reply. The result says whether that has happened, and ends the waiting for it.
func (w *world) during(target candid.Principal, method string, n int, messages func(submit func(sender candid.Principal, method string, arg []byte))) (happened func() bool) {
	var count atomic.Int64
	var has atomic.Bool
	w.observe(func(x execution.Execution) {
		if x.Canister != target || x.Method != method || count.Add(1) != int64(n) {
			return
		}
		has.Store(true)
		messages(func(sender candid.Principal, method string, arg []byte) {
			in := execution.Ingress{ID: w.nextID(), Sender: sender, Canister: w.relay, Method: method, Arg: arg}
			if err := w.machine.Submit(in, func(execution.Result) {}); err != nil {
				w.t.Error(err)
			}
		})
	})
	return func() bool {
		w.observe(nil)
		return has.Load()
	}
}

// A first client that leaves while the end is looked for, and another first one: whatever was asked for the one says nothing
// to the other, and the feed goes on for those who come.
func TestSeekingAnew(t *testing.T) {
	for _, name := range []string{"countedSince", "pageAt", "pageAtOrThere"} {
		for _, last := range []uint64{0, 3} {
			for question := 1; question <= 20; question++ {
				w, feed := shapedWorld(t, feed{method: method{name: name}, last: last})
				w.setPage(feed, 10)
				w.addMany(feed, 120)
				// A number that is out of the question closes the client.
				came := w.during(feed.target, feed.name, question, func(submit func(candid.Principal, string, []byte)) {
					key := candid.ClientKey{Principal: client(1), Nonce: 1}
					submit(client(1), "ws_message", candid.EncodeMessageArgs(candid.WebsocketMessage{ClientKey: key, SequenceNum: 1_000}))
					submit(client(1), "ws_open", candid.EncodeOpenArgs(2, gateway1))
				})
				w.open(client(1), 1, gateway1)
				w.idle()
				if !came() {
					break // its end is found with fewer questions
				}
				again := &conn{w: w, key: candid.ClientKey{Principal: client(1), Nonce: 2}, gateway: gateway1}
				w.pull(gateway1, feed) // the last items, if any
				w.addMany(feed, 2)
				w.pull(gateway1, feed)
				if diff := cmp.Diff(feedItems(120-int(last), 122), again.texts()); diff != "" { //nolint:gosec // small
					t.Errorf("%s, last %d, question %d: %s%v", name, last, question, diff, w.status(admin).Field("feeds"))
				}
			}
		}
	}
}

// A feed that is configured while many are connected gives them its last items, in several messages of the canister.
func TestManyGetTheLastItems(t *testing.T) {
	for _, name := range []string{"since", "pageAt"} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			f := feed{method: method{w.installTarget(), name}, last: 300}
			w.setPage(f.method, 300)
			w.addMany(f.method, 400)
			w.installRelay(settings{})
			const clients = 20
			var conns []*conn
			for n := range clients {
				conns = append(conns, w.open(client(n), 1, gateway1))
			}
			var mu sync.Mutex
			var largest uint64
			w.observe(func(x execution.Execution) {
				mu.Lock()
				defer mu.Unlock()
				largest = max(largest, x.Instructions)
			})
			if text := w.refusal(w.call(admin, w.relay, "relay_configure", settings{shaped: []feed{f}}.argument(t))); text != "" {
				t.Fatal(text)
			}
			w.idle()
			w.pull(gateway1, f.method)
			w.observe(nil)
			mu.Lock()
			defer mu.Unlock()
			if largest > 1_000_000_000 { // 6,000 messages at once would take twice as much
				t.Errorf("%d instructions in one message", largest)
			}
			for _, c := range []*conn{conns[0], conns[clients-1], w.open(client(clients), 1, gateway2)} {
				if diff := cmp.Diff(feedItems(100, 400), c.texts()); diff != "" {
					t.Errorf("%s: %s", c.key, diff)
				}
			}
		})
	}
}

// Pulls of a feed whose end cannot be found do not hold up the calls of its target, however many there are.
func TestPullsDoNotHoldUpCalls(t *testing.T) {
	w := newWorld(t)
	feed := method{w.installFile("e2e/canisters/faulty/faulty.wasm"), "trapSince"}
	w.installRelay(settings{calls: []method{{feed.target, "accept"}}, feeds: []method{feed}})
	c := w.open(client(1), 1, gateway1)
	w.idle()
	var pulls, arrived atomic.Int64 // pulls begun, and how many it were when the call arrived
	arrived.Store(-1)
	arg := w.pullArgument(feed)
	w.observe(func(x execution.Execution) {
		switch {
		case x.Canister == feed.target && x.Method == "accept":
			arrived.Store(pulls.Load())
		case x.Canister == feed.target && x.Method == "trapSince" && pulls.Load() < 50:
			pulls.Add(1)
			in := execution.Ingress{ID: w.nextID(), Sender: gateway1, Canister: w.relay, Method: "relay_pull", Arg: arg}
			if err := w.machine.Submit(in, func(execution.Result) {}); err != nil {
				t.Error(err)
			}
		}
	})
	w.startPull(gateway1, feed, nil)
	for range 3 {
		w.start(gateway1, w.relay, "relay_pull", arg)
	}
	c.send(candid.EncodeText("x"))
	w.idle()
	for range 200 {
		w.settle()
	}
	w.observe(nil)
	if n := arrived.Load(); n < 0 || n > 25 {
		t.Errorf("the call arrived after %d of %d pulls", n, pulls.Load())
	}
}

func (w *world) pullArgument(feed method) []byte {
	w.t.Helper()
	arg, err := candid.NewBuilder().Add(candid.RecordOf(
		candid.Field{Label: "target", Type: candid.PrincipalType},
		candid.Field{Label: "method", Type: candid.TextType},
	), candid.Fields{"target": feed.target, "method": feed.name}).Bytes()
	if err != nil {
		w.t.Fatal(err)
	}
	return arg
}

// An upgrade, and a configuration, that close the last clients tell so, though a new feed of the same target has not found its
// end: nobody waits for that.
func TestHooksOfWhomAConfigurationCloses(t *testing.T) {
	for _, upgrade := range []bool{false, true} {
		t.Run(fmt.Sprintf("upgrade=%v", upgrade), func(t *testing.T) {
			w := newWorld(t)
			target := w.installTarget()
			hooks := []hook{{target: target, close: "closed"}}
			w.installRelay(settings{hooks: hooks})
			w.open(client(1), 1, gateway1)
			s := settings{hooks: hooks, gateways: []candid.Principal{gateway2}, feeds: []method{{target, "since"}}}
			if !upgrade {
				if text := w.refusal(w.call(admin, w.relay, "relay_configure", s.argument(t))); text != "" {
					t.Fatal(text)
				}
			} else if err := w.upgrade(s); err != nil {
				t.Fatal(err)
			}
			w.advance(time.Millisecond)
			w.advance(time.Millisecond)
			if diff := cmp.Diff([]string{"close " + client(1).String()}, w.texts(target, "log")); diff != "" {
				t.Error(diff)
			}
		})
	}
}
