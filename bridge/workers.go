package bridge

import (
	"sync"
	"time"
)

// workers run functions in goroutines that stay for the next one. A call needs
// 16 KB of stack, and a goroutine gets there by copying what it has several times:
// a tenth of what a message costs the gateway.
type workers struct {
	idle    chan func()     // to one that has nothing to do
	stay    time.Duration   // how long it waits for that
	ended   <-chan struct{} // closed when it is not to wait any more
	running *sync.WaitGroup // who must not be at zero when run is called
}

// workerStays is short, since an idle worker keeps its stack: at 5,000 messages a
// second, 500 of them at most.
const workerStays = 100 * time.Millisecond

// run has an idle worker call f, or a new one. It never waits.
func (w *workers) run(f func()) {
	select {
	case w.idle <- f:
	default:
		w.running.Go(func() { w.work(f) })
	}
}

func (w *workers) work(f func()) {
	timer := time.NewTimer(w.stay)
	defer timer.Stop()
	for {
		f()
		timer.Reset(w.stay)
		select {
		case f = <-w.idle:
		case <-timer.C:
			return
		case <-w.ended:
			return
		}
	}
}
