package bench

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"

	"github.com/icrelay/icrelay/client"
)

// A supply has one client's messages signed ahead of their sending. Whoever
// signs holds mu meanwhile: the order of signing is the order of sending.
type supply struct {
	exchange *exchange
	sender   int
	conn     *client.Conn
	target   int  // how many to hold
	pace     pace // set when the clock starts

	renewed uint64 // number of the last message that renew has renewed; its own

	mu    sync.Mutex
	ready []signed
}

type signed struct {
	number   uint64
	prepared *client.Prepared
}

// fill signs until the target is reached, one message at a time so that the
// sender never waits for more than one.
func (s *supply) fill(ctx context.Context) error {
	for ctx.Err() == nil {
		full, err := s.addOne()
		if full || err != nil {
			return err
		}
	}
	return nil
}

func (s *supply) addOne() (full bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.ready) >= s.target {
		return true, nil
	}
	m, err := s.sign()
	if err == nil {
		s.ready = append(s.ready, m)
	}
	return false, err
}

// sign must be called with mu held.
func (s *supply) sign() (signed, error) {
	number := s.exchange.number(s.sender)
	prepared, err := s.conn.Prepare(s.exchange.make(s.sender, number))
	return signed{number, prepared}, err
}

// take returns the next message, signed now if there is none.
func (s *supply) take() (signed, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.ready) == 0 {
		s.exchange.late.Add(1)
		return s.sign()
	}
	m := s.ready[0]
	s.ready[0] = signed{}
	if s.ready = s.ready[1:]; len(s.ready) == 0 {
		s.ready = nil
	}
	return m, nil
}

// comesBack reports whether the canister will answer the next message.
func (s *supply) comesBack() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.ready) > 0 {
		return s.exchange.comesBack(s.ready[0].number)
	}
	return s.exchange.comesBack(s.exchange.following(s.sender))
}

// low reports whether it is time to sign more.
func (s *supply) low() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.ready) <= s.target/2
}

// renew signs again what can no longer be sent as it is: after the answer to an
// acknowledgement all that is ready, and what has waited for long. It does so one at
// a time, like fill.
//
// A message that need not be renewed has none behind it that must: after an answer
// they are renewed from the next to the last, and they grow old in the order in
// which they were signed, which begins at the one after the last renewed.
func (s *supply) renew(ctx context.Context) error {
	for _, number := range []uint64{0, s.renewed + 1} {
		for more := true; more && ctx.Err() == nil; number = s.renewed + 1 {
			var err error
			if more, err = s.renewOne(number); err != nil {
				return err
			}
		}
	}
	return nil
}

// renewOne renews the first message from a number on, and reports whether it had
// to. Those before may be taken meanwhile.
func (s *supply) renewOne(number uint64) (renewed bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i, _ := slices.BinarySearchFunc(s.ready, number, func(m signed, n uint64) int { return cmp.Compare(m.number, n) })
	if i == len(s.ready) {
		return false, nil
	}
	if renewed, err = s.conn.Renew(s.ready[i].prepared); renewed {
		s.renewed = s.ready[i].number
	}
	return renewed, err
}

const (
	// supplyAhead is for how long messages are signed ahead. The client uses a
	// signature for three minutes.
	supplyAhead = time.Minute
	// supplyBytes and supplyMessages bound what all clients hold; a signed
	// message takes the size of its content and about as much as supplyOverhead.
	supplyBytes    = 512 << 20
	supplyMessages = 200_000
	supplyOverhead = 1500
	// signerPause is between two looks for supplies that are low.
	signerPause = 20 * time.Millisecond
	// In one of them so many supplies may be renewed, and all within some: among
	// thousands each look costs as much as it may save.
	renewedAtOnce = 100
	renewedWithin = 25
)

// supplyTarget is how many messages each of some senders should have ready.
func supplyTarget(o Options, senders int) int {
	most := min(supplyMessages, supplyBytes/(supplyOverhead+o.Size)) / senders
	if o.Rate > 0 {
		ahead := min(supplyAhead, o.Duration)
		most = min(most, int(o.Rate*ahead.Seconds()/float64(senders))+2)
	} else {
		// More a second than one sender, or a gateway, is expected to take.
		fastest := 20_000.0
		if o.Pattern == "fanout" {
			const frames = 1_000_000
			fastest = min(fastest, frames/float64(o.Clients))
		}
		most = min(most, int(fastest*o.Duration.Seconds()/float64(senders))+2)
	}
	return max(most, 1)
}

// stock fills all supplies before the clock starts, on all cores.
func stock(ctx context.Context, supplies []*supply, failed *failures) {
	parallel(len(supplies), signers, func(i int) {
		if err := supplies[i].fill(ctx); err != nil {
			failed.add(err)
		}
	})
}

// restock renews supplies and fills those that are low, until ctx ends. What goes
// wrong is for the sender to find.
func restock(ctx context.Context, supplies []*supply) {
	tick := time.NewTicker(signerPause)
	defer tick.Stop()
	for next := 0; ; {
		for range min(len(supplies), renewedAtOnce+len(supplies)/renewedWithin) {
			_ = supplies[next].renew(ctx)
			next = (next + 1) % len(supplies)
		}
		for _, s := range supplies {
			if s.low() {
				_ = s.fill(ctx)
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}
