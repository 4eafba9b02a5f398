package bridge

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"

	"github.com/icrelay/icrelay/candid"
	"github.com/icrelay/icrelay/ic"
)

// poll fetches the canister's messages while it has open sessions. It polls
// at once while the queue is not drained and, but for pollGap, when woken, at the
// short interval after a message, and backs off to the idle interval.
func (h *hub) poll(ctx context.Context) {
	defer h.gateway.release(h)
	h.poller.Lock()
	defer h.poller.Unlock()
	route := h.route.Load()
	stopWatching := h.startWatching(ctx, route)
	defer func() { stopWatching() }()
	defer h.dropStream()
	h.mayHaveReset() // since the last poller
	h.confirm()
	h.rejected = rejection{}

	var (
		pacing = h.gateway.polling
		more   bool          // messages are known to wait
		pause  time.Duration // until the next poll, unless woken
		errs   int           // in a row
		next   time.Time     // when to poll after an error
		soon   time.Time     // the same, if the canister turns out to answer
		began  time.Time     // when the last poll did
		timer  = time.NewTimer(0)
	)
	defer timer.Stop()
	for !h.idle() {
		if now := h.route.Load(); now != route {
			stopWatching()
			h.dropStream()
			route, stopWatching = now, h.startWatching(ctx, now)
			h.confirm()
		}
		if !more {
			select {
			case <-ctx.Done():
				return
			case <-h.woken:
				if errs > 0 {
					// After an error only time helps, or a canister that has answered
					// something. Who answers calls but no polls is not asked for each call.
					if h.reached.Swap(false) && soon.Before(next) {
						timer.Reset(time.Until(soon))
					}
					continue
				}
				h.rest(ctx, began.Add(pollGap))
				pause = 0 // an empty answer now may be that of a replica that is behind
			case <-timer.C:
			}
			if h.idle() {
				return
			}
		}

		var n int
		var err error
		began = time.Now()
		n, more, err = h.pollOnce(ctx)
		if ctx.Err() != nil {
			return
		}
		h.endLost(err)
		h.judge(err)
		switch {
		case err != nil:
			if errs == 0 {
				h.reached.Store(false) // that was before
			}
			errs++
			h.gateway.count.pollErrors.Add(1)
			asked := ic.RetryAfter(err)
			pause = asked + backoff(pacing.Interval, pacing.MaxBackoff, errs)
			next, soon = time.Now().Add(pause), time.Now().Add(asked+pacing.IdleInterval)
			h.log.Warn("poll failed", "error", err, "in_a_row", errs, "retry_in", pause)
		case more:
			errs, pause = 0, 0
		case n > 0:
			errs, pause = 0, pacing.Interval
		default:
			errs, pause = 0, min(max(2*pause, pacing.Interval), pacing.IdleInterval)
		}
		timer.Reset(pause)
	}
}

// pollGap lies between the beginnings of two polls at least, unless messages are
// known to wait: with a thousand messages a second each would otherwise have a poll
// of its own, and a signature to verify.
const pollGap = 1500 * time.Microsecond

// rest waits until then. What wakes the poller meanwhile is for the poll that follows.
func (h *hub) rest(ctx context.Context, until time.Time) {
	pause := time.Until(until)
	if pause <= 0 {
		return
	}
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
	select {
	case <-h.woken:
	default:
	}
}

// backoff is the pause after errors in a row: doubling, up to limit, with
// jitter so that many gateways do not come back at the same moment.
func backoff(first, limit time.Duration, errs int) time.Duration {
	d := first
	for range errs {
		if d >= limit/2 {
			d = limit
			break
		}
		d *= 2
	}
	return d/2 + rand.N(d/2+1) //nolint:gosec // jitter needs no secrecy
}

// startWatching runs the adapter's Watch, where it has one, beside the poller.
func (h *hub) startWatching(ctx context.Context, route *Route) (stop func()) {
	watcher, ok := route.Adapter.(Watcher)
	if !ok {
		return func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		errs := 0
		for {
			start := time.Now()
			err := watcher.Watch(ctx, h.canister, h.wake)
			if ctx.Err() != nil {
				return
			}
			h.endLost(err)
			if time.Since(start) > h.gateway.polling.MaxBackoff {
				errs = 0 // it worked for a while
			}
			errs++
			pause := backoff(h.gateway.polling.Interval, h.gateway.polling.MaxBackoff, errs)
			h.log.Warn("watch ended", "error", err, "retry_in", pause)
			select {
			case <-ctx.Done():
				return
			case <-time.After(pause):
			}
		}
	}()
	return func() {
		cancel()
		<-done
	}
}

