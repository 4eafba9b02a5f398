package plugincost

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/icrelay/icrelay/adapters/cdk"
	"github.com/icrelay/icrelay/adapters/plugin"
	"github.com/icrelay/icrelay/adapters/plugin/sdk"
	"github.com/icrelay/icrelay/bridge"
	"github.com/icrelay/icrelay/candid"
	"github.com/icrelay/icrelay/client"
	"github.com/icrelay/icrelay/internal/testnet"
	"github.com/icrelay/icrelay/localnet/echo"
)

// TestMain makes this program the adapter where the relay starts it as one: it
// passes every call of every method on, so that each crosses to this process and
// back to the base.
func TestMain(m *testing.M) {
	if os.Getenv("ICRELAY_ADAPTER") != "" {
		sdk.Serve(func(_ context.Context, route *sdk.Route) (any, error) { return route.Base, nil })
		return
	}
	goleak.VerifyTestMain(m)
}

// What is promised: measured with PLUGIN_COST=1, on a machine that does nothing
// else. A short run beside other tests wants less, of the median.
const (
	leastThroughput = 0.5
	mostDelay       = time.Millisecond // at p99

	leastOfBusy   = 0.1
	mostOfBusy    = 250 * time.Millisecond // at p50
	mostProcessor = 2.5                    // of the time for the built-in adapter, clients and network included
)

// A side is one of the two that are compared: clients of a canister that is
// reached by one of the adapters.
type side struct {
	name    string
	conns   []*client.Conn
	rates   []float64       // round trips a second, of each round
	delays  []time.Duration // of all round trips that had time
	message []byte

	pid   string        // of the plugin's process
	spent time.Duration // by all processes while it rushed
	trips int
}

