package bridge

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/icrelay/icrelay/candid"
)

// oneAtATime is a canister that takes a while for each poll, and counts polls
// that come meanwhile.
type oneAtATime struct {
	*testCanister
	under, together atomic.Int32
}

func (c *oneAtATime) Poll(ctx context.Context, id candid.Principal, from uint64) (Batch, error) {
	if c.under.Add(1) > 1 {
		c.together.Add(1)
	}
	defer c.under.Add(-1)
	time.Sleep(time.Millisecond)
	return c.testCanister.Poll(ctx, id, from)
}

// TestFetchedAhead: a queue of many batches, of which the next is fetched while
// one is delivered, arrives whole and in order, although every third poll fails.
func TestFetchedAhead(t *testing.T) {
	const messages = 400
	var slow *oneAtATime
	b := newBench(t, func(o *Options, c *testCanister) {
		slow = &oneAtATime{testCanister: c}
		o.Routes[0].Adapter = slow
	})
	peers := []*peer{b.open(), b.open(), b.open()}
	polls := 0
	b.canister.set(func() {
		for i := range messages {
			for _, p := range peers {
				b.canister.enqueue(p.key, false, fmt.Appendf(nil, "message %d", i))
			}
		}
		b.canister.corrupt = func(*Batch) error {
			if polls++; polls%3 == 0 {
				return errors.New("the network is away")
			}
			return nil
		}
	})
	for i := range messages {
		for _, p := range peers {
			if m := p.message(); string(m.Content) != fmt.Sprintf("message %d", i) {
				t.Fatalf("%q where message %d is next", m.Content, i)
			}
		}
	}
	if n := slow.together.Load(); n != 0 {
		t.Errorf("%d polls began while another was under way", n)
	}
}

// TestFetchedAheadForNothing: what was fetched ahead is no use when the poller
// reads on somewhere else, and nothing is left of it when the poller ends.
func TestFetchedAheadForNothing(t *testing.T) {
	b := newBench(t, nil)
	p := b.open()
	h := b.gateway.hubs[b.canister.id]
	_ = p.conn.Close()
	b.eventually("the poller ends", func() bool {
		h.mu.Lock()
		defer h.mu.Unlock()
		return !h.polling
	})
	b.canister.set(func() {
		for i := range 10 {
			b.canister.enqueue(p.key, false, fmt.Appendf(nil, "%d", i))
		}
	})
	h.poller.Lock()
	defer h.poller.Unlock()
	for name, test := range map[string]struct{ ahead, wanted uint64 }{
		"the same":  {3, 3},
		"earlier":   {3, 2},
		"from zero": {3, 0},
	} {
		h.fetchAhead(t.Context(), test.ahead)
		ahead := h.ahead
		batch, err := h.next(t.Context(), test.wanted)
		if err != nil || mustNonce(batch.Messages[0].Key) != test.wanted {
			t.Errorf("%s: %v", name, err)
		}
		if used := batch == ahead.batch; used != (test.ahead == test.wanted) {
			t.Errorf("%s: what was fetched ahead is used: %t", name, used)
		}
		if h.ahead != nil {
			t.Errorf("%s: it is kept", name)
		}
	}
	h.fetchAhead(t.Context(), 1)
	h.dropAhead()
	if h.ahead != nil {
		t.Error("it is kept although it was dropped")
	}
}
