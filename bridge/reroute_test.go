package bridge

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/icrelay/icrelay/candid"
)

// A wrapped canister is another adapter for the same canister, which counts
// what goes through it.
type wrapped struct {
	*testCanister
	messages, watches atomic.Int64
	watching          atomic.Int64 // watches under way
}

func (w *wrapped) Message(ctx context.Context, env Envelope) error {
	w.messages.Add(1)
	return w.testCanister.Message(ctx, env)
}

func (w *wrapped) Watch(ctx context.Context, _ candid.Principal, _ func()) error {
	w.watches.Add(1)
	w.watching.Add(1)
	defer w.watching.Add(-1)
	<-ctx.Done()
	return ctx.Err()
}

func (b *bench) setRoutes(routes ...Route) {
	b.Helper()
	if err := b.gateway.SetRoutes(routes); err != nil {
		b.Fatal(err)
	}
}

// Other settings of a route: its sessions go on, through the new adapter.
func TestRouteChanges(t *testing.T) {
	first, second := new(wrapped), new(wrapped)
	b := newBench(t, func(o *Options, c *testCanister) {
		first.testCanister, second.testCanister = c, c
		o.Routes = []Route{{Canister: c.id, Adapter: first, Name: "test"}}
	})
	p := b.open()
	p.send("one")
	b.eventually("a message through the first adapter", func() bool { return first.messages.Load() == 1 && first.watching.Load() == 1 })

	b.setRoutes(Route{Canister: b.canister.id, Adapter: second, Name: "test"})
	b.eventually("the other adapter watches alone", func() bool { return second.watching.Load() == 1 && first.watching.Load() == 0 })
	p.send("two")
	b.eventually("a message through the second adapter", func() bool { return second.messages.Load() == 1 })
	b.canister.send(p.key, []byte("still here"))
	if m := p.message(); string(m.Content) != "still here" {
		t.Errorf("got %q", m.Content)
	}
	b.open().send("three")
	b.eventually("a new session's message through the second adapter", func() bool { return second.messages.Load() == 2 })
	if n := first.messages.Load(); n != 1 {
		t.Errorf("%d messages through the first adapter", n)
	}

	// The same again is no change.
	b.setRoutes(Route{Canister: b.canister.id, Adapter: second, Name: "test"})
	b.canister.send(p.key, []byte("still here"))
	p.message()
	if n := second.watches.Load(); n != 1 {
		t.Errorf("%d watches were begun for one adapter", n)
	}
}

// Sessions end when their canister has no route any more, and when it is
// reached by another adapter; others do not notice.
func TestRouteGoes(t *testing.T) {
	other := Route{Canister: candid.Principal("\x00\x00\x00\x00\x00\x00\x00\x09\x01\x01"), Name: "test"}
	tests := []struct {
		name string
		next func(c *testCanister) []Route
		code int
		part string
	}{
		{"removed", func(*testCanister) []Route { return []Route{other} }, CloseNotRouted, "no route"},
		{"all removed", func(*testCanister) []Route { return nil }, CloseNotRouted, "no route"},
		{"denied", func(c *testCanister) []Route {
			return []Route{{Any: true, Deny: []candid.Principal{c.id}, Adapter: c, Name: "test"}}
		}, CloseNotRouted, "does not serve"},
		{"another adapter", func(c *testCanister) []Route { return []Route{{Canister: c.id, Adapter: c, Name: "other"}} }, CloseRouteChanged, "reconnect"},
		{"another process of a stateful adapter", func(c *testCanister) []Route {
			return []Route{{Canister: c.id, Adapter: &wrapped{testCanister: c}, Name: "test", Stateful: true}}
		}, CloseRouteChanged, "reconnect"},
		{"the same stateful adapter", func(c *testCanister) []Route {
			return []Route{{Canister: c.id, Adapter: c, Name: "test", Stateful: true}}
		}, 0, ""},
		{"served by the route for any canister", func(c *testCanister) []Route { return []Route{{Any: true, Adapter: c, Name: "test"}} }, 0, ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			b := newBench(t, nil)
			other.Adapter = b.canister
			p, waiting := b.open(), b.dial()
			b.setRoutes(test.next(b.canister)...)
			if test.code == 0 {
				b.canister.send(p.key, []byte("still here"))
				if m := p.message(); string(m.Content) != "still here" {
					t.Errorf("got %q", m.Content)
				}
				return
			}
			p.closed(test.code, test.part)
			b.eventually("the canister is told", func() bool { return get(b.canister, func() bool { return b.canister.closed[p.key] == 1 }) })
			waiting.write(waiting.sign(waiting.openEnvelope())) // had no canister yet: the new routes are what counts
			if test.code == CloseNotRouted {
				waiting.closed(CloseNotRouted, test.part)
			} else if m := waiting.message(); !m.IsServiceMessage {
				t.Errorf("got %+v", m)
			}
			b.setRoutes(Route{Canister: b.canister.id, Adapter: b.canister, Name: "test"})
			back := b.open()
			b.canister.send(back.key, []byte("back"))
			if m := back.message(); string(m.Content) != "back" {
				t.Errorf("got %q", m.Content)
			}
		})
	}
}

