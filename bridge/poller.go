package bridge

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"

	"github.com/icrelay/icrelay/candid"
)

// poll fetches the canister's messages while it has open sessions. It polls
// at once when woken and while the queue is not drained, at the short
// interval after a message, and backs off to the idle interval.
func (h *hub) poll(ctx context.Context) {
	defer h.gateway.release(h)
	h.poller.Lock()
	defer h.poller.Unlock()
	stopWatching := h.startWatching(ctx)
	defer stopWatching()

	var (
		pacing = h.gateway.polling
		pause  time.Duration // until the next poll, unless woken
		errs   int           // in a row
		timer  = time.NewTimer(0)
	)
	defer timer.Stop()
	for !h.idle() {
		select {
		case <-ctx.Done():
			return
		case <-h.woken:
			if errs > 0 {
				continue // after an error only time helps; idle is looked at again
			}
		case <-timer.C:
		}
		if h.idle() {
			return
		}

		n, more, err := h.pollOnce(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			errs++
			h.gateway.count.pollErrors.Add(1)
			pause = backoff(pacing.Interval, pacing.MaxBackoff, errs)
			h.log.Warn("poll failed", "error", err, "in_a_row", errs, "retry_in", pause)
		case more:
			errs, pause = 0, 0
		case n > 0:
			errs, pause = 0, pacing.Interval
		default:
			errs, pause = 0, min(max(pause+pause/2, pacing.Interval), pacing.IdleInterval)
		}
		timer.Reset(pause)
	}
}

// backoff is the pause after errors in a row: doubling, up to limit, with
// jitter so that many gateways do not come back at the same moment.
func backoff(first, limit time.Duration, errs int) time.Duration {
	d := limit
	if errs < 20 {
		d = min(limit, first<<errs)
	}
	return d/2 + rand.N(d/2+1) //nolint:gosec // jitter needs no secrecy
}

// startWatching runs the adapter's Watch, where it has one, beside the poller.
func (h *hub) startWatching(ctx context.Context) (stop func()) {
	watcher, ok := h.route.Adapter.(Watcher)
	if !ok {
		return func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for errs := 1; ; errs++ {
			err := watcher.Watch(ctx, h.canister, h.wake)
			if ctx.Err() != nil {
				return
			}
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
	batch, err := h.fetch(ctx, h.next)
	if err != nil {
		return 0, false, err
	}
	if len(batch.Messages) == 0 {
		return 0, false, h.noticeReset(ctx)
	}
	checked, err := h.verify(batch)
	if err != nil {
		return 0, false, fmt.Errorf("batch from nonce %d not forwarded: %w", h.next, err)
	}
	if err := checkNonces(batch.Messages, h.next); err != nil {
		return 0, false, fmt.Errorf("batch from nonce %d not forwarded: %w", h.next, err)
	}
	if err := h.deliver(checked); err != nil {
		return 0, false, err
	}
	h.next = mustNonce(batch.Messages[len(batch.Messages)-1].Key) + 1
	return len(batch.Messages), !batch.EndOfQueue, nil
}

func (h *hub) fetch(ctx context.Context, from uint64) (Batch, error) {
	ctx, cancel := context.WithTimeout(ctx, h.gateway.limits.PollTimeout)
	defer cancel()
	return h.route.Adapter.Poll(ctx, h.canister, from)
}

func (h *hub) verify(batch Batch) (*checkedBatch, error) {
	return verify(h.gateway.verifier, h.canister, batch, h.gateway.now())
}

// deliver hands each message to its session. A message for somebody who is
// not here (left a moment ago, or was served before a restart) is dropped:
// its client has no other way to get it.
func (h *hub) deliver(batch *checkedBatch) error {
	for i := range batch.Messages {
		message := &batch.Messages[i]
		session := h.member(message.ClientKey)
		if session == nil {
			h.gateway.count.messagesStale.Add(1)
			continue
		}
		frame, err := batch.frame(message)
		if err != nil {
			return fmt.Errorf("frame of message %s: %w", message.Key, err)
		}
		session.deliver(frame)
		h.gateway.count.messagesOut.Add(1)
	}
	return nil
}

// resetPatience is how long an open session may be without its first message
// before the gateway asks whether the canister has started to count anew.
const resetPatience = 2 * time.Second

// noticeReset finds out whether the canister's nonces restarted: an upgrade
// or reinstall makes a CDK canister forget its gateways and queues, and count
// from 0 again. The sign is a message for a freshly opened session at a nonce
// that was passed long ago; only then are the old sessions told to reconnect.
func (h *hub) noticeReset(ctx context.Context) error {
	waiting := h.ungreeted(resetPatience)
	if len(waiting) == 0 || h.next == 0 {
		return nil
	}
	for from := uint64(0); from < h.next; {
		batch, err := h.fetch(ctx, from)
		if err != nil || len(batch.Messages) == 0 {
			return err
		}
		if _, err := h.verify(batch); err != nil {
			return fmt.Errorf("batch from nonce %d: %w", from, err)
		}
		if err := checkNonces(batch.Messages, from); err != nil {
			return fmt.Errorf("batch from nonce %d: %w", from, err)
		}
		for i := range batch.Messages {
			message := &batch.Messages[i]
			if nonce := mustNonce(message.Key); nonce < h.next && waiting[message.ClientKey] {
				h.log.Warn("the canister has forgotten its clients (upgrade or reinstall); they are told to reconnect", "nonce", nonce, "expected", h.next)
				h.endGreeted(CloseReason{CloseCanisterReset, "the canister was upgraded or reinstalled and has forgotten this connection; reconnect"})
				h.next = 0
				h.wake()
				return nil
			}
			from = mustNonce(message.Key) + 1
		}
		if batch.EndOfQueue {
			return nil
		}
	}
	return nil
}

// checkNonces refuses a batch that would make a client miss a message: keys
// must count up by one. The first may lie ahead of from, because a canister
// drops messages that have become too old.
func checkNonces(messages []candid.OutputMessage, from uint64) error {
	for i := range messages {
		nonce, err := MessageNonce(messages[i].Key)
		switch {
		case err != nil:
			return err
		case i == 0 && nonce < from:
			return fmt.Errorf("message %s was asked for from nonce %d on", messages[i].Key, from)
		case i > 0 && nonce != from:
			return fmt.Errorf("message %s where nonce %d is next", messages[i].Key, from)
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
