//go:build unix

package plugin

import (
	"context"
	"errors"
	"log/slog"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/icrelay/icrelay/adapters/cdk"
	"github.com/icrelay/icrelay/bridge"
	"github.com/icrelay/icrelay/candid"
	"github.com/icrelay/icrelay/client"
	"github.com/icrelay/icrelay/ic"
	"github.com/icrelay/icrelay/internal/testlog"
	"github.com/icrelay/icrelay/internal/testnet"
)

// A town is a gateway with two canisters: one is reached with the built-in
// adapter, the other through a process that wraps it.
type town struct {
	*testing.T
	network *testnet.Network
	process *processBench
	gateway *bridge.Gateway
	url     string

	builtIn, wrapped candid.Principal
	stopped          bool
}

func newTown(t *testing.T, change func(*Config, *timing)) *town {
	t.Helper()
	network, identity := testnet.Start(t), testnet.Identity(t)
	c := &town{T: t, network: network, builtIn: network.Create(), wrapped: network.Create()}
	for _, id := range []candid.Principal{c.builtIn, c.wrapped} {
		network.InstallFile(id, testnet.EchoFile, candid.EncodeEmpty())
	}
	cfg, timing := config(t, ""), quick
	cfg.StartTimeout = patience
	if change != nil {
		change(&cfg, &timing)
	}
	log := new(testlog.Book)
	host := Host{Client: network.Client, Identity: identity, Gateway: identity.Principal(), Version: "test", Log: slog.New(slog.NewTextHandler(log, nil))}
	process, err := start(t.Context(), cfg, host, timing)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		process.Stop()
		if t.Failed() {
			t.Logf("log of the process:\n%.20000s", log)
		}
	})
	c.process = &processBench{t, process, log}
	base := cdk.New(network.Client, identity)
	adapter, err := process.Route(t.Context(), Route{Canister: c.wrapped, Base: base, BaseName: "cdk"})
	if err != nil {
		t.Fatal(err)
	}
	c.gateway, err = bridge.New(bridge.Options{
		Principal: identity.Principal(),
		Verifier:  network.Verifier,
		Routes: []bridge.Route{
			{Canister: c.builtIn, Adapter: base, Name: "cdk"},
			{Canister: c.wrapped, Adapter: adapter, Name: "trial"},
		},
		Polling: bridge.Polling{Interval: 5 * time.Millisecond, IdleInterval: 50 * time.Millisecond},
		Limits:  bridge.Limits{StopTimeout: 4 * time.Second},
		Log:     slog.New(slog.NewTextHandler(log, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(c.gateway)
	c.url = "ws" + strings.TrimPrefix(server.URL, "http")
	t.Cleanup(func() {
		c.stop()
		server.Close()
	})
	return c
}

func (c *town) stop() {
	if !c.stopped {
		c.stopped = true
		c.gateway.Stop(context.Background())
	}
}

func (c *town) dial(canister candid.Principal) (*client.Conn, error) {
	identity, err := ic.NewEd25519Identity()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(c.Context(), patience)
	defer cancel()
	return client.Dial(ctx, client.Options{URL: c.url, Canister: canister, Identity: identity, Verifier: c.network.Verifier})
}

func (c *town) open(canister candid.Principal) *client.Conn {
	c.Helper()
	conn, err := c.dial(canister)
	if err != nil {
		c.Fatal(err)
	}
	c.Cleanup(func() { _ = conn.Close() })
	return conn
}

// say sends a text and waits until it comes back.
func say(ctx context.Context, t testing.TB, conn *client.Conn, text string) error {
	content := textMessage(t, text)
	if err := conn.Send(ctx, content); err != nil {
		return err
	}
	answer, err := conn.Receive(ctx)
	if err == nil && string(answer) != string(content) {
		return errors.New("the echo is another text")
	}
	return err
}

// A neighbour talks with the other canister all the time: each message comes
// back, once and in order, or the test fails.
type neighbour struct {
	stop  context.CancelFunc
	done  sync.WaitGroup
	err   error
	times []time.Duration
}

func (c *town) neighbour() *neighbour {
	c.Helper()
	conn := c.open(c.builtIn)
	ctx, cancel := context.WithCancel(c.Context())
	n := &neighbour{stop: cancel}
	n.done.Go(func() {
		for ctx.Err() == nil {
			start := time.Now()
			if err := say(context.WithoutCancel(ctx), c, conn, "hello"); err != nil {
				n.err = err
				return
			}
			n.times = append(n.times, time.Since(start))
			_ = sleep(ctx, 5*time.Millisecond)
		}
	})
	return n
}

// unharmed ends the neighbour, who must have noticed nothing.
func (n *neighbour) unharmed(t *testing.T) {
	t.Helper()
	n.stop()
	n.done.Wait()
	if n.err != nil {
		t.Errorf("the neighbour's connection: %v", n.err)
	}
	if len(n.times) == 0 {
		t.Fatal("the neighbour has said nothing")
	}
	slices.Sort(n.times)
	longest := n.times[len(n.times)-1]
	t.Logf("neighbour: %d messages and their echoes, median %s, p99 %s, longest %s", len(n.times),
		n.times[len(n.times)/2].Round(100*time.Microsecond), n.times[len(n.times)*99/100].Round(100*time.Microsecond), longest.Round(100*time.Microsecond))
	if longest > patience/3 {
		t.Errorf("the neighbour had to wait %s for an echo", longest)
	}
}

// wantTryAgain waits for the end of a connection.
func wantTryAgain(t *testing.T, who string, conn *client.Conn) {
	t.Helper()
	select {
	case <-conn.Done():
	case <-time.After(patience):
		t.Fatalf("%s is still connected", who)
	}
	var closed *client.CloseError
	if err := conn.Err(); !errors.As(err, &closed) || closed.Code != bridge.CloseTryAgainLater || !strings.Contains(closed.Reason, "try again later") {
		t.Errorf("%s: closed with %v, want 1013 and \"try again later\"", who, err)
	}
}

// What a process does costs its own sessions, and nobody else anything: those
// who talk and those who only listen are told to try again later, soon can, and
// a client of another route notices nothing.
func TestFaults(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, fault, log string
		change           func(*Config, *timing)
	}{
		{"crashes", "crash", "exit status 7", nil},
		{"hangs", "hang", "it has not answered for", func(_ *Config, timing *timing) { timing.pingTimeout = 1500 * time.Millisecond }},
		{"leaks", "leak", "MiB of memory", func(c *Config, _ *timing) { c.Memory = 384 << 20 }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			c := newTown(t, tc.change)
			neighbour := c.neighbour()
			talks, listens := c.open(c.wrapped), c.open(c.wrapped)
			if err := say(t.Context(), t, talks, "hello"); err != nil {
				t.Fatal(err)
			}
			start := time.Now()
			_ = talks.Send(t.Context(), textMessage(t, "fault:"+tc.fault))
			wantTryAgain(t, "who talks", talks)
			wantTryAgain(t, "who listens", listens)
			ended := time.Since(start)
			eventually(t, "a new connection", func() bool {
				conn, err := c.dial(c.wrapped)
				if err != nil {
					return false
				}
				defer func() { _ = conn.Close() }()
				return say(t.Context(), t, conn, "hello again") == nil
			})
			t.Logf("told after %s, served again after %s", ended.Round(time.Millisecond), time.Since(start).Round(time.Millisecond))
			neighbour.unharmed(t)
			if !c.process.log.Contains(tc.log) {
				t.Errorf("the log does not say %q", tc.log)
			}
		})
	}
}

// Answers that nobody can use are errors like those of a network: sessions wait,
// and the one whose message was not taken is told.
func TestGarbage(t *testing.T) {
	t.Parallel()
	c := newTown(t, nil)
	neighbour := c.neighbour()
	talks, listens := c.open(c.wrapped), c.open(c.wrapped)
	if err := say(t.Context(), t, talks, "hello"); err != nil {
		t.Fatal(err)
	}
	_ = talks.Send(t.Context(), textMessage(t, "fault:garbage"))
	eventually(t, "polls fail", func() bool { return c.process.log.Contains("poll failed") })
	_ = talks.Send(t.Context(), textMessage(t, "hello"))
	wantTryAgain(t, "who talks", talks)
	neighbour.unharmed(t)
	select {
	case <-listens.Done():
		t.Errorf("who listens is closed: %v", listens.Err())
	default:
	}
}

// A process that logs, prints and calls as fast as it can is held up, and goes on.
func TestFlood(t *testing.T) {
	t.Parallel()
	c := newTown(t, func(cfg *Config, _ *timing) { cfg.MaxCalls = 8 })
	neighbour := c.neighbour()
	talks := c.open(c.wrapped)
	if err := say(t.Context(), t, talks, "fault:flood"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "calls are refused", func() bool { return c.process.log.Contains("max_calls") })
	eventually(t, "lines are dropped", func() bool { return c.process.Dropped() > 0 })
	if err := say(t.Context(), t, talks, "hello"); err != nil {
		t.Errorf("during the flood: %v", err)
	}
	neighbour.unharmed(t)
	if c.process.Restarts() != 0 {
		t.Error("it was started anew")
	}
}

// A process that hangs, or ignores that its calls were cancelled, holds up no
// stop: neither the gateway's nor its own.
func TestStopBeside(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ name, fault string }{{"it hangs", "hang"}, {"it is deaf", "deaf"}} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			c := newTown(t, func(_ *Config, timing *timing) { timing.pingTimeout = time.Hour })
			talks, other := c.open(c.wrapped), c.open(c.builtIn)
			_ = talks.Send(t.Context(), textMessage(t, "fault:"+tc.fault))
			eventually(t, "it is asked", func() bool {
				c.process.mu.Lock()
				defer c.process.mu.Unlock()
				return c.process.current.given.Load() > 1 // besides the watch
			})
			start := time.Now()
			c.stop()
			gateway := time.Since(start)
			c.process.Stop()
			all := time.Since(start)
			t.Logf("gateway stopped after %s, process after %s", gateway.Round(time.Millisecond), all.Round(time.Millisecond))
			if gateway > 4*time.Second+patience/5 || all-gateway > quick.grace+2*time.Second {
				t.Errorf("the gateway took %s and the process %s", gateway, all-gateway)
			}
			for _, conn := range []*client.Conn{talks, other} {
				<-conn.Done()
			}
		})
	}
}
