package bench

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// churn has each client come, send one message, wait for its answer and leave,
// over and over, while the clock runs. --ramp bounds how many come in a second.
// Those who are there when it stops have drainTimeout to end their visits, unless
// the user ends the run: a gateway that opens or answers nothing is not to pass.
func (r *run) churn(clock, user context.Context) {
	visiting, cancel := context.WithCancel(user)
	defer cancel()
	defer context.AfterFunc(clock, func() {
		sleepUntil(visiting, time.Now().Add(drainTimeout))
		cancel()
	})()
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
	group.Wait()
}

// turns gives one value for each connection that may be opened, until ctx ends.
func (r *run) turns(ctx context.Context) <-chan struct{} {
	turns := make(chan struct{})
	go func() {
		defer close(turns)
		start := time.Now()
		for n := 0; ; n++ {
			if r.options.Ramp > 0 && !sleepUntil(ctx, start.Add(time.Duration(float64(n)/r.options.Ramp*float64(time.Second)))) {
				return
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
		_ = conn.Close()
		m.conn = nil
	}()
	answered := make(chan struct{})
	number := r.exchange.number(m.index)
	r.exchange.depart(m.index, number, time.Now(), 1, func() { close(answered) })
	if err := conn.Send(ctx, r.exchange.template.make(m.index, number)); err != nil {
		r.exchange.cancel(m.index, number)
		return err
	}
	select {
	case <-answered:
		return nil
	case <-ctx.Done():
		r.exchange.cancel(m.index, number)
		return fmt.Errorf("waiting for the answer, %s after the end: %w", drainTimeout, errUnanswered)
	case <-conn.Done():
		return fmt.Errorf("waiting for the answer: %w", conn.Err())
	case <-time.After(answerTimeout):
		return fmt.Errorf("waiting for the answer: %w", context.DeadlineExceeded)
	}
}
