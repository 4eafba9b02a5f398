package bridge

import "context"

// A window bounds how far a client's Message calls may run ahead: call n
// starts when call n-size has finished. A bound on the number under way would
// not do, because one that stalls would let all the others pass, and a canister
// holds back only so many messages before the missing one.
type window struct {
	places []chan struct{} // done channels of the last calls
	next   int
}

// newWindow makes the window that an adapter allows; 1 means one at a time.
func newWindow(adapter Adapter) window {
	size := 1
	if p, ok := adapter.(Pipeliner); ok {
		size = max(1, p.Window())
	}
	return window{places: make([]chan struct{}, size)}
}

// enter waits until the next call may start. The call must end with finish.
// It is for the session's reader only.
func (w *window) enter(ctx context.Context) (finish func(), err error) {
	// That every earlier call has waited for its own predecessor makes this one
	// channel stand for all calls up to n-size.
	if before := w.places[w.next]; before != nil {
		select {
		case <-before:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	done := make(chan struct{})
	w.places[w.next] = done
	w.next = (w.next + 1) % len(w.places)
	return func() { close(done) }, nil
}
