package plugin

import (
	"context"
	"errors"
	"io"
	"sync"
	"time"

	"github.com/icrelay/icrelay/adapters/plugin/contract"
	"github.com/icrelay/icrelay/bridge"
	"github.com/icrelay/icrelay/candid"
)

// Watch implements bridge.Watcher. It returns a bridge.LostError as soon as the
// process has ended that the canister's sessions were opened with. A watch of
// the process, or of the base, that ends early is begun anew.
func (a *Adapter) Watch(ctx context.Context, canister candid.Principal, changed func()) error {
	s := a.state.Load()
	if s == nil || a.isLost(canister, s) {
		a.forgetOpened(canister)
		return a.lost()
	}
	watching, cancel := context.WithCancel(ctx)
	var watch sync.WaitGroup
	watch.Go(func() { a.watch(watching, s, canister, changed) })
	select {
	case <-ctx.Done():
	case <-s.ctx.Done():
	}
	cancel()
	watch.Wait()
	a.forgetOpened(canister)
	if s.ctx.Err() != nil {
		return a.lost()
	}
	return ctx.Err()
}

// watch runs what there is to run until ctx ends.
func (a *Adapter) watch(ctx context.Context, s *state, canister candid.Principal, changed func()) {
	pauses := pauses{first: a.process.timing.retry, longest: a.process.timing.maxRetry}
	for {
		start := time.Now()
		var err error
		if s.does(contract.Method_WATCH) {
			err = a.watchProcess(ctx, s, canister, changed)
			if s.lacks(contract.Method_WATCH, err) {
				continue
			}
		} else if watcher, ok := a.route.Base.(bridge.Watcher); ok {
			err = watcher.Watch(ctx, canister, changed)
		} else {
			return
		}
		if ctx.Err() != nil || s.ctx.Err() != nil {
			return
		}
		if time.Since(start) > a.process.timing.maxRetry {
			pauses.reset() // it worked for a while
		}
		pause := pauses.next()
		a.process.log.Warn("watch ended", "canister", canister.String(), "error", describe(err), "retry_in", pause.Round(time.Millisecond))
		if sleep(ctx, pause) != nil {
			return
		}
	}
}

// watchProcess reads the events of the process, however many there are, and
// passes on one at a time.
func (a *Adapter) watchProcess(ctx context.Context, s *state, canister candid.Principal, changed func()) error {
	s.given.Add(1)
	defer s.given.Add(-1)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := s.adapter.Watch(ctx, &contract.WatchRequest{Route: a.number, Canister: canister.Bytes()})
	if err != nil {
		return err
	}
	event := make(chan struct{}, 1)
	var signals sync.WaitGroup
	defer signals.Wait()
	defer cancel()
	signals.Go(func() {
		for {
			select {
			case <-ctx.Done():
				return
			case <-event:
				changed()
			}
			if sleep(ctx, a.process.timing.events) != nil {
				return
			}
		}
	})
	for n := 1; ; n++ {
		if _, err := stream.Recv(); err != nil {
			if errors.Is(err, io.EOF) {
				return errors.New("the adapter has ended it")
			}
			return err
		}
		select {
		case event <- struct{}{}:
		default:
		}
		if n%eventsAtOnce == 0 {
			_ = sleep(ctx, a.process.timing.events) // who sends without an end waits, too
		}
	}
}

// eventsAtOnce is how many events are read before the next pause.
const eventsAtOnce = 100
