package bridge

import "context"

// An ahead is the batch that follows the one being delivered, fetched meanwhile:
// while clients' frames are made the network would only wait, and while it
// answers the gateway would.
type ahead struct {
	from  uint64
	done  chan struct{} // closed when batch and err are set
	batch *checkedBatch
	err   error
}

// fetchAhead begins to fetch the next batch. The poller calls it, and either
// next or dropAhead afterwards.
func (h *hub) fetchAhead(ctx context.Context, from uint64) {
	a := &ahead{from: from, done: make(chan struct{})}
	h.ahead = a
	go func() {
		defer close(a.done)
		a.batch, a.err = h.fetch(ctx, from)
	}()
}

// next returns the batch from a nonce on: that which was fetched ahead, if it is
// the one.
func (h *hub) next(ctx context.Context, from uint64) (*checkedBatch, error) {
	a := h.ahead
	h.dropAhead()
	if a != nil && a.from == from {
		return a.batch, a.err
	}
	return h.fetch(ctx, from)
}

// dropAhead waits until nothing is being fetched.
func (h *hub) dropAhead() {
	if h.ahead != nil {
		<-h.ahead.done
		h.ahead = nil
	}
}
