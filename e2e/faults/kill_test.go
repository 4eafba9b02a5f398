package faults

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/icrelay/icrelay/adapters/relay"
	"github.com/icrelay/icrelay/candid"
	"github.com/icrelay/icrelay/client"
	"github.com/icrelay/icrelay/ic"
	"github.com/icrelay/icrelay/internal/testnet"
)

// A rider connects, talks, and connects again whenever the connection breaks.
type rider struct {
	w        *world
	url      *atomic.Value // of the gateway
	canister candid.Principal
	identity ic.Identity

	mu       sync.Mutex
	key      candid.ClientKey // of the connection that is open
	sessions []*talker
}

// ride goes on until ctx ends. An error is a refusal that no new try overcomes.
func (r *rider) ride(ctx context.Context) error {
	for ctx.Err() == nil {
		url, _ := r.url.Load().(string)
		dialing, cancel := context.WithTimeout(ctx, patience)
		conn, err := dial(dialing, r.w, url, r.canister, r.identity)
		cancel()
		if err != nil {
			var closed *client.CloseError
			if errors.As(err, &closed) && !closed.Reconnect() {
				return fmt.Errorf("no way back: %w", err)
			}
			select {
			case <-ctx.Done():
			case <-time.After(50 * time.Millisecond):
			}
			continue
		}
		k := talk(r.w.T, "a rider", conn, 150*time.Millisecond)
		r.mu.Lock()
		r.key = conn.Key()
		r.sessions = append(r.sessions, k)
		r.mu.Unlock()
		select {
		case <-conn.Done():
		case <-ctx.Done():
		}
	}
	return nil
}

// talks reports whether the latest connection is alive and has been answered, and which it is.
func (r *rider) talks() (candid.ClientKey, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.sessions) == 0 {
		return r.key, false
	}
	last := r.sessions[len(r.sessions)-1]
	echoes, _ := last.numbers()
	return r.key, last.conn.Err() == nil && echoes > 2
}

// TestKill kills a gateway during traffic, at moments of chance, and starts it
// again with the same identity. Clients that reconnect go on; on no connection
// a message is lost in the middle, or comes twice; and the relay canister
// forgets those that the dead gateway left behind.
func TestKill(t *testing.T) {
	t.Parallel()
	kills := setting(t, "FAULTS_KILLS", 2)
	w := newWorld(t)
	s := newSetup(w)
	r := w.relayed(w.target(), func(s *relay.Settings) {
		s.AckInterval, s.KeepAliveTimeout = 3*time.Second, 2*time.Second
	})
	echo := w.builtinEcho()
	s.write(w.URL(), r)

	var url atomic.Value
	p := s.run()
	url.Store(p.url)
	riding, halt := context.WithCancel(w.background())
	defer halt()
	var all []*rider
	var group sync.WaitGroup
	failures := make(chan error, 2*riders)
	for i := range 2 * riders {
		id := r.relay
		if i%2 == 1 {
			id = echo
		}
		rider := &rider{w: w, url: &url, canister: id, identity: testnet.Identity(w)}
		all = append(all, rider)
		group.Go(func() {
			if err := rider.ride(riding); err != nil {
				failures <- err
			}
		})
	}
	allTalk := func() {
		t.Helper()
		eventually(t, "everybody talks", func() bool {
			select {
			case err := <-failures:
				t.Fatal(err)
			default:
			}
			return !slices.ContainsFunc(all, func(r *rider) bool {
				_, ok := r.talks()
				return !ok
			})
		})
	}
	allTalk()
	for n := range kills {
		time.Sleep(rand.N(time.Second)) //nolint:gosec // chance needs no secrecy
		p.kill()
		killed := time.Now()
		p = s.run()
		url.Store(p.url)
		started := time.Now()
		allTalk()
		t.Logf("kill %d: the gateway was back after %s, and everybody %s later", n+1,
			started.Sub(killed).Round(time.Millisecond), time.Since(started).Round(time.Millisecond))
	}

	// The ghosts go; those who are there stay.
	last := time.Now()
	var ghosts int
	eventually(t, "the relay canister knows its clients, and no others", func() bool {
		alive := make(map[candid.ClientKey]bool)
		for _, rider := range all {
			if key, ok := rider.talks(); ok && rider.canister == r.relay {
				alive[key] = true
			}
		}
		known := make(map[candid.ClientKey]bool)
		for _, key := range w.clientsOf(r) {
			known[key] = true
		}
		ghosts = max(ghosts, len(known)-len(alive))
		return len(alive) == riders && maps.Equal(alive, known)
	})
	t.Logf("%d ghosts at most; gone %s after the last start", ghosts, time.Since(last).Round(time.Millisecond))
	if ghosts == 0 {
		t.Error("there were no ghosts to forget: this shows nothing")
	}

	halt()
	group.Wait()
	connections := 0
	for _, rider := range all {
		connections += len(rider.sessions)
		for i, k := range rider.sessions {
			if i == len(rider.sessions)-1 {
				k.finish()
			}
			k.check()
		}
	}
	t.Logf("%d connections of %d clients", connections, len(all))
}
