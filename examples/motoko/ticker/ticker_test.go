// Package ticker_test tests the ticker alone, with a clock of its own. Behind
// the relay canister it is tested end to end (e2e/ticker.test.mjs).
package ticker_test

import (
	"os"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/icrelay/icrelay/candid"
	"github.com/icrelay/icrelay/localnet/execution"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type world struct {
	*testing.T
	machine *execution.Machine
	ticker  candid.Principal
	passed  atomic.Int64 // since the start, in nanoseconds
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{T: t}
	w.machine = execution.New(execution.Options{Now: func() time.Time { return time.Unix(1_800_000_000, w.passed.Load()) }})
	t.Cleanup(func() {
		if err := w.machine.Close(); err != nil {
			t.Error(err)
		}
	})
	var err error
	if w.ticker, err = w.machine.CreateCanister(nil); err != nil {
		t.Fatal(err)
	}
	w.install(execution.ModeInstall)
	w.passed.Add(int64(time.Millisecond)) // so that a second later the timer's time has passed, and not just come
	return w
}

func (w *world) install(mode execution.Mode) {
	w.Helper()
	wasm, err := os.ReadFile("ticker.wasm")
	if err != nil {
		w.Fatal(err)
	}
	if err := w.machine.Install(w.Context(), w.ticker, mode, wasm, candid.EncodeEmpty(), candid.Anonymous); err != nil {
		w.Fatal(err)
	}
}

type price struct {
	id, cents uint64
	time      int64
}

func (w *world) since(from uint64) (items []price, next uint64) {
	w.Helper()
	r := w.machine.Query(w.Context(), candid.Anonymous, w.ticker, "since", candid.EncodeNat(from))
	if r.Reject != nil {
		w.Fatal(r.Reject)
	}
	values, err := candid.Decode(r.Reply, candid.Limits{})
	if err != nil || len(values) != 1 {
		w.Fatalf("%v, %v", values, err)
	}
	list, _ := values[0].Field("items").Vec()
	for _, v := range list {
		var p price
		p.id, _ = v.Field("id").Uint64()
		p.cents, _ = v.Field("cents").Uint64()
		at, _ := v.Field("time").Big()
		p.time = at.Int64()
		items = append(items, p)
	}
	next, _ = values[0].Field("next").Uint64()
	return items, next
}

// tick lets one second after the other pass until there are so many prices.
func (w *world) tick(count uint64) {
	w.Helper()
	deadline := time.Now().Add(2 * time.Minute)
	for _, next := w.since(1 << 40); next < count; {
		w.passed.Add(int64(time.Second))
		w.machine.Tick()
		for before := next; next == before; _, next = w.since(1 << 40) {
			if time.Now().After(deadline) {
				w.Fatalf("%d prices, not %d", next, count)
			}
			w.turn()
		}
	}
}

// turn waits until the messages that are under way have had their turn: a call
// of a method that does not exist comes after them.
func (w *world) turn() {
	w.Helper()
	done := make(chan execution.Result, 1)
	if err := w.machine.Submit(execution.Ingress{Canister: w.ticker, Method: "none"}, func(r execution.Result) { done <- r }); err != nil {
		w.Fatal(err)
	}
	<-done
}

func TestSeries(t *testing.T) {
	w := newWorld(t)
	if items, next := w.since(0); len(items) != 0 || next != 0 {
		t.Errorf("at the start: %v, next %d", items, next)
	}
	const count = 330
	w.tick(count)

	// All that are kept, page after page, as a reader does who knows nothing.
	var all []price
	for from, pages := uint64(0), 0; ; pages++ {
		items, next := w.since(from)
		if len(items) == 0 {
			if next != from || pages != 3 {
				t.Errorf("after %d pages next is %d, asked from %d", pages, next, from)
			}
			break
		}
		if len(items) > 100 || next != items[len(items)-1].id+1 {
			t.Fatalf("from %d: %d items up to %d, next %d", from, len(items), items[len(items)-1].id, next)
		}
		all = append(all, items...)
		from = next
	}
	if len(all) != 300 || all[299].id != count-1 {
		t.Fatalf("%d prices, the last is %v of %d", len(all), all[len(all)-1], count)
	}
	changes := 0
	for i, p := range all[1:] {
		if p.id != all[i].id+1 || p.time <= all[i].time || p.cents < 100 {
			t.Fatalf("%v after %v", p, all[i])
		}
		step := int64(p.cents) - int64(all[i].cents)
		if step < -75 || step > 75 {
			t.Errorf("a step of %d", step)
		}
		if step != 0 {
			changes++
		}
	}
	if changes < 250 {
		t.Errorf("only %d of 299 steps changed the price", changes)
	}

	for _, test := range []struct {
		name        string
		from        uint64
		items, next uint64
	}{
		{"the last one", count - 1, 1, count},
		{"the end", count, 0, count},
		{"beyond the end, as after a new installation", count + 1, 0, count},
		{"far beyond", 1<<64 - 1, 0, count},
	} {
		if items, next := w.since(test.from); uint64(len(items)) != test.items || next != test.next {
			t.Errorf("%s: %d items, next %d; want %d and %d", test.name, len(items), next, test.items, test.next)
		}
	}
}

// An upgrade keeps the series and goes on with it.
func TestUpgrade(t *testing.T) {
	w := newWorld(t)
	w.tick(5)
	before, _ := w.since(0)
	if err := w.machine.Stop(t.Context(), w.ticker); err != nil { // no call of its timer is open after that
		t.Fatal(err)
	}
	w.install(execution.ModeUpgrade)
	if err := w.machine.Start(t.Context(), w.ticker); err != nil {
		t.Fatal(err)
	}
	w.tick(8)
	after, _ := w.since(0)
	if len(before) != 5 || len(after) != 8 {
		t.Fatalf("%d prices after %d", len(after), len(before))
	}
	for i, p := range before {
		if after[i] != p {
			t.Errorf("price %d was %v and is %v", i, p, after[i])
		}
	}
}
