package bench

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// churn has each client come, send one message, wait for its answer and leave,
// over and over, until the clock stops. --ramp bounds how many come in a second.
// Those who are there then have drainTimeout to end their visits, which finish
// waits for, unless the user ends the run: a gateway that opens or answers nothing
// is not to pass.
func (r *run) churn(clock, user context.Context) (finish func()) {
	visiting, cancel := context.WithCancel(user)
	var group sync.WaitGroup
	turns := r.turns(clock)
	for _, m := range r.crowd.members {
		group.Go(func() {
			for range turns {
				if err := r.visit(visiting, m); err != nil && user.Err() == nil {
					r.failed.add(err)
				}
			}
		})
	}
	<-clock.Done()
	return func() {
		defer cancel()
		defer time.AfterFunc(drainTimeout, cancel).Stop()
		group.Wait()
	}
}

// turns gives one value for each connection that may be opened before the end, until
// ctx ends.
func (r *run) turns(ctx context.Context) <-chan struct{} {
	turns := make(chan struct{})
	go func() {
		defer close(turns)
		for n := 0; ; n++ {
			if r.options.Ramp > 0 {
				after := time.Duration(float64(n) / r.options.Ramp * float64(time.Second))
				if after >= r.options.Duration || !sleepUntil(ctx, r.clock.start.Add(after)) {
					return
				}
			}
			select {
			case turns <- struct{}{}:
			case <-ctx.Done():
				return
			}
		}
	}()
	return turns
}

// errUnanswered is the fate of a visitor who was let in, and then ignored.
var errUnanswered = errors.New("no answer")

// answerTimeout is how long a visitor waits for its answer.
const answerTimeout = 30 * time.Second

func (r *run) visit(ctx context.Context, m *member) error {
	if err := r.crowd.open(ctx, m); err != nil {
		return err
	}
	conn := m.conn
	defer func() {
		m.hangUp(ctx)
		m.conn = nil
		r.crowd.live.Add(-1)
		r.exchange.leave(m.index)
	}()
	number := r.exchange.number(m.index)
	p, err := conn.Prepare(r.exchange.make(m.index, number)) // it names the connection, so not before
	if err != nil {
		return err
	}
	answered := make(chan struct{})
	r.exchange.depart(m.index, number, time.Now(), func() { close(answered) })
	if err := conn.SendPrepared(ctx, p); err != nil {
		r.exchange.cancel(m.index, number)
		return err
	}
	r.exchange.departed(p.FrameBytes())
	select {
	case <-answered:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("waiting for the answer, %s after the end: %w", drainTimeout, errUnanswered)
	case <-conn.Done():
		return fmt.Errorf("waiting for the answer: %w", conn.Err())
	case <-time.After(answerTimeout):
		return fmt.Errorf("waiting for the answer for %s: %w", answerTimeout, errUnanswered)
	}
}
