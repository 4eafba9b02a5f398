package bench

import (
	"context"
	"time"
)

// fanout has one client send messages that come to all: at the rate, or the next
// when so many as may be in flight have come to everybody.
func (r *run) fanout(ctx context.Context) {
	s := r.supplies[0]
	if r.options.Rate > 0 {
		r.sendPaced(ctx, s, 0, time.Duration(float64(time.Second)/r.options.Rate), len(r.open))
		return
	}
	r.sendFast(ctx, s, len(r.open))
}
