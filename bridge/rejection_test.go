package bridge

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/icrelay/icrelay/candid"
	"github.com/icrelay/icrelay/ic"
)

func TestRejection(t *testing.T) {
	const patience = time.Minute
	var (
		fine    error
		refusal = fmt.Errorf("ws_get_messages: %w", Refused("Canister x not found\nadvice"))
		stopped = fmt.Errorf("ws_get_messages: %w", &UnavailableError{Text: "Canister x is stopped"})
		network = errors.New("connection refused")
	)
	type poll struct {
		at  time.Duration
		err error
	}
	gone := CloseReason{CloseCanisterFails, "Canister x not found"}
	asleep := CloseReason{CloseTryAgainLater, "Canister x is stopped"}
	for _, tc := range []struct {
		name  string
		polls []poll
		want  CloseReason // of the last poll; all before must bring none
	}{
		{"nothing", nil, CloseReason{}},
		{"refused for a while", []poll{{0, refusal}, {time.Second, refusal}, {3 * time.Second, refusal}, {5 * time.Second, refusal}}, gone},
		{"refused, but not for long", []poll{{0, refusal}, {time.Second, refusal}, {2 * time.Second, refusal}, {4 * time.Second, refusal}}, CloseReason{}},
		{"refused, but not often", []poll{{0, refusal}, {20 * time.Second, refusal}}, CloseReason{}},
		{"one good answer", []poll{{0, refusal}, {3 * time.Second, refusal}, {4 * time.Second, fine}, {6 * time.Second, refusal}, {8 * time.Second, refusal}}, CloseReason{}},
		{"network down", []poll{{0, network}, {time.Minute, network}, {time.Hour, network}}, CloseReason{}},
		{"one that was not reached", []poll{{0, refusal}, {3 * time.Second, refusal}, {4 * time.Second, network}, {6 * time.Second, refusal}, {8 * time.Second, refusal}}, CloseReason{}},
		{"stopped for a while", []poll{{0, stopped}, {10 * time.Second, stopped}, {59 * time.Second, stopped}}, CloseReason{}},
		{"stopped for long", []poll{{0, stopped}, {10 * time.Second, stopped}, {time.Minute, stopped}}, asleep},
		{"stopped behind a bad network", []poll{{0, stopped}, {30 * time.Second, network}, {time.Minute, stopped}}, asleep},
		{"stopped and started", []poll{{0, stopped}, {50 * time.Second, stopped}, {55 * time.Second, fine}, {time.Minute, stopped}}, CloseReason{}},
		{"stopped, then deleted", []poll{{0, stopped}, {30 * time.Second, stopped}, {31 * time.Second, refusal}, {33 * time.Second, refusal}, {36 * time.Second, refusal}}, gone},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var r rejection
			start := time.Now()
			for i, poll := range tc.polls {
				var got CloseReason
				if reason := r.note(start.Add(poll.at), poll.err, patience); reason != nil {
					got = *reason
				}
				want := CloseReason{}
				if i == len(tc.polls)-1 {
					want = tc.want
				}
				if got != want {
					t.Errorf("poll %d: %+v, want %+v", i, got, want)
				}
			}
		})
	}
}

// A canister that answers again after its polls were rejected may have been
// upgraded or reinstalled: those who lived on what it has forgotten are told.
func TestForgottenWhileStopped(t *testing.T) {
	b := newBench(t, nil)
	p := b.open()
	b.canister.send(p.key, []byte("before"))
	p.message()
	b.canister.set(func() { b.canister.corrupt = func(*Batch) error { return &UnavailableError{Text: "stopped"} } })
	b.eventually("polls are rejected", func() bool { return b.gateway.count.pollErrors.Load() > 1 })
	b.canister.forget()
	b.canister.set(func() { b.canister.corrupt = nil })
	p.closed(CloseCanisterReset, "forgotten")
}

// The client of a canister that is not available is told why.
func TestCanisterNotAvailable(t *testing.T) {
	b := newBench(t, func(_ *Options, c *testCanister) {
		c.refuseOpen = func(candid.ClientKey) error {
			return fmt.Errorf("ws_open: %w", &UnavailableError{Text: "Canister x has no cycles"})
		}
	})
	p := b.dial()
	p.write(p.sign(p.openEnvelope()))
	p.closed(CloseTryAgainLater, "Canister x has no cycles")
}

// A network that asks for time gets it, also when a client's message went
// through meanwhile; otherwise that shortens the pause.
func TestPauseAfterErrors(t *testing.T) {
	const errorsBefore = 8 // without them the pause is short anyway
	for _, tc := range []struct {
		name       string
		asked      time.Duration
		atLeast    time.Duration
		atMost     time.Duration
		idle, long time.Duration
	}{
		{"a message shortens the pause", 0, 50 * time.Millisecond, 10 * time.Second, 100 * time.Millisecond, time.Hour},
		{"to what the network asks for", time.Second, time.Second, 10 * time.Second, 10 * time.Millisecond, 20 * time.Millisecond},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := newBench(t, func(o *Options, _ *testCanister) {
				o.Polling = Polling{Interval: 10 * time.Millisecond, IdleInterval: tc.idle, MaxBackoff: tc.long}
			})
			p := b.open()
			failed := make(chan time.Time, 1)
			again := make(chan time.Time, 1)
			failures := 0
			b.canister.set(func() {
				b.canister.corrupt = func(*Batch) error {
					switch failures++; {
					case failures < errorsBefore:
						return errors.New("connection reset")
					case failures == errorsBefore:
						failed <- time.Now()
						return &ic.HTTPError{Status: 429, RetryAfter: tc.asked}
					case failures == errorsBefore+1:
						again <- time.Now()
					}
					return nil
				}
			})
			at := <-failed
			for {
				p.send("is anybody there?")
				select {
				case next := <-again:
					if pause := next.Sub(at); pause < tc.atLeast || pause > tc.atMost {
						t.Errorf("polled again after %s, want %s to %s", pause, tc.atLeast, tc.atMost)
					}
					return
				case <-time.After(20 * time.Millisecond):
				}
			}
		})
	}
}
