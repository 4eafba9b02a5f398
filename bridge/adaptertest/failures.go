package adaptertest

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/icrelay/icrelay/bridge"
	"github.com/icrelay/icrelay/candid"
)

// soon is how long a call may go on after its context has ended, and how long
// an answer may take for which nobody has to be waited for: milliseconds, on a
// machine that is busy with other tests.
const soon = 5 * time.Second

// A call is one method of an adapter with its arguments.
type call struct {
	name string
	run  func(context.Context) error
}

// calls are all methods of an adapter, on one canister.
func (s *suite) calls(a bridge.Adapter, canister candid.Principal) []call {
	s.Helper()
	c := s.client()
	open, message := c.openEnvelopeTo(canister), c.nextMessageTo(canister, s.Content(0))
	return []call{
		{"Open", func(ctx context.Context) error { return a.Open(ctx, open) }},
		{"Message", func(ctx context.Context) error { return a.Message(ctx, message) }},
		{"Close", func(ctx context.Context) error { return a.Close(ctx, canister, c.key) }},
		{"Poll", func(ctx context.Context) error {
			_, err := a.Poll(ctx, canister, 0)
			return err
		}},
	}
}

// endedContext: no call outlives its context.
func (s *suite) endedContext() {
	ctx, cancel := context.WithCancel(s.ctx)
	cancel()
	for _, call := range s.calls(s.Adapter, s.Canister) {
		if err := notReached(ctx, call); err != nil {
			s.Error(err)
		}
	}
}

// unreachable: a network that does not answer is no refusal, and the calls
// that try it again give up with their context.
func (s *suite) unreachable() {
	for _, call := range s.calls(s.Unreachable, s.Canister) {
		ctx, cancel := context.WithTimeout(s.ctx, 500*time.Millisecond)
		if err := notReached(ctx, call); err != nil {
			s.Error(err)
		}
		cancel()
	}
}

// stopped: a canister that is being upgraded is back soon. What reached it
// meanwhile was not taken in, so the same envelope does it later.
func (s *suite) stopped() {
	if s.Stop == nil {
		return
	}
	c := s.client()
	c.open()
	message, late := c.nextMessage(s.Content(0)), s.client()
	open := late.openEnvelope()
	s.no(s.Stop(s.ctx))
	for _, call := range append(s.calls(s.Adapter, s.Canister),
		call{"Message", func(ctx context.Context) error { return s.Adapter.Message(ctx, message) }},
		call{"Open", func(ctx context.Context) error { return s.Adapter.Open(ctx, open) }},
	) {
		ctx, cancel := context.WithTimeout(s.ctx, 300*time.Millisecond)
		if err := notReached(ctx, call); err != nil {
			s.Error(err)
		}
		cancel()
	}
	closed := make(chan error, 1)
	go func() { closed <- s.Adapter.Close(s.ctx, s.Canister, c.key) }()
	s.no(s.Start(s.ctx))
	s.no(<-closed)
	s.no(s.Adapter.Open(s.ctx, open))
	s.no(s.Adapter.Message(s.ctx, late.nextMessage(s.Content(1))))
}

// missing: the network's own word is final, and known at once. Nothing is left
// to close at a canister that is not there, so Close may return either.
func (s *suite) missing() {
	ofMissing := s.OfMissing
	if ofMissing == nil {
		ofMissing = s.Adapter
	}
	for _, call := range s.calls(ofMissing, s.Missing) {
		start := time.Now()
		err := call.run(s.ctx)
		if took := time.Since(start); took > soon {
			s.Errorf("%s took %s", call.name, took)
		}
		if text, refused := bridge.RefusalText(err); call.name != "Close" && (!refused || text == "") {
			s.Errorf("%s: %v, want a refusal with a text", call.name, err)
		}
	}
	if checker, ok := ofMissing.(bridge.Checker); ok && checker.Check(s.ctx, s.Missing) == nil {
		s.Error("Check finds nothing wrong with a missing canister")
	}
	if checker, ok := s.Adapter.(bridge.Checker); ok {
		s.no(checker.Check(s.ctx, s.Canister))
	}
}

var errNotSoon = errors.New("does not return when its context has ended")

// notReached wants that a call returns soon after ctx has ended, if not
// before, with an error that is no refusal.
func notReached(ctx context.Context, call call) error {
	returned := make(chan error, 1)
	go func() { returned <- call.run(ctx) }()
	var err error
	select {
	case err = <-returned:
	case <-ctx.Done():
		patience := time.NewTimer(soon)
		defer patience.Stop()
		select {
		case err = <-returned:
		case <-patience.C:
			return fmt.Errorf("%s %w", call.name, errNotSoon)
		}
	}
	if _, refused := bridge.RefusalText(err); err == nil || refused {
		return fmt.Errorf("%s: %v, want an error that is no refusal", call.name, err) //nolint:errorlint // what a test says
	}
	return nil
}
