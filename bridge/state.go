package bridge

import "sync/atomic"

// A state is how far a session has come. It only goes forward.
type state int32

const (
	stateAwaiting state = iota // for ws_open
	stateOpening               // ws_open is on its way
	stateOpen                  // the canister said Ok
	stateClosing               // the gateway has ended it, or its socket is gone and calls are under way
	states                     // how many there are to count; and the state of a session that has ended
)

var stateNames = [states]string{"awaiting_open", "opening", "open", "closing"}

// progress is a session's state, counted.
type progress struct {
	now   atomic.Int32
	count *[states]atomic.Int64
}

func (p *progress) begin() { p.count[stateAwaiting].Add(1) }

// to moves forward. What has gone further already stays there.
func (p *progress) to(next state) {
	for {
		old := p.now.Load()
		if state(old) >= next {
			return
		}
		if p.now.CompareAndSwap(old, int32(next)) {
			p.count[old].Add(-1)
			if next < states {
				p.count[next].Add(1)
			}
			return
		}
	}
}
