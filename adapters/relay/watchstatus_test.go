package relay

import (
	"log/slog"
	"sync"
	"testing"
	"time"
)

// A status is read while the feeds are looked at; the race detector watches.
func TestStatusIsReadBesideTheFeeds(t *testing.T) {
	s := newStage(t, nil)
	watched := s.settings.Feeds[0].Target
	settings := s.settings
	settings.Feeds = append([]Feed{{Target: Target{s.guestbook, "other"}, Interval: time.Second}}, settings.Feeds...)
	w := &watch{
		Adapter:  New(s.Client, s.gateway, settings, slog.New(slog.DiscardHandler)),
		canister: s.relay,
		changed:  func() {},
		pulls:    make(map[Target]time.Time),
	}
	w.readStatus(t.Context())
	read := make(chan struct{})
	var looking sync.WaitGroup
	looking.Go(func() {
		for {
			if _, known, err := w.position(watched); !known || err != nil {
				t.Errorf("the feed's position: %v, %v", known, err)
				return
			}
			select {
			case <-read:
				return
			case <-time.After(time.Millisecond):
			}
		}
	})
	for range 20 {
		w.readStatus(t.Context())
	}
	close(read)
	looking.Wait()
}
