package bridge

import (
	"context"
	"testing"
	"time"
)

// Clients that do not answer, and calls that do not return, leave enough of the
// stop timeout to tell the canister that its clients have gone.
func TestStopTellsTheCanister(t *testing.T) {
	b := newBench(t, func(o *Options, c *testCanister) {
		o.Limits.StopTimeout = 2 * time.Second
		c.onMessage = func(ctx context.Context, _ Envelope) error {
			<-ctx.Done()
			return ctx.Err()
		}
	})
	silent, busy := b.open(), b.open()
	busy.send("x")
	b.eventually("the call is under way", func() bool { return get(b.canister, func() bool { return b.canister.under == 1 }) })
	start := time.Now()
	b.stop()
	if took := time.Since(start); took > b.gateway.limits.StopTimeout {
		t.Errorf("the stop took %s, longer than it may", took)
	}
	for name, p := range map[string]*peer{"silent": silent, "busy": busy} {
		if n := b.canister.closed[p.key]; n != 1 {
			t.Errorf("the canister was told %d times that the %s client has gone", n, name)
		}
	}
}
