package faults

import (
	"errors"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/icrelay/icrelay/adapters/relay"
	"github.com/icrelay/icrelay/bridge"
	"github.com/icrelay/icrelay/candid"
	"github.com/icrelay/icrelay/client"
	"github.com/icrelay/icrelay/internal/testnet"
)

// stopTimeout is the default of gateway.limits.stop_timeout.
const stopTimeout = 10 * time.Second

// gather connects clients with canisters in turn.
func gather(w *world, url string, size int, canisters ...candid.Principal) []*client.Conn {
	w.Helper()
	conns := make([]*client.Conn, size)
	identities := make([]client.Options, size)
	for i := range identities {
		identities[i] = client.Options{URL: url, Canister: canisters[i%len(canisters)], Identity: testnet.Identity(w), Verifier: w.Verifier}
	}
	var group sync.WaitGroup
	var failed atomic.Value
	turns := make(chan struct{}, 200)
	for i := range conns {
		group.Go(func() {
			turns <- struct{}{}
			defer func() { <-turns }()
			var err error
			if conns[i], err = client.Dial(w.ctx(), identities[i]); err != nil {
				failed.Store(err)
			}
		})
	}
	group.Wait()
	w.Cleanup(func() {
		for _, conn := range conns {
			if conn != nil {
				_ = conn.Close()
			}
		}
	})
	if err, ok := failed.Load().(error); ok {
		w.Fatal(err)
	}
	return conns
}

// clientsOf are those that a relay canister knows.
func (w *world) clientsOf(r relayed) []candid.ClientKey {
	w.Helper()
	reply, err := w.Client.Query(w.ctx(), w.identity, r.relay, "clients", candid.EncodeEmpty())
	w.must(err)
	values, err := candid.Decode(reply, candid.Limits{})
	w.must(err)
	list, ok := values[0].Vec()
	if !ok {
		w.Fatalf("clients: %x", reply)
	}
	keys := make([]candid.ClientKey, 0, len(list))
	for _, v := range list {
		principal, _ := v.Field("client_principal").Principal()
		nonce, _ := v.Field("client_nonce").Uint64()
		keys = append(keys, candid.ClientKey{Principal: principal, Nonce: nonce})
	}
	return keys
}

// TestSIGTERM ends a gateway with many clients by SIGTERM: each is told, new ones
// are refused meanwhile, the canisters are told of each, and it ends in time.
func TestSIGTERM(t *testing.T) {
	w := newWorld(t)
	s := newSetup(w)
	r := w.relayed(w.target(), func(s *relay.Settings) {
		s.AckInterval, s.KeepAliveTimeout = time.Minute, 30*time.Second
	})
	echo := w.builtinEcho()
	proxy := newFakeProxy(t, w.URL()) // counts
	s.write(proxy.url, r)
	p := s.run()
	start := time.Now()
	conns := gather(w, p.url, many, r.relay, echo)
	t.Logf("%d clients connected in %s", len(conns), time.Since(start).Round(time.Millisecond))
	if n := len(w.clientsOf(r)); n != many/2 {
		t.Fatalf("the relay canister knows %d clients, want %d", n, many/2)
	}

	p.terminate()
	var newcomers sync.WaitGroup
	var refused, gone atomic.Int64
	stop := make(chan struct{})
	newcomers.Go(func() {
		for {
			socket, response, err := websocket.DefaultDialer.Dial(p.url, nil)
			switch {
			case err == nil: // between the signal and its effect
				_ = socket.Close()
			case response != nil && response.StatusCode == http.StatusServiceUnavailable:
				refused.Add(1)
			default:
				gone.Add(1)
			}
			select {
			case <-stop:
				return
			case <-time.After(5 * time.Millisecond):
			}
		}
	})
	took := p.stops(stopTimeout + 5*time.Second)
	close(stop)
	newcomers.Wait()

	told := 0
	for _, conn := range conns {
		select {
		case <-conn.Done():
		case <-time.After(patience):
			t.Fatal("a client has not noticed the end")
		}
		var closed *client.CloseError
		if errors.As(conn.Err(), &closed) && closed.Remote && closed.Code == bridge.CloseGoingAway && closed.Reason != "" {
			told++
		}
	}
	if told != many {
		t.Errorf("%d of %d clients were told that the gateway stops", told, many)
	}
	if refused.Load() == 0 {
		t.Error("no newcomer was refused with 503 while the gateway stopped")
	}
	left := len(w.clientsOf(r))
	closes := proxy.good(question{r.relay, "ws_close"}) + proxy.good(question{echo, "ws_close"})
	untold := p.lines("canister not told")
	t.Logf("stopped after %s: %d clients told, %d ws_close calls, %d clients left in the relay canister, %d lines about canisters that were not told, %d newcomers refused with 503, %d after it",
		took.Round(time.Millisecond), told, closes, left, untold, refused.Load(), gone.Load())
	if closes+untold < many {
		t.Errorf("%d closes and %d lines about missing ones, want %d in all", closes, untold, many)
	}
	if untold == 0 && left > 0 {
		t.Errorf("%d clients are left in the relay canister", left)
	}
	if took < stopTimeout-time.Second && untold > 0 {
		t.Errorf("the gateway has given up %d closes though it had time", untold)
	}
}

// TestSIGTERMWithoutNetwork is the same without a network: the clients are told, the
// log says which canister was not told of whom, and it ends in time all the same.
func TestSIGTERMWithoutNetwork(t *testing.T) {
	t.Parallel()
	const size = 50
	w := newWorld(t)
	s := newSetup(w)
	r := w.relayed(w.target(), func(s *relay.Settings) {
		s.AckInterval, s.KeepAliveTimeout = time.Minute, 30*time.Second
	})
	line := newLine(t, w.URL())
	s.write(line.url(), r)
	p := s.run()
	conns := gather(w, p.url, size, r.relay, w.builtinEcho())
	line.cut()
	p.terminate()
	took := p.stops(stopTimeout + 5*time.Second)
	for _, conn := range conns {
		select {
		case <-conn.Done():
			wantClose(t, "a client", conn.Err(), way{bridge.CloseGoingAway, "stops"})
		case <-time.After(patience):
			t.Fatal("a client has not noticed the end")
		}
	}
	if n := p.lines("canister not told"); n != size {
		t.Errorf("%d lines about canisters that were not told, want %d", n, size)
	}
	t.Logf("stopped after %s", took.Round(time.Millisecond))
}
