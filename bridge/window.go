package bridge

import (
	"context"
	"slices"
)

// A window bounds how far a client's Message calls may run ahead: a call starts
// when it and the calls since the oldest one under way are few and small enough.
// A bound on the number under way would not do, because one that stalls would
// let all the others pass, and a canister holds back only so much before the
// missing one.
type window struct {
	messages, bytes int

	calls []windowCall // from the oldest that is not known to have finished
	held  int          // their bytes
}

type windowCall struct {
	done chan struct{}
	size int
}

// newWindow makes the window that an adapter allows, or one call at a time.
func newWindow(adapter Adapter) window {
	w := window{messages: 1}
	if p, ok := adapter.(Pipeliner); ok {
		w.messages, w.bytes = p.Window()
	}
	return w
}

// enter waits until a call with an envelope of size bytes may start. The call
// must end with finish. It is for the session's reader only.
func (w *window) enter(ctx context.Context, size int) (finish func(), err error) {
	for len(w.calls) > 0 && (len(w.calls) >= w.messages || w.held+size > w.bytes) {
		oldest := w.calls[0]
		select {
		case <-oldest.done:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		w.calls = slices.Delete(w.calls, 0, 1)
		w.held -= oldest.size
	}
	done := make(chan struct{})
	w.calls = append(w.calls, windowCall{done, size})
	w.held += size
	return func() { close(done) }, nil
}
