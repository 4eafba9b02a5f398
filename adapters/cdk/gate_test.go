package cdk

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/icrelay/icrelay/bridge"
	"github.com/icrelay/icrelay/candid"
	"github.com/icrelay/icrelay/ic"
)

const (
	canisterA = candid.Principal("\x00\x00\x00\x00\x00\x00\x00\x01\x01\x01")
	canisterB = candid.Principal("\x00\x00\x00\x00\x00\x00\x00\x02\x01\x01")
)

var errDown = errors.New("connection refused")

// A crowd calls a canister through gates until each has an answer.
type crowd struct {
	gates   gates
	running sync.WaitGroup

	mu    sync.Mutex
	tries []time.Time
	err   error // what every call gets
}

func (c *crowd) set(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.err = err
}

func (c *crowd) tried() []time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]time.Time(nil), c.tries...)
}

// closed reports whether the canister's gate is.
func (c *crowd) closed() bool {
	c.gates.mu.Lock()
	defer c.gates.mu.Unlock()
	g := c.gates.all[canisterA]
	return g != nil && g.failures >= tolerated
}

// call submits until it has an answer or ctx ends.
func (c *crowd) call(ctx context.Context, canister candid.Principal) error {
	v := c.gates.visit(canister)
	defer v.leave()
	for {
		if err := v.enter(ctx); err != nil {
			return err
		}
		c.mu.Lock()
		err := c.err
		c.tries = append(c.tries, time.Now())
		c.mu.Unlock()
		v.done(err)
		if err == nil || !mayPass(err) {
			return err
		}
		if v.pause(ctx, firstWait, err) != nil {
			return err
		}
	}
}

func (c *crowd) come(ctx context.Context, size int, answers chan<- error) {
	for range size {
		c.running.Go(func() { answers <- c.call(ctx, canisterA) })
	}
}

// While a canister is not reached, many callers cost no more tries than one
// does, and all of them get through when it is there again.
func TestGateOfManyCallers(t *testing.T) {
	const size = 500
	c := &crowd{err: errDown}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	answers := make(chan error, 2*size)
	// The first close the gate: who comes while it is open is let in.
	c.come(ctx, tolerated, answers)
	for !c.closed() && ctx.Err() == nil {
		time.Sleep(time.Millisecond)
	}
	first := len(c.tried())
	if first > 2*tolerated {
		t.Errorf("%d tries before the gate closed", first)
	}
	c.come(ctx, size-tolerated, answers)
	enough := func(n int) {
		for len(c.tried()) < n && ctx.Err() == nil {
			time.Sleep(time.Millisecond)
		}
	}
	enough(tolerated + 2)
	c.come(ctx, size, answers)
	enough(tolerated + 5)
	tries := c.tried()
	for i := first; i < len(tries); i++ {
		if pause := tries[i].Sub(tries[i-1]); pause < firstWait/2 {
			t.Errorf("try %d came %s after the one before", i, pause)
		}
	}
	select {
	case err := <-answers:
		t.Fatalf("an answer without a network: %v", err)
	default:
	}
	c.set(nil)
	for range 2 * size {
		if err := <-answers; err != nil {
			t.Fatal(err)
		}
	}
	c.running.Wait()
	if len(c.gates.all) != 0 {
		t.Errorf("%d gates are left", len(c.gates.all))
	}
}

