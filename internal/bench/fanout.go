package bench

import "context"

// fanout has one client send messages that come to all: at the rate, or the next
// when so many as may be in flight have come to everybody.
func (r *run) fanout(ctx context.Context) {
	s := r.supplies[0]
	if r.options.Rate > 0 {
		s.pace.interval = every(r.options.Rate)
		r.sendPaced(ctx, s)
		return
	}
	r.sendFast(ctx, s)
}
