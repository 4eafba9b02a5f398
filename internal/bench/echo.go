package bench

import (
	"context"
	"math"
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
				s.pace.interval = every(r.options.Rate / float64(len(r.supplies)))
				s.pace.offset = time.Duration(s.pace.interval / float64(len(r.supplies)) * float64(i))
				r.sendPaced(ctx, s)
				return
			}
			r.sendFast(ctx, s)
		})
	}
	group.Wait()
}

// A pace says when a client's messages are due: the first after offset, and one
// each interval, which need not be whole nanoseconds. The zero value has none.
type pace struct {
	offset   time.Duration
	interval float64 // nanoseconds
}

// every is the interval of so many messages a second.
func every(rate float64) float64 { return float64(time.Second) / rate }

// at is when message n is due.
func (p pace) at(n int) time.Duration { return p.offset + time.Duration(float64(n)*p.interval) }

// due is how many messages are due before a time has passed.
func (p pace) due(passed time.Duration) int {
	if p.interval == 0 || passed <= p.offset {
		return 0
	}
	n := float64(passed-p.offset) / p.interval
	return int(math.Ceil(n - 1e-9 - n*1e-12)) // the division may be off by so much
}

// sendPaced sends a client's messages at its pace, until the last before the end. A
// message is due at its time, even if the one before has not left: a gateway that
// makes clients wait shows it.
func (r *run) sendPaced(ctx context.Context, s *supply) {
	last := s.pace.due(r.options.Duration)
	for n := range last {
		due := r.clock.start.Add(s.pace.at(n))
		if !sleepUntil(ctx, due) || !r.send(ctx, s, due, nil) {
			return
		}
	}
	select { // the time of the last message is part of what is measured
	case <-ctx.Done():
	case <-s.conn.Done():
	}
}

// sendFast keeps --in-flight messages that come back under way, with the silent
// ones before them.
func (r *run) sendFast(ctx context.Context, s *supply) {
	places := make(chan struct{}, r.options.InFlight)
	for {
		for r.exchange.silent != nil && !s.comesBack() {
			if !r.send(ctx, s, time.Now(), nil) {
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
		if !r.send(ctx, s, time.Now(), func() { <-places }) {
			return
		}
	}
}

// send sends a client's next message. false: nothing more can be sent.
func (r *run) send(ctx context.Context, s *supply, due time.Time, done func()) bool {
	m, err := s.take()
	if err != nil {
		r.failed.add(err)
		return false
	}
	if r.exchange.comesBack(m.number) {
		r.exchange.depart(s.sender, m.number, due, done)
	}
	if err := s.conn.SendPrepared(ctx, m.prepared); err != nil {
		r.exchange.cancel(s.sender, m.number)
		return false // the end of the connection is for its receiver to tell
	}
	r.exchange.departed(m.prepared.FrameBytes())
	return true
}
