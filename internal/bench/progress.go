package bench

import (
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"
)

// A watch looks at the run each second: it writes the progress, and reads the
// gauge, for the most memory that the gateway had.
type watch struct {
	options Options
	out     io.Writer
	now     atomic.Value // string: the phase
}

const (
	watchEvery = time.Second
	// quietEvery is for a progress that is not one line: it goes to a file or a log.
	quietEvery = 10 * time.Second
)

func newWatch(o Options) *watch {
	w := &watch{options: o, out: o.Progress}
	if w.out == nil {
		w.out = io.Discard
	}
	w.now.Store("preparing")
	return w
}

func (w *watch) phase(name string) { w.now.Store(name) }

// start watches until stop is called, which may be called twice.
func (w *watch) start(r *run) (stop func()) {
	done := make(chan struct{})
	var group sync.WaitGroup
	group.Go(func() { w.loop(r, done) })
	return sync.OnceFunc(func() {
		close(done)
		group.Wait()
		if w.options.Line {
			_, _ = fmt.Fprint(w.out, "\r\x1b[K")
		}
	})
}

func (w *watch) loop(r *run, done <-chan struct{}) {
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	start := time.Now()
	var sent, received uint64
	written := start
	for {
		select {
		case <-done:
			return
		case <-tick.C:
		}
		r.gauge.look()
		every := quietEvery
		if w.options.Line {
			every = watchEvery
		}
		since := time.Since(written)
		if since < every-watchEvery/2 {
			continue
		}
		written = time.Now()
		s, a := r.exchange.sent.Load(), r.exchange.received.Load()
		open := fmt.Sprintf("open %d/%d", r.crowd.live.Load(), w.options.Clients)
		if w.options.Pattern == "churn" {
			open = fmt.Sprintf("opened %d", r.crowd.opened.Load())
		}
		text := fmt.Sprintf("%4.0fs  %-9s %s  sent %.0f/s  received %.0f/s  errors %d",
			time.Since(start).Seconds(), w.now.Load(), open,
			per(float64(s-sent), since.Seconds()), per(float64(a-received), since.Seconds()), r.failed.number())
		sent, received = s, a
		if w.options.Line {
			_, _ = fmt.Fprintf(w.out, "\r\x1b[K%s", text)
		} else {
			_, _ = fmt.Fprintln(w.out, text)
		}
	}
}
