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

// TestStream: a queue of many batches, of which the next is asked for
// while one is delivered, arrives whole and in order, although every third poll fails.
func TestStream(t *testing.T) {
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

// TestStreamForNothing: what a stream has brought is no use when the poller reads
// on somewhere else, and nothing is left of a stream when the poller ends.
func TestStreamForNothing(t *testing.T) {
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
		for i := range 10 * 50 {
			b.canister.enqueue(p.key, false, fmt.Appendf(nil, "%d", i))
		}
	})
	h.poller.Lock()
	defer h.poller.Unlock()
	for name, test := range map[string]struct{ stream, wanted uint64 }{
		"the same":  {3, 3},
		"earlier":   {3, 2},
		"from zero": {3, 0},
	} {
		h.startStream(t.Context(), test.stream)
		for range 3 {
			batch, err := h.nextBatch(t.Context(), test.wanted)
			if err != nil || mustNonce(batch.Messages[0].Key) != test.wanted {
				t.Fatalf("%s: %v", name, err)
			}
			if used := h.stream != nil; used != (test.stream == 3 && name == "the same") {
				t.Fatalf("%s: the stream is used: %t", name, used)
			}
			test.wanted, _ = following(batch)
		}
		h.dropStream()
	}
	h.startStream(t.Context(), 1)
	batches := h.stream.batches
	h.dropStream()
	if _, more := <-batches; more || h.stream != nil {
		t.Error("it goes on although it was dropped")
	}
}

// TestStreamEnds: with the queue, with an error, and where keys make no sense.
func TestStreamEnds(t *testing.T) {
	message := candid.OutputMessage{Key: "gateway_7"}
	for name, test := range map[string]struct {
		batch     Batch
		following uint64
		more      bool
	}{
		"more":         {Batch{Messages: []candid.OutputMessage{message}}, 8, true},
		"end":          {Batch{Messages: []candid.OutputMessage{message}, EndOfQueue: true}, 0, false},
		"empty":        {Batch{}, 0, false},
		"no nonce":     {Batch{Messages: []candid.OutputMessage{{Key: "gateway"}}}, 1, false},
		"last of them": {Batch{Messages: []candid.OutputMessage{{Key: "gateway_18446744073709551615"}}}, 0, false},
	} {
		if nonce, more := following(test.batch); nonce != test.following || more != test.more {
			t.Errorf("%s: %d, %t", name, nonce, more)
		}
	}
}

// confirming is a canister that forgets what it is told was delivered.
type confirming struct {
	*testCanister
	below atomic.Uint64
	most  atomic.Uint64 // that anybody has polled from
}

func (c *confirming) Poll(ctx context.Context, id candid.Principal, from uint64) (Batch, error) {
	c.most.Store(max(c.most.Load(), from))
	return c.testCanister.Poll(ctx, id, max(from, c.below.Load()))
}

func (c *confirming) Delivered(_ candid.Principal, next uint64) { c.below.Store(max(next, 1) - 1) }

// TestDelivered: polls run ahead of what is checked, and many batches fail. The
// canister forgets only what has arrived, and all of that.
func TestDelivered(t *testing.T) {
	const messages = 1000
	var c *confirming
	b := newBench(t, func(o *Options, canister *testCanister) {
		c = &confirming{testCanister: canister}
		o.Routes[0].Adapter = c
	})
	p := b.open()
	polls := 0
	b.canister.set(func() {
		for i := range messages {
			b.canister.enqueue(p.key, false, fmt.Append(nil, i))
		}
		b.canister.corrupt = func(batch *Batch) error {
			if polls++; polls%3 == 0 && len(batch.Messages) > 0 {
				batch.Tree = nil
				last := &batch.Messages[len(batch.Messages)-1]
				last.Key = "x_1000000000000000" // which nothing certifies
			}
			return nil
		}
	})
	for i := range messages {
		if m := p.message(); string(m.Content) != fmt.Sprint(i) {
			t.Fatalf("message %q where %d is next", m.Content, i)
		}
	}
	b.eventually("the canister may forget all but the last", func() bool { return c.below.Load() == messages })
	if c.most.Load() < 1000000000000000 {
		t.Error("no poll ran ahead of what was checked: this test shows nothing")
	}

	// After a reinstall it must not forget what has the nonces of before.
	b.canister.forget()
	p = b.open()
	b.eventually("it is told anew", func() bool { return c.below.Load() == 0 })
}
