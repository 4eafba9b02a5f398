package canister_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/icrelay/icrelay/candid"
	"github.com/icrelay/icrelay/localnet/execution"
)

// A message's content is the argument of the configured method, byte for byte.
func TestMessagesBecomeCalls(t *testing.T) {
	w := newWorld(t)
	guestbook := w.installFile("examples/motoko/guestbook/guestbook.wasm")
	w.installRelay(settings{calls: []method{{guestbook, "post"}}})
	c := w.open(client(1), 1, gateway1)

	// The page's message type has more fields than the method's argument.
	entry := candid.RecordOf(
		candid.Field{Label: "author", Type: candid.TextType},
		candid.Field{Label: "text", Type: candid.TextType},
		candid.Field{Label: "id", Type: candid.OptOf(candid.NatType)},
	)
	post := func(author, text string) {
		t.Helper()
		content, err := candid.NewBuilder().Add(entry, candid.Fields{"author": author, "text": text}).Bytes()
		if err != nil {
			t.Fatal(err)
		}
		c.send(content)
	}
	post("Ada", "hello")
	post("Bob", "hi")
	entries, _ := w.decode(w.ask(stranger, guestbook, "since", candid.EncodeNat(0))).Vec()
	if len(entries) != 2 || text(t, entries[0], "author") != "Ada" || text(t, entries[1], "text") != "hi" || number(t, entries[1], "id") != 1 {
		t.Errorf("entries: %v", entries)
	}

	// What the method refuses closes nobody, and is remembered.
	post("", "nobody")
	post("Cyd", strings.Repeat("x", 2_001))
	c.send([]byte("this is not Candid"))
	post("Eve", "still here")
	entries, _ = w.decode(w.ask(stranger, guestbook, "since", candid.EncodeNat(2))).Vec()
	if len(entries) != 1 || text(t, entries[0], "author") != "Eve" {
		t.Errorf("entries: %v", entries)
	}
	rejections := list(t, w.status(gateway1), "rejections")
	if len(rejections) != 3 {
		t.Fatalf("%d rejections", len(rejections))
	}
	for i, want := range []struct{ code, text string }{
		{"CANISTER_REJECT", "The author is empty"},
		{"CANISTER_REJECT", "The text is longer than 2000 characters"},
		{"IC0503", "IDL error"},
	} {
		r := rejections[i]
		if number(t, r, "id") != uint64(i) || text(t, r, "code") != want.code || !strings.Contains(text(t, r, "text"), want.text) || text(t, r, "method") != "post" {
			t.Errorf("rejection %d: %v", i, r)
		}
		if p, _ := r.Field("target").Principal(); p != guestbook {
			t.Errorf("rejection %d: target %s", i, p)
		}
		if got := number(t, r, "at"); got != uint64(w.now.UnixNano()) {
			t.Errorf("rejection %d: at %d", i, got)
		}
	}
}

func TestNoCallConfigured(t *testing.T) {
	w := newRelay(t, settings{})
	c := w.open(client(1), 1, gateway1)
	got := w.result(c.start(1, candid.EncodeText("hello")))
	if !strings.HasPrefix(got, "This route takes no messages") {
		t.Errorf("got %q", got)
	}
	// It cost its sequence number, so that a client that goes on stays in order.
	c.sent = 1
	c.keepAlive()
}

func TestOrder(t *testing.T) {
	w := newWorld(t)
	target := w.installTarget()
	w.installRelay(settings{calls: []method{{target, "put"}}})

	c := w.open(client(1), 1, gateway1)
	var want []string
	number := uint64(0)
	// Each window arrives in another order.
	for range 3 {
		numbers := rand.Perm(64)
		var done []<-chan execution.Result
		for _, n := range numbers {
			done = append(done, c.start(number+uint64(n)+1, candid.EncodeText(fmt.Sprint(number+uint64(n)+1))))
		}
		for _, d := range done {
			if text := w.result(d); text != "" {
				t.Fatal(text)
			}
		}
		for range 64 {
			number++
			want = append(want, fmt.Sprint(number))
		}
	}
	if diff := cmp.Diff(want, w.texts(target, "log")); diff != "" {
		t.Error(diff)
	}
}