// TestCost compares a route with a built-in adapter and one with the same
// adapter as a plugin: the same gateway, network and clients, by turns.
func TestCost(t *testing.T) {
	full := os.Getenv("PLUGIN_COST") != ""
	clients, rounds, time1 := 10, 2, 300*time.Millisecond
	if full {
		clients, rounds, time1 = 40, 10, 2*time.Second
	}
	builtin, own := sides(t, clients)
	for _, s := range []*side{builtin, own} { // to warm up
		s.rush(t, time1)
		s.rates, s.spent, s.trips = nil, 0, 0
	}
	for n := range rounds {
		for i := range 2 {
			s := builtin
			if (n+i)%2 == 1 {
				s = own
			}
			s.rush(t, time1)
			s.stroll(t, time1)
		}
	}
	ratio := median(own.rates) / median(builtin.rates)
	later := func(p int) time.Duration { return own.percentile(p) - builtin.percentile(p) }
	for _, s := range []*side{builtin, own} {
		t.Logf("%-9s %6.0f messages/s each way   p50 %-8s p99 %-8s (%d round trips, %d clients)", s.name, median(s.rates),
			s.percentile(50).Round(10*time.Microsecond), s.percentile(99).Round(10*time.Microsecond), len(s.delays), clients)
	}
	if _, known := processor(own.pid); known {
		times := float64(own.perTrip()) / float64(builtin.perTrip())
		t.Logf("processor time of a message each way, clients and network included: built-in %s, plugin %s", builtin.perTrip(), own.perTrip())
		if times > mostProcessor {
			t.Errorf("%.1f times the processor time, want at most %.1f", times, mostProcessor)
		}
	}
	ms := func(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
	t.Logf("as a plugin: %.0f%% of the throughput, p50 %+.2f ms, p99 %+.2f ms", 100*ratio, ms(later(50)), ms(later(99)))

	least, most, at := leastOfBusy, mostOfBusy, 50
	if full {
		least, most, at = leastThroughput, mostDelay, 99
	}
	if ratio < least {
		t.Errorf("%.0f%% of the throughput, want at least %.0f%%", 100*ratio, 100*least)
	}
	if later(at) > most {
		t.Errorf("p%d is %s more, want at most %s", at, later(at), most)
	}
}

// sides starts a gateway with a route of each kind, and clients of both.
func sides(t *testing.T, clients int) (builtin, own *side) {
	t.Helper()
	network := testnet.Start(t)
	identity := testnet.Identity(t)
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	pid := new(atomic.Value)
	process, err := plugin.Start(t.Context(), plugin.Config{Name: "plugin", Command: []string{program}, Dir: t.TempDir()},
		plugin.Host{Client: network.Client, Identity: identity, Gateway: identity.Principal(), Log: slog.New(listener{pid: pid})})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(process.Stop)
	started, _ := pid.Load().(string)
	canisters := make([]candid.Principal, 2)
	for i := range canisters {
		canisters[i] = network.Create()
		if err := network.InstallBuiltin(t.Context(), canisters[i], echo.New()); err != nil {
			t.Fatal(err)
		}
	}
	adapter, err := process.Route(t.Context(), plugin.Route{Canister: canisters[1], Base: cdk.New(network.Client, identity), BaseName: "cdk"})
	if err != nil {
		t.Fatal(err)
	}
	gateway, err := bridge.New(bridge.Options{
		Principal: identity.Principal(),
		Verifier:  network.Verifier,
		Routes: []bridge.Route{
			{Canister: canisters[0], Name: "built-in", Adapter: cdk.New(network.Client, identity)},
			{Canister: canisters[1], Name: "plugin", Adapter: adapter},
		},
		Limits: bridge.Limits{MaxConnectionsPerAddress: 1000, ConnectionBurstPerAddress: 1000, FrameRate: 1 << 20, ByteRate: 1 << 27},
		Log:    slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	url := serve(t, gateway)
	builtin, own = &side{name: "built-in", pid: started}, &side{name: "plugin", pid: started}
	for i, s := range []*side{builtin, own} {
		s.message = []byte("DIDL\x00\x01\x71\x40" + fmt.Sprintf("%064d", 0)) // a text of 64 letters
		for range clients {
			s.conns = append(s.conns, dial(t, url, canisters[i], network))
		}
	}
	return builtin, own
}

func serve(t *testing.T, gateway *bridge.Gateway) (url string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := gateway.Server()
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	t.Cleanup(func() {
		gateway.Stop(context.Background())
		_ = server.Close()
		if err := <-served; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
	return "ws://" + listener.Addr().String()
}

func dial(t *testing.T, url string, canister candid.Principal, network *testnet.Network) *client.Conn {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	conn, err := client.Dial(ctx, client.Options{
		URL: url, Canister: canister, Identity: testnet.Identity(t), Verifier: network.Verifier,
		CheckEvery: 1 << 20, // the gateway is what is measured
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// roundTrip sends a message and waits until it is back.
func (s *side) roundTrip(ctx context.Context, conn *client.Conn) (time.Duration, error) {
	start := time.Now()
	if err := conn.Send(ctx, s.message); err != nil {
		return 0, err
	}
	_, err := conn.Receive(ctx)
	return time.Since(start), err
}

// rush has every client send its next message when the last one is back.
func (s *side) rush(t *testing.T, lasting time.Duration) {
	t.Helper()
	before, _ := processor(s.pid)
	trips := s.all(t, func(ctx context.Context, conn *client.Conn, end time.Time) (delays []time.Duration, err error) {
		for time.Now().Before(end) {
			delay, err := s.roundTrip(ctx, conn)
			if err != nil {
				return nil, err
			}
			delays = append(delays, delay)
		}
		return delays, nil
	}, lasting)
	s.rates = append(s.rates, float64(len(trips))/lasting.Seconds())
	after, _ := processor(s.pid)
	s.spent += after - before
	s.trips += len(trips)
}

// pause is that between two messages of a client that has time: well below what
// the gateway can do, so that nobody waits for others.
const pause = 400 * time.Millisecond

// stroll has every client send a message now and then.
func (s *side) stroll(t *testing.T, lasting time.Duration) {
	t.Helper()
	s.delays = append(s.delays, s.all(t, func(ctx context.Context, conn *client.Conn, end time.Time) (delays []time.Duration, err error) {
		next := time.Now().Add(rand.N(pause)) //nolint:gosec // nothing depends on it
		for next.Before(end) {
			select {
			case <-time.After(time.Until(next)):
			case <-ctx.Done():
				return nil, ctx.Err()
			}
			delay, err := s.roundTrip(ctx, conn)
			if err != nil {
				return nil, err
			}
			delays = append(delays, delay)
			next = next.Add(pause)
		}
		return delays, nil
	}, lasting)...)
}

// all runs a client's part for all clients at once.
func (s *side) all(t *testing.T, part func(ctx context.Context, conn *client.Conn, end time.Time) ([]time.Duration, error), lasting time.Duration) []time.Duration {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), lasting+time.Minute)
	defer cancel()
	end := time.Now().Add(lasting)
	parts, errs := make([][]time.Duration, len(s.conns)), make([]error, len(s.conns))
	var group sync.WaitGroup
	for i, conn := range s.conns {
		group.Go(func() { parts[i], errs[i] = part(ctx, conn, end) })
	}
	group.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatalf("%s: %v", s.name, err)
	}
	return slices.Concat(parts...)
}

// perTrip is the processor time of one round trip.
func (s *side) perTrip() time.Duration {
	return (s.spent / time.Duration(max(1, s.trips))).Round(time.Microsecond)
}

func (s *side) percentile(p int) time.Duration {
	if len(s.delays) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(s.delays))
	return sorted[(len(sorted)-1)*p/100]
}

func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[len(sorted)/2]
}
