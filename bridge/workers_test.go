package bridge

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestWorkers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var running sync.WaitGroup
		ended := make(chan struct{})
		w := &workers{idle: make(chan func()), stay: time.Second, ended: ended, running: &running}
		idle := func() (n int) {
			synctest.Wait()
			hold := make(chan struct{})
			for {
				select {
				case w.idle <- func() { <-hold }:
					n++
					continue
				default:
				}
				close(hold)
				synctest.Wait()
				return n
			}
		}
		run := func(want int) {
			t.Helper()
			gate, done := make(chan struct{}), 0
			var mu sync.Mutex
			for range want {
				w.run(func() {
					<-gate
					mu.Lock()
					defer mu.Unlock()
					done++
				})
			}
			close(gate)
			synctest.Wait()
			if done != want {
				t.Errorf("%d of %d were run", done, want)
			}
		}

		run(3)
		if n := idle(); n != 3 {
			t.Errorf("after 3 at once, %d workers stay", n)
		}
		run(2)
		run(5)
		if n := idle(); n != 5 {
			t.Errorf("after 5 at once, %d workers stay", n)
		}
		time.Sleep(w.stay - time.Millisecond)
		run(1)
		time.Sleep(time.Millisecond)
		if n := idle(); n != 1 {
			t.Errorf("of those who had nothing to do for %s, %d stay; wanted the one that had", w.stay, n)
		}
		close(ended)
		start := time.Now()
		running.Wait()
		if took := time.Since(start); took > 0 {
			t.Errorf("at the end a worker stayed for %s", took)
		}
		run(1) // late, and still run
		if n := idle(); n != 0 {
			t.Errorf("after the end, %d workers stay", n)
		}
	})
}
