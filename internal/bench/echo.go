package bench

import (
	"context"
	"sync"
	"time"
)

// echo has each client send messages that come back to it: at the rate, shared
// evenly, or as fast as answers come. It is also the pattern send, in which only
// 1 in 16 does.
func (r *run) echo(ctx context.Context) {
	var group sync.WaitGroup
	for i, s := range r.supplies {
		group.Go(func() {
			if r.options.Rate > 0 {
				interval := time.Duration(float64(len(r.supplies)) / r.options.Rate * float64(time.Second))
				offset := interval * time.Duration(i) / time.Duration(len(r.supplies))
				r.sendPaced(ctx, s, offset, interval, 1)
				return
			}
			r.sendFast(ctx, s, 1)
		})
	}
	group.Wait()
}

// sendPaced sends one message each interval. A message is due at its time, even
// if the one before has not left: a gateway that makes clients wait shows it.
func (r *run) sendPaced(ctx context.Context, s *supply, offset, interval time.Duration, arrivals int) {
	start := time.Now().Add(offset)
	for n := 0; ; n++ {
		due := start.Add(time.Duration(n) * interval)
		if !sleepUntil(ctx, due) || !r.send(ctx, s, due, arrivals, nil) {
			return
		}
	}
}

// sendFast keeps --in-flight messages that come back under way, with the silent
// ones before them.
func (r *run) sendFast(ctx context.Context, s *supply, arrivals int) {
	places := make(chan struct{}, r.options.InFlight)
	for {
		for r.exchange.silent != nil && !s.comesBack() {
			if !r.send(ctx, s, time.Now(), 0, nil) {
				return
			}
		}
		select {
		case places <- struct{}{}:
		case <-ctx.Done():
			return
		case <-s.conn.Done():
			return
		}
		if !r.send(ctx, s, time.Now(), arrivals, func() { <-places }) {
			return
		}
	}
}

// send sends a client's next message. false: nothing more can be sent.
func (r *run) send(ctx context.Context, s *supply, due time.Time, arrivals int, done func()) bool {
	m, err := s.take()
	if err != nil {
		r.failed.add(err)
		return false
	}
	if !r.exchange.comesBack(m.number) {
		return s.conn.SendPrepared(ctx, m.prepared) == nil
	}
	r.exchange.depart(s.sender, m.number, due, arrivals, done)
	if err := s.conn.SendPrepared(ctx, m.prepared); err != nil {
		r.exchange.cancel(s.sender, m.number)
		return false // the end of the connection is for its receiver to tell
	}
	return true
}