// Routes that cannot be are refused as a whole.
func TestRoutesRefused(t *testing.T) {
	b := newBench(t, nil)
	p := b.open()
	route := Route{Canister: b.canister.id, Adapter: b.canister, Name: "test"}
	for name, routes := range map[string][]Route{
		"no adapter":   {{Canister: b.canister.id}},
		"twice":        {route, route},
		"two for any":  {{Any: true, Adapter: b.canister}, {Any: true, Adapter: b.canister}},
		"deny on one":  {{Canister: b.canister.id, Adapter: b.canister, Deny: []candid.Principal{b.canister.id}}},
		"one of a few": {{Any: true, Adapter: b.canister}, {Canister: b.canister.id}},
	} {
		if err := b.gateway.SetRoutes(routes); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	b.canister.send(p.key, []byte("still here"))
	if m := p.message(); string(m.Content) != "still here" {
		t.Errorf("got %q", m.Content)
	}
}

func TestInfoFollowsRoutes(t *testing.T) {
	b := newBench(t, nil)
	b.setRoutes(Route{Any: true, Adapter: b.canister, Name: "other"})
	recorder := httptest.NewRecorder()
	b.gateway.ServeHTTP(recorder, httptest.NewRequest(http.MethodGet, "/info", nil))
	var info Info
	if err := json.NewDecoder(recorder.Body).Decode(&info); err != nil {
		t.Fatal(err)
	}
	if len(info.Routes) != 1 || info.Routes[0] != (RouteInfo{Canister: "*", Adapter: "other"}) {
		t.Errorf("routes %v", info.Routes)
	}
	if info.GatewayPrincipal != b.canister.gateway.String() {
		t.Errorf("principal %s", info.GatewayPrincipal)
	}
}

// Routes change back and forth while clients come, talk and go.
func TestRoutesChangeUnderLoad(t *testing.T) {
	b := newBench(t, nil)
	id := b.canister.id
	stop := make(chan struct{})
	var changing sync.WaitGroup
	changing.Go(func() {
		for n := 0; ; n++ {
			select {
			case <-stop:
				return
			default:
			}
			route := Route{Canister: id, Adapter: &wrapped{testCanister: b.canister}, Name: "test"}
			if n%2 == 0 {
				route = Route{Any: true, Adapter: b.canister, Name: "test"}
			}
			if err := b.gateway.SetRoutes([]Route{route}); err != nil {
				t.Error(err)
				return
			}
		}
	})
	for n := range 20 {
		p := b.open()
		text := fmt.Sprint(n)
		p.send(text)
		b.canister.send(p.key, []byte(text))
		if m := p.message(); string(m.Content) != text {
			t.Errorf("got %q, want %s", m.Content, text)
		}
		_ = p.conn.Close()
	}
	close(stop)
	changing.Wait()
	b.eventually("20 messages", func() bool { return get(b.canister, func() bool { return len(b.canister.received) == 20 }) })
	b.setRoutes()
	b.eventually("nothing is left", func() bool { return b.gateway.canisters() == 0 })
}