func TestOrderOfManyClients(t *testing.T) {
	w := newWorld(t)
	target := w.installTarget()
	w.installRelay(settings{calls: []method{{target, "slow"}}, maxInFlight: 7})
	conns := make([]*conn, 10)
	var done []<-chan execution.Result
	for i := range conns {
		conns[i] = w.open(client(i), 1, gateway1)
	}
	// Far more than may be in flight at a time.
	for n := range uint64(8) {
		for i, c := range conns {
			done = append(done, c.start(n+1, candid.EncodeText(fmt.Sprintf("%d %d", i, n))))
		}
	}
	for _, d := range done {
		if text := w.result(d); text != "" {
			t.Fatal(text)
		}
	}
	w.idle()
	next := map[int]int{}
	for _, line := range w.texts(target, "log") {
		var i, n int
		if _, err := fmt.Sscan(line, &i, &n); err != nil {
			t.Fatal(err)
		}
		if next[i] != n {
			t.Fatalf("client %d: message %d after %d messages", i, n, next[i])
		}
		next[i]++
	}
	for i := range conns {
		if next[i] != 8 {
			t.Errorf("client %d: %d messages arrived", i, next[i])
		}
	}
}

func TestWindow(t *testing.T) {
	for _, tc := range []struct {
		name   string
		before []uint64
		number uint64
		want   string
	}{
		{"zero", nil, 0, "Expected incoming sequence number 1 but got 0"},
		{"repeated", []uint64{1, 2}, 2, "Expected incoming sequence number 3 but got 2"},
		{"repeated while it waits", []uint64{3}, 3, "Expected incoming sequence number 1 but got 3"},
		{"just inside the window", nil, 64, ""},
		{"just outside the window", nil, 65, "Expected incoming sequence number 1 but got 65"},
		{"far outside the window", []uint64{1}, 1 << 63, "Expected incoming sequence number 2 but got 9223372036854775808"},
		{"the largest number", []uint64{1}, 1<<64 - 1, "Expected incoming sequence number 2 but got 18446744073709551615"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t)
			w.installRelay(settings{calls: []method{{w.installTarget(), "put"}}})
			c, other := w.open(client(1), 1, gateway1), w.open(client(1), 2, gateway1)
			for _, n := range tc.before {
				if text := w.result(c.start(n, candid.EncodeText("x"))); text != "" {
					t.Fatal(text)
				}
			}
			got := w.result(c.start(tc.number, candid.EncodeText("x")))
			if got != tc.want {
				t.Errorf("got %q, want %q", got, tc.want)
			}
			want := []string{"open"}
			if tc.want != "" {
				want = append(want, "close WrongSequenceNumber")
			}
			if diff := cmp.Diff(want, c.services()); diff != "" {
				t.Error(diff)
			}
			// Another connection of the same principal is not touched.
			other.send(candid.EncodeText("y"))
		})
	}
}

func TestTooMuchIsHeld(t *testing.T) {
	w := newWorld(t)
	w.installRelay(settings{calls: []method{{w.installTarget(), "put"}}})
	c := w.open(client(1), 1, gateway1)
	large := candid.EncodeText(strings.Repeat("x", 1_500_000))
	for n := range uint64(2) {
		if text := w.result(c.start(n+2, large)); text != "" {
			t.Fatal(text)
		}
	}
	if got := w.result(c.start(4, large)); got != "Too much is waiting for an earlier message of this client" {
		t.Errorf("got %q", got)
	}
	if diff := cmp.Diff([]string{"open", "close WrongSequenceNumber"}, c.services()); diff != "" {
		t.Error(diff)
	}
}

// A target that does not answer holds up neither other clients nor the canister; what waits for it is bounded.
func TestTargetThatDoesNotAnswer(t *testing.T) {
	w := newWorld(t)
	target := w.installTarget()
	w.installRelay(settings{calls: []method{{target, "slow"}}, maxInFlight: 10})
	w.call(stranger, target, "hold", candid.EncodeEmpty())
	c, other := w.open(client(1), 1, gateway1), w.open(client(2), 1, gateway1)

	var done []<-chan execution.Result
	for n := range uint64(50) {
		done = append(done, c.start(n+1, candid.EncodeText(fmt.Sprint(n+1))))
	}
	// 10 are in flight and not answered; the rest is accepted at once and waits.
	for _, d := range done[10:] {
		if text := w.result(d); text != "" {
			t.Fatal(text)
		}
	}
	status := w.status(controller)
	if in, waiting := number(t, status, "calls_in_flight"), number(t, status, "calls_waiting"); in != 10 || waiting != 40 {
		t.Errorf("%d calls in flight, %d waiting", in, waiting)
	}
	other.keepAlive()
	if diff := cmp.Diff([]string{"open"}, other.services()); diff != "" {
		t.Error(diff)
	}
	w.call(stranger, target, "release", candid.EncodeEmpty())
	for _, d := range done[:10] {
		if text := w.result(d); text != "" {
			t.Fatal(text)
		}
	}
	want := make([]string, 50)
	for i := range want {
		want[i] = fmt.Sprint(i + 1)
	}
	w.idle()
	if diff := cmp.Diff(want, w.texts(target, "log")); diff != "" {
		t.Error(diff)
	}
}

