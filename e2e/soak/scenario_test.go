package soak

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// A trouble is a time at which connections may end though nobody wants it.
type trouble struct {
	what     string
	from, to time.Time
	gateway  string   // "" for any
	reasons  []string // parts of what clients are told
}

// How much later a trouble may show: a call is given up after a minute, but a
// message that was refused is known at once.
const (
	lingerLost   = time.Minute
	lingerClosed = 5 * time.Second
)

// play lets all clients talk, has things go wrong meanwhile, and returns when
// everybody has said enough and is connected.
func (w *world) play(ctx context.Context) {
	w.t.Helper()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel()
	running.Go(func() { w.watch(ctx) })
	failed := make(chan error, len(w.workers))
	var working atomic.Int64
	for _, c := range w.workers {
		working.Add(1)
		running.Go(func() {
			defer working.Add(-1)
			if err := c.run(ctx); err != nil && ctx.Err() == nil {
				failed <- err
			}
		})
	}
	for _, step := range []struct {
		at   int // per cent of the messages
		what string
		do   func(context.Context)
	}{
		{15, "connections to the network break", w.breakConnections},
		{25, "the target is stopped", w.stopTarget},
		{40, "upgrade while everybody talks", w.upgradeBusy},
		{55, "a gateway crashes", w.crashGateway},
		{70, "upgrade while nobody talks", w.upgradeQuiet},
		{85, "everybody leaves", w.empty},
	} {
		w.reach(step.at)
		start := time.Now()
		step.do(ctx)
		w.t.Logf("%s: %s, took %s", w.progress(), step.what, time.Since(start).Round(time.Millisecond))
	}
	w.reach(100)
	w.enough.Store(true)
	w.until("all clients have finished", func() bool { return working.Load() == 0 })
	select {
	case err := <-failed:
		w.t.Fatal(err)
	default:
	}
}

func (w *world) progress() string {
	return fmt.Sprintf("%5.1fs %6d in, %6d out", time.Since(w.began).Seconds(), w.total.Load(), w.heard.Load())
}