// pollOnce fetches, checks and delivers one batch. It returns the number of
// messages in it and whether more are waiting.
func (h *hub) pollOnce(ctx context.Context) (n int, more bool, err error) {
	if h.doubted.Load() != 0 {
		h.dropStream()
		if settled, err := h.settle(ctx); err != nil || !settled {
			return 0, false, err
		}
	}
	from := h.queue.next
	batch, err := h.nextBatch(ctx, from)
	if err != nil {
		h.dropStream()
		return 0, false, err
	}
	if len(batch.Messages) == 0 {
		h.doubtWhenQuiet()
		return 0, false, nil
	}
	if following, more := following(batch); more && h.stream == nil {
		h.startStream(ctx, following)
	}
	checked, err := h.check(batch, from)
	if err != nil {
		h.dropStream()
		return 0, false, err
	}
	if !h.queue.isSure() && h.missesGreeting(checked) {
		h.mayHaveReset()
		return 0, true, nil
	}
	h.deliver(checked)
	h.queue.advance(checked)
	h.confirm()
	return len(batch.Messages), !batch.EndOfQueue, nil
}

// confirm tells the adapter how far the canister's queue was read.
func (h *hub) confirm() {
	if confirmer, ok := h.route.Load().Adapter.(Confirmer); ok {
		confirmer.Delivered(h.canister, h.queue.next)
	}
}

// fetch asks for a batch and checks it.
func (h *hub) fetch(ctx context.Context, from uint64) (*checkedBatch, error) {
	batch, err := h.ask(ctx, from)
	if err != nil || len(batch.Messages) == 0 {
		return &checkedBatch{Batch: batch}, err
	}
	return h.check(batch, from)
}

// ask polls.
func (h *hub) ask(ctx context.Context, from uint64) (Batch, error) {
	limited, cancel := context.WithTimeout(ctx, h.gateway.limits.PollTimeout)
	defer cancel()
	start := time.Now()
	route := h.route.Load()
	batch, err := route.Adapter.Poll(limited, h.canister, from)
	took(route.times.poll, start)
	switch {
	case ctx.Err() != nil: // nobody wants to know any more
	case err != nil:
		route.times.polls[pollFailed].Inc()
	case len(batch.Messages) == 0:
		route.times.polls[pollEmpty].Inc()
	}
	return batch, err
}

// check makes the checks that every client will make. A batch that fails them is
// an error.
func (h *hub) check(batch Batch, from uint64) (*checkedBatch, error) {
	times := h.route.Load().times
	checked, err := verify(h.gateway.verifier, h.canister, batch, h.gateway.now())
	if err == nil {
		err = checkNonces(batch.Messages, from)
	}
	if err != nil {
		times.polls[pollInvalid].Inc()
		h.gateway.count.flawed(err)
		return nil, fmt.Errorf("batch from nonce %d not forwarded: %w", from, err)
	}
	times.polls[pollMessages].Inc()
	return checked, nil
}

// deliver hands each message to its session. A message for somebody who is
// not here (left a moment ago, or was served before a restart) is dropped:
// its client has no other way to get it.
func (h *hub) deliver(batch *checkedBatch) {
	for i := range batch.Messages {
		message := &batch.Messages[i]
		session, first := h.recipient(message.ClientKey)
		switch {
		case session == nil, session.out.closing():
			h.gateway.count.messagesStale.Add(1)
		case first && !batch.greets[i]:
			session.end(CloseReason{CloseCanisterReset, "the canister no longer has the first message of this connection; reconnect"})
		default:
			if first {
				session.greeted()
			}
			session.deliver(batch.frame(message))
			h.gateway.count.messagesOut.Add(1)
		}
	}
}

// checkNonces refuses a batch that would make a client miss a message: keys
// must count up by one. The first may lie ahead of from, because a canister
// drops messages that have become too old.
func checkNonces(messages []candid.OutputMessage, from uint64) error {
	for i := range messages {
		nonce, err := MessageNonce(messages[i].Key)
		switch {
		case err != nil:
		case nonce == math.MaxUint64:
			err = fmt.Errorf("message %s leaves no nonce for the next", messages[i].Key)
		case i == 0 && nonce < from:
			err = fmt.Errorf("message %s was asked for from nonce %d on", messages[i].Key, from)
		case i > 0 && nonce != from:
			err = fmt.Errorf("message %s where nonce %d is next", messages[i].Key, from)
		}
		if err != nil {
			return flawed(flawNonce, err)
		}
		from = nonce + 1
	}
	return nil
}

// MessageNonce reads the number in a key: <gateway principal>_<nonce, zero-padded>.
func MessageNonce(key string) (uint64, error) {
	i := strings.LastIndexByte(key, '_')
	nonce, err := strconv.ParseUint(key[i+1:], 10, 64)
	if i < 0 || err != nil {
		return 0, fmt.Errorf("message key %.80q is not <gateway principal>_<nonce>", key)
	}
	return nonce, nil
}

// mustNonce is for keys that checkNonces has seen.
func mustNonce(key string) uint64 {
	nonce, _ := MessageNonce(key)
	return nonce
}