// A call that is not answered takes one place of those in flight, and no more.
func TestOneCallIsStuck(t *testing.T) {
	w := newWorld(t)
	target := w.installTarget()
	w.installRelay(settings{calls: []method{{target, "sometimes"}}, maxInFlight: 5})
	w.call(stranger, target, "hold", candid.EncodeEmpty())
	conns := []*conn{w.open(client(1), 1, gateway1), w.open(client(2), 1, gateway1)}
	stuck := conns[0].start(1, candid.EncodeText("stuck"))
	for n := range uint64(30) {
		var done []<-chan execution.Result
		for i, c := range conns {
			number := n + 1
			if i == 0 {
				number++ // the first is stuck
			}
			done = append(done, c.start(number, candid.EncodeText("x")))
		}
		for _, d := range done {
			if text := w.result(d); text != "" {
				t.Fatal(text)
			}
		}
	}
	if got := len(w.texts(target, "log")); got != 61 {
		t.Errorf("%d calls arrived", got)
	}
	if got := number(t, w.status(controller), "calls_in_flight"); got != 1 {
		t.Errorf("%d calls in flight", got)
	}
	w.call(stranger, target, "release", candid.EncodeEmpty())
	if text := w.result(stuck); text != "" {
		t.Error(text)
	}
}

func TestFullQueueOfATarget(t *testing.T) {
	w := newWorld(t)
	target := w.installTarget()
	w.installRelay(settings{calls: []method{{target, "slow"}}, maxInFlight: 1})
	w.call(stranger, target, "hold", candid.EncodeEmpty())
	c := w.open(client(1), 1, gateway1)
	first := c.start(1, candid.EncodeText("small"))
	large := candid.EncodeText(strings.Repeat("x", 1_900_000))
	// 16 MiB may wait.
	for n := range uint64(8) {
		if text := w.result(c.start(n+2, large)); text != "" {
			t.Fatal(text)
		}
	}
	want := "Too many calls are waiting for " + target.String() + ", try again later"
	if got := w.result(c.start(10, large)); got != want {
		t.Errorf("got %q", got)
	}
	// A refused message costs no sequence number: there is room for a small one with the same.
	if got := w.result(c.start(10, candid.EncodeText("small"))); got != "" {
		t.Error(got)
	}
	w.call(stranger, target, "release", candid.EncodeEmpty())
	if got := w.result(first); got != "" {
		t.Error(got)
	}
	w.idle()
	if got, _ := w.decode(w.ask(stranger, target, "logSize", candid.EncodeEmpty())).Uint64(); got != 10 {
		t.Errorf("%d calls arrived", got)
	}
}

func TestTargetsThatFail(t *testing.T) {
	w := newWorld(t)
	faulty := w.installFile("e2e/canisters/faulty/faulty.wasm")
	stopped := w.installTarget()
	if err := w.machine.Stop(context.Background(), stopped); err != nil {
		t.Fatal(err)
	}
	nobody := candid.Principal("\x00\x00\x00\x00\x00\x00\xff\xff\x01\x01")
	for _, tc := range []struct {
		name   string
		call   method
		code   string
		reason string
	}{
		{"refuses", method{faulty, "refuse"}, "CANISTER_REJECT", "refused on purpose"},
		{"traps", method{faulty, "trap"}, "IC0503", "trapped on purpose"},
		{"no such method", method{faulty, "nosuch"}, "IC0536", "nosuch"},
		{"stopped", method{stopped, "put"}, "IC0508", "stopped"},
		{"no such canister", method{nobody, "put"}, "IC0301", nobody.String()},
		{"not a canister", method{stranger, "put"}, "IC0301", stranger.String()},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w.installRelay(settings{calls: []method{tc.call}})
			c := w.open(client(1), 1, gateway1)
			for range 3 {
				c.send(candid.EncodeText("x"))
			}
			rejections := list(t, w.status(gateway1), "rejections")
			if len(rejections) != 3 {
				t.Fatalf("%d rejections", len(rejections))
			}
			if r := rejections[2]; text(t, r, "code") != tc.code || !strings.Contains(text(t, r, "text"), tc.reason) {
				t.Errorf("rejection: %v", r)
			}
			if diff := cmp.Diff([]string{"open"}, c.services()); diff != "" {
				t.Error(diff)
			}
			if got := number(t, w.status(gateway1), "calls_in_flight"); got != 0 {
				t.Errorf("%d calls in flight", got)
			}
		})
	}
}