// reach waits until a part of the messages has arrived.
func (w *world) reach(percent int) {
	w.t.Helper()
	last, since := uint64(0), time.Now()
	for {
		total := w.total.Load()
		switch {
		case total*100 >= uint64(w.size.messages*percent): //nolint:gosec // not negative
			return
		case total != last:
			last, since = total, time.Now()
		case time.Since(since) > patience:
			status, err := w.status()
			w.t.Fatalf("nothing moves: %s; %+v %v; turned away: %v", w.progress(), status, err, w.turned)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// breakConnections breaks what lies between gateways and network. Calls under
// way have to be repeated, and must not be executed twice.
func (w *world) breakConnections(context.Context) {
	for _, g := range w.gateways {
		g.proxy.interrupt(false)
	}
}

// stopTarget stops the diary for a moment. Meanwhile nobody may come or go,
// because hooks that fail are not repeated.
func (w *world) stopTarget(context.Context) {
	w.speak.shut()
	w.nobodyLeaves()
	defer w.churn.Unlock()
	w.until("nothing is under way", w.idle)
	w.speak.open()
	w.stopCanister(w.diary)
	w.until("calls fail", func() bool { return w.nameless() > 20 })
	w.startCanister(w.diary)
	w.speak.shut()
	w.until("nothing is under way", w.idle)
	w.speak.open()
}

// idle reports whether the relay canister has no call to make.
func (w *world) idle() bool {
	status, err := w.status()
	return err == nil && status.inFlight+status.waiting == 0
}

// nobodyLeaves returns when everybody who has left is gone, and no message of
// theirs is under way. Until w.churn is unlocked the others stay.
func (w *world) nobodyLeaves() {
	w.churn.Lock()
	w.until("those who left are gone", func() bool {
		status, err := w.status()
		return err == nil && int(status.clients) <= w.openSessions() //nolint:gosec // small
	})
}

func (w *world) nameless() (n int) {
	for _, s := range w.all() {
		s.mu.Lock()
		n += len(s.nameless)
		s.mu.Unlock()
	}
	return n
}

// upgradeBusy upgrades the relay canister while everybody talks, comes and
// goes. A message that was with the network, but not with the canister, when
// that stopped is gone, and its sender has to reconnect.
func (w *world) upgradeBusy(context.Context) {
	w.nobodyLeaves()
	end := w.trouble("upgrade", "", "is stopp", "did not reach the canister")
	w.churn.Unlock()
	w.upgrade()
	end()
}

// upgradeQuiet upgrades the relay canister while everybody is connected and
// nobody talks. Nobody may notice.
func (w *world) upgradeQuiet(ctx context.Context) {
	w.speak.shut()
	defer w.speak.open()
	w.nobodyLeaves()
	defer w.churn.Unlock()
	w.until("all messages are acknowledged", w.acknowledged)
	// The answers to the acknowledgements have arrived when these have.
	w.everybodySpeaks(ctx)
	before := w.openSessions()
	w.upgrade()
	w.everybodySpeaks(ctx)
	if after := w.openSessions(); after < before {
		w.t.Errorf("%d of %d connections did not survive an upgrade while nobody talked", before-after, before)
	}
}

// acknowledged reports whether the relay canister has acknowledged everything
// that open connections have sent.
func (w *world) acknowledged() bool {
	return !slices.ContainsFunc(w.all(), func(s *session) bool {
		return s.isOpen() && s.conn.Acknowledged() < uint64(s.sentCount()) //nolint:gosec // not negative
	})
}

// everybodySpeaks has each client send one message and wait for the answer.
func (w *world) everybodySpeaks(ctx context.Context) {
	w.t.Helper()
	all := w.all()
	for _, s := range all {
		if s.isOpen() {
			if err := s.send(ctx, w, &kinds[0], ""); err != nil {
				w.t.Errorf("%s: %v", s, err)
			}
		}
	}
	w.until("everybody is answered", func() bool {
		return !slices.ContainsFunc(all, func(s *session) bool { return s.isOpen() && s.outstanding() > 0 })
	})
}

// crashGateway ends one of the gateways without a word to the canister, and
// starts it again after a while.
func (w *world) crashGateway(context.Context) {
	g := w.gateways[1]
	w.nobodyLeaves()
	end := w.trouble("crash", g.name, "the gateway stops", "did not reach the canister", "connection closed")
	w.churn.Unlock()
	g.crash()
	w.reach(60)
	g.start()
	end()
}

// empty has everybody leave; only then others may come.
func (w *world) empty(context.Context) {
	w.enter.shut()
	w.generation.Add(1) // in this order: see worker.dial
	w.until("everybody has left", func() bool {
		status, err := w.status()
		return w.openSessions() == 0 && err == nil && status.clients+status.inFlight+status.waiting == 0
	})
	w.enter.open()
}

// trouble begins a time in which connections may end for one of these reasons.
func (w *world) trouble(what, gateway string, reasons ...string) (end func()) {
	tr := &trouble{what: what, from: time.Now(), gateway: gateway, reasons: reasons}
	w.troubles = append(w.troubles, tr)
	return func() { tr.to = time.Now() }
}

// excuse marks the connections that ended in a trouble, and says how many were lost in each.
func (w *world) excuse() {
	for _, tr := range w.troubles {
		lostHere := make(map[string]int)
		for _, s := range w.all() {
			s.mu.Lock()
			if tr.covers(s) {
				s.excused = true
				if s.how == lost {
					lostHere[s.closeErr.Error()]++
				}
			}
			s.mu.Unlock()
		}
		w.t.Logf("%s, %s: connections lost: %v", tr.what, tr.to.Sub(tr.from).Round(time.Millisecond), lostHere)
	}
}

func (tr *trouble) covers(s *session) bool {
	if tr.gateway != "" && tr.gateway != s.gateway || s.endedAt.Before(tr.from) {
		return false
	}
	switch s.how {
	case lost:
		return s.endedAt.Before(tr.to.Add(lingerLost)) &&
			slices.ContainsFunc(tr.reasons, func(part string) bool { return strings.Contains(s.closeErr.Error(), part) })
	case closed: // what it had sent was perhaps still under way
		return s.endedAt.Before(tr.to.Add(lingerClosed))
	}
	return false
}
