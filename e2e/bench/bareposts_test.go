package main

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"
)

// TestBarePosts: a client at a rate posts what is due and no more, and one that has
// nothing left to post says so.
func TestBarePosts(t *testing.T) {
	for name, test := range map[string]struct {
		rate     float64
		duration time.Duration
		bodies   int
		want     uint64
		err      error
	}{
		"at a rate":                  {10, 250 * time.Millisecond, 10, 3, nil},
		"none at the end itself":     {10, 200 * time.Millisecond, 10, 2, nil},
		"as fast as it can":          {0, time.Hour, 5, 5, errSpent},
		"fewer than the rate needs":  {1000, time.Hour, 5, 5, errSpent},
		"the time is over":           {0, 0, 5, 0, nil},
		"a rate, the time is over":   {10, 0, 5, 0, nil},
		"a rate that is hardly ever": {.001, 10 * time.Millisecond, 2, 1, nil},
	} {
		t.Run(name, func(t *testing.T) {
			var posts atomic.Uint64
			server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { posts.Add(1) }))
			t.Cleanup(server.Close)
			start := time.Now()
			p := &poster{
				settings: barePostSettings{network: server.URL, clients: 1, rate: test.rate, duration: test.duration, poll: -1},
				http:     server.Client(), end: start.Add(test.duration),
			}
			err := p.send(t.Context(), &caller{bodies: make([][]byte, test.bodies)}, start, 0)
			if !errors.Is(err, test.err) || posts.Load() != test.want || p.posts.Load() != test.want {
				t.Errorf("%d posts and %v, want %d and %v", posts.Load(), err, test.want, test.err)
			}
			if test.err == nil && time.Since(start) < test.duration {
				t.Errorf("it took %s of %s", time.Since(start), test.duration)
			}
		})
	}
}