func TestRejectionsAreBounded(t *testing.T) {
	w := newWorld(t)
	faulty := w.installFile("e2e/canisters/faulty/faulty.wasm")
	w.installRelay(settings{calls: []method{{faulty, "refuse"}}})
	c := w.open(client(1), 1, gateway1)
	for range 130 {
		c.send(candid.EncodeText("x"))
	}
	rejections := list(t, w.status(gateway1), "rejections")
	if len(rejections) != 100 || number(t, rejections[0], "id") != 30 || number(t, rejections[99], "id") != 129 {
		t.Errorf("%d rejections", len(rejections))
	}
}

// A canister that is stopped loses the messages to itself that would start
// calls. After the start, those that wait go on with the next acknowledgement.
func TestCallsAfterStopAndStart(t *testing.T) {
	w := newWorld(t)
	target := w.installTarget()
	w.installRelay(settings{calls: []method{{target, "slow"}}, maxInFlight: 2, ackMs: 60_000, keepAliveMs: 20_000})
	c := w.open(client(1), 1, gateway1)
	w.call(stranger, target, "hold", candid.EncodeEmpty())
	const messages = 20
	var done []<-chan execution.Result
	for n := range uint64(messages) {
		done = append(done, c.start(n+1, candid.EncodeText("x")))
	}
	for len(w.texts(target, "log")) == 0 {
		w.settle()
	}
	stopped := make(chan error, 1)
	go func() { stopped <- w.machine.Stop(t.Context(), w.relay) }()
	for info, _ := w.machine.Info(w.relay); info.Status != execution.StatusStopping; info, _ = w.machine.Info(w.relay) {
		runtime.Gosched()
	}
	w.call(stranger, target, "release", candid.EncodeEmpty())
	if err := <-stopped; err != nil {
		t.Fatal(err)
	}
	if err := w.machine.Start(t.Context(), w.relay); err != nil {
		t.Fatal(err)
	}
	for _, d := range done {
		<-d
	}
	w.advance(60 * time.Second)
	w.idle()
	if got := len(w.texts(target, "log")); got != messages {
		t.Errorf("%d of %d calls arrived", got, messages)
	}
}

// Targets that never answer share the places for calls so that others always find one, with whatever was configured.
func TestStuckTargetsLeaveRoomForOthers(t *testing.T) {
	w := newWorld(t)
	s := settings{maxInFlight: 200}
	const stuck = 5
	for i := range stuck {
		target := w.installTarget()
		w.call(stranger, target, "hold", candid.EncodeEmpty())
		s.routed = append(s.routed, call{method: method{target, "slow"}, tag: fmt.Sprint("Stuck", i)})
	}
	good := w.installTarget()
	s.routed = append(s.routed, call{method: method{good, "put"}, tag: "Good"})
	w.installRelay(s)
	var conns []*conn
	for i := range stuck {
		conns = append(conns, w.open(client(i), 1, gateway1))
	}
	for i, c := range conns {
		for n := range uint64(210) {
			c.start(n+1, textVariant(t, fmt.Sprint("Stuck", i), "x"))
		}
	}
	w.settle()
	c := w.open(client(100), 1, gateway2)
	for i := range 30 {
		c.send(textVariant(t, "Good", fmt.Sprint(i)))
	}
	if got := len(w.texts(good, "log")); got != 30 {
		t.Errorf("%d of 30 calls arrived", got)
	}
	if got := number(t, w.status(admin), "calls_in_flight"); got < 150 || got >= 200 {
		t.Errorf("%d calls are in flight", got)
	}
	for _, r := range s.routed[:stuck] {
		w.call(stranger, r.target, "release", candid.EncodeEmpty())
	}
	w.idle()
	for _, r := range s.routed[:stuck] {
		if got := len(w.texts(r.target, "log")); got != 210 {
			t.Errorf("%d of 210 calls arrived at a target that was stuck", got)
		}
	}
}
