package relay

import (
	"errors"
	"testing"
	"time"

	"github.com/icrelay/icrelay/ic"
)

func TestRest(t *testing.T) {
	const first, longest = 500 * time.Millisecond, 5 * time.Second
	now := time.Now()
	at := func(d time.Duration) time.Time { return now.Add(d) }
	r := rest{first: first, longest: longest}
	if !r.over(now) {
		t.Error("a feed that works rests")
	}
	// Twice as long each time, half of it left to chance, up to the longest.
	for _, full := range []time.Duration{time.Second, 2 * time.Second, 4 * time.Second, longest, longest} {
		r.after(now, errors.New("connection refused"))
		if r.over(at(full/2-time.Millisecond)) || !r.over(at(full+time.Millisecond)) {
			t.Errorf("after %d errors it rests for %s, want %s to %s", r.errs, r.end.Sub(now), full/2, full)
		}
	}
	// A message that went through shortens the rest, to the pause between looks.
	r.shorten()
	if r.over(at(first-time.Millisecond)) || !r.over(at(first+time.Millisecond)) {
		t.Errorf("it rests for %s though a message went through", r.end.Sub(now))
	}
	// A network that asks for time gets it, also when a message went through.
	r.after(now, &ic.HTTPError{Status: 429, RetryAfter: 7 * time.Second})
	for range 2 {
		if r.over(at(7*time.Second)) || !r.over(at(7*time.Second+longest+time.Millisecond)) {
			t.Errorf("it rests for %s after it was asked for 7 seconds", r.end.Sub(now))
		}
		r.shorten()
	}
	r.after(now, &ic.HTTPError{Status: 429, RetryAfter: time.Hour})
	if !r.over(at(30*time.Second + longest + time.Millisecond)) {
		t.Errorf("it rests for %s", r.end.Sub(now))
	}
	r.after(now, nil)
	if !r.over(now) {
		t.Error("a feed that works again rests")
	}
}