// A canister's gate is nobody else's, an answer of any kind opens it, and
// neither a few failures nor a caller that goes keeps others waiting.
func TestGate(t *testing.T) {
	fail := func(c *crowd, times int) (holder *visit) {
		holder = c.gates.visit(canisterA)
		for range times {
			if err := holder.enter(t.Context()); err != nil {
				t.Fatal(err)
			}
			holder.done(errDown)
		}
		return holder
	}
	soon := func(v *visit, within time.Duration) error {
		ctx, cancel := context.WithTimeout(t.Context(), within)
		defer cancel()
		return v.enter(ctx)
	}
	t.Run("a few failures", func(t *testing.T) {
		c := &crowd{}
		defer fail(c, tolerated-1).leave()
		v := c.gates.visit(canisterA)
		defer v.leave()
		if err := soon(v, firstWait/4); err != nil {
			t.Error(err)
		}
	})
	t.Run("more of them", func(t *testing.T) {
		c := &crowd{}
		defer fail(c, tolerated).leave()
		v := c.gates.visit(canisterA)
		defer v.leave()
		if err := soon(v, firstWait/4); !errors.Is(err, errDown) {
			t.Errorf("%v, want what keeps the gate closed", err)
		}
		other := c.gates.visit(canisterB)
		defer other.leave()
		if err := soon(other, firstWait/4); err != nil {
			t.Errorf("another canister's: %v", err)
		}
	})
	for name, answer := range map[string]error{
		"an answer":  nil,
		"a refusal":  &ic.RejectError{Code: 3, ErrorCode: "IC0301"},
		"a 400":      &ic.HTTPError{Status: 400},
		"an old one": &ic.RejectError{Code: 5, ErrorCode: "IC0508", Certified: true},
	} {
		t.Run(name+" opens it", func(t *testing.T) {
			c := &crowd{}
			under := c.gates.visit(canisterA) // submitted before the gate was closed
			defer under.leave()
			if err := under.enter(t.Context()); err != nil {
				t.Fatal(err)
			}
			defer fail(c, tolerated).leave()
			under.done(answer)
			v := c.gates.visit(canisterA)
			defer v.leave()
			if err := soon(v, firstWait/4); err != nil {
				t.Error(err)
			}
		})
	}
	t.Run("one that tries and goes", func(t *testing.T) {
		c := &crowd{}
		holder := fail(c, tolerated)
		defer holder.leave()
		if err := holder.enter(t.Context()); err != nil { // after the pause
			t.Fatal(err)
		}
		entered := make(chan error, 1)
		next := c.gates.visit(canisterA)
		defer next.leave()
		go func() { entered <- soon(next, 10*time.Second) }()
		select {
		case err := <-entered:
			t.Errorf("two try at once: %v", err)
		case <-time.After(2 * firstWait):
		}
		holder.done(context.Canceled)
		if err := <-entered; err != nil {
			t.Error(err)
		}
	})
	t.Run("a network that asks for time", func(t *testing.T) {
		c := &crowd{}
		under := c.gates.visit(canisterA)
		defer under.leave()
		asking := c.gates.visit(canisterA)
		defer asking.leave()
		for _, v := range []*visit{under, asking} {
			if err := v.enter(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		start := time.Now()
		asking.done(&ic.HTTPError{Status: http.StatusTooManyRequests, RetryAfter: time.Second})
		under.done(nil) // it was submitted before
		v := c.gates.visit(canisterA)
		defer v.leave()
		if err := soon(v, 20*time.Second); err != nil {
			t.Fatal(err)
		}
		if waited := time.Since(start); waited < time.Second {
			t.Errorf("the next call came after %s", waited)
		}
	})
}

// The same through the adapter: few requests while the network is away, and no
// message that is not delivered when it is back.
func TestFewRequestsInAnOutage(t *testing.T) {
	const size = 100
	var requests atomic.Int64
	client, err := ic.NewClient(ic.Options{URL: "http://127.0.0.1:1", Wrap: func(http.RoundTripper) http.RoundTripper {
		return roundTripper(func(*http.Request) (*http.Response, error) {
			requests.Add(1)
			return nil, errDown
		})
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	verifier, err := ic.NewVerifier(ic.MainnetRootKey())
	if err != nil {
		t.Fatal(err)
	}
	client.SetVerifier(verifier)
	adapter := New(client, ic.AnonymousIdentity{})
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	var group sync.WaitGroup
	for range size {
		group.Go(func() {
			err := adapter.Message(ctx, bridge.Envelope{Canister: canisterA, Expiry: time.Now().Add(time.Minute)})
			if _, refused := bridge.RefusalText(err); refused || !errors.Is(err, errDown) {
				t.Errorf("Message = %v", err)
			}
		})
	}
	group.Wait()
	if n := requests.Load(); n > size+12 {
		t.Errorf("%d messages cost %d requests in a second", size, n)
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
