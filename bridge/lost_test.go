package bridge

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"github.com/icrelay/icrelay/candid"
)

// A watchedCanister is a testCanister whose adapter has background work.
type watchedCanister struct {
	*testCanister

	mu    sync.Mutex
	lost  chan struct{} // closed when what the sessions were opened with is gone
	times int
}

func (w *watchedCanister) Watch(ctx context.Context, _ candid.Principal, _ func()) error {
	w.mu.Lock()
	lost := w.lost
	w.times++
	w.mu.Unlock()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-lost:
		return fmt.Errorf("watch: %w", &LostError{Text: "the adapter starts anew, try again later"})
	}
}

// lose ends what there is, and begins anew.
func (w *watchedCanister) lose() {
	w.mu.Lock()
	defer w.mu.Unlock()
	close(w.lost)
	w.lost = make(chan struct{})
}

// Sessions whose adapter has lost what it knew of them are told so at once, also
// those that only listen; new ones begin anew.
func TestLostSessions(t *testing.T) {
	const text = "the adapter starts anew, try again later"
	lost := &LostError{Text: text}
	for _, test := range []struct {
		name string
		lose func(b *bench, w *watchedCanister, talks *peer)
	}{
		{"by a watch", func(_ *bench, w *watchedCanister, _ *peer) { w.lose() }},
		{"by a poll", func(b *bench, _ *watchedCanister, talks *peer) {
			failed := false
			b.canister.set(func() {
				b.canister.corrupt = func(*Batch) error {
					if failed {
						return nil
					}
					failed = true
					return lost
				}
				b.canister.enqueue(talks.key, false, []byte("never seen"))
			})
		}},
		{"by a message", func(b *bench, _ *watchedCanister, talks *peer) {
			b.canister.set(func() {
				b.canister.onMessage = func(context.Context, Envelope) error { return lost }
			})
			talks.send("hello")
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			var w *watchedCanister
			b := newBench(t, func(o *Options, c *testCanister) {
				w = &watchedCanister{testCanister: c, lost: make(chan struct{})}
				o.Routes[0].Adapter = w
			})
			talks, listens := b.open(), b.open()
			test.lose(b, w, talks)
			talks.closed(CloseTryAgainLater, text)
			listens.closed(CloseTryAgainLater, text)
			for _, p := range []*peer{talks, listens} {
				b.eventually("the canister is told", func() bool { return get(b.canister, func() bool { return b.canister.closed[p.key] == 1 }) })
			}
			b.canister.set(func() { b.canister.onMessage, b.canister.corrupt = nil, nil })
			again := b.open()
			again.send("hello")
			b.canister.send(again.key, []byte("welcome back"))
			if m := again.message(); string(m.Content) != "welcome back" {
				t.Errorf("got %q", m.Content)
			}
		})
	}
}
