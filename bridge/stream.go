package bridge

import (
	"context"
	"math"
)

// A stream asks for the batches that follow, one after the other, while those
// before are checked and delivered: otherwise the network would wait for the
// gateway, and the gateway for the network. It ends with the canister's queue, or
// an error.
type stream struct {
	next    uint64      // nonce that the next batch begins with, for whoever reads
	batches chan answer // holds one; closed when the stream has ended
	cancel  context.CancelFunc
}

// An answer is what a poll has brought, not checked yet.
type answer struct {
	Batch
	err error
}

// startStream is for the poller, which calls next or dropStream afterwards.
func (h *hub) startStream(ctx context.Context, from uint64) {
	ctx, cancel := context.WithCancel(ctx)
	s := &stream{next: from, batches: make(chan answer, 1), cancel: cancel}
	h.stream = s
	go func() {
		defer close(s.batches)
		for more := true; more; {
			batch, err := h.ask(ctx, from)
			from, more = following(batch)
			select {
			case s.batches <- answer{batch, err}:
			case <-ctx.Done():
				return
			}
		}
	}()
}

// following returns the nonce after a batch, and whether there is more to ask for.
func following(batch Batch) (nonce uint64, more bool) {
	n := len(batch.Messages)
	if n == 0 || batch.EndOfQueue {
		return 0, false
	}
	last, err := MessageNonce(batch.Messages[n-1].Key)
	return last + 1, err == nil && last != math.MaxUint64
}

// nextBatch returns the batch from a nonce on: that of the stream, if it is the one.
func (h *hub) nextBatch(ctx context.Context, from uint64) (Batch, error) {
	if h.stream != nil && h.stream.next == from {
		if a, ok := <-h.stream.batches; ok {
			h.stream.next, _ = following(a.Batch)
			return a.Batch, a.err
		}
	}
	h.dropStream()
	return h.ask(ctx, from)
}

// dropStream returns when no stream asks any more.
func (h *hub) dropStream() {
	if h.stream == nil {
		return
	}
	h.stream.cancel()
	for range h.stream.batches {
	}
	h.stream = nil
}
