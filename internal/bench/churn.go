package bench

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// churn has each client come, send one message, wait for its answer and leave,
// over and over. --ramp bounds how many come in a second.
func (r *run) churn(ctx context.Context) {
	var group sync.WaitGroup
	turns := r.turns(ctx)
	for _, m := range r.crowd.members {
		group.Go(func() {
			for range turns {
				if err := r.visit(ctx, m); err != nil && ctx.Err() == nil {
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
		return nil
	case <-conn.Done():
		return fmt.Errorf("waiting for the answer: %w", conn.Err())
	case <-time.After(answerTimeout):
		return fmt.Errorf("waiting for the answer: %w", context.DeadlineExceeded)
	}
}
