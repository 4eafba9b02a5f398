package faults

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/icrelay/icrelay/adapters/cdk"
	"github.com/icrelay/icrelay/adapters/relay"
	"github.com/icrelay/icrelay/bridge"
	"github.com/icrelay/icrelay/candid"
	"github.com/icrelay/icrelay/client"
	"github.com/icrelay/icrelay/ic"
	"github.com/icrelay/icrelay/internal/testnet"
)

// A gateway is a whole one, but for its configuration file, with a recorder
// between it and the network.
type gateway struct {
	w        *world
	bridge   *bridge.Gateway
	recorder *recorder
	url      string // ws://
	http     string // http://
}

// plan is what a gateway is made of. The times are short, so that a test need
// not wait long for what takes a minute in earnest.
type plan struct {
	networkURL string
	relays     []relayed // besides these, any canister is taken for one with the CDK
	limits     bridge.Limits
	polling    bridge.Polling
	timeout    time.Duration // of one request to the network
}

func (w *world) plan(relays ...relayed) plan {
	return plan{
		networkURL: w.URL(),
		relays:     relays,
		limits: bridge.Limits{
			MaxConnectionsPerAddress: 5000, ConnectionRatePerAddress: 5000,
			CallTimeout: 20 * time.Second, PollTimeout: 2 * time.Second, StopTimeout: 5 * time.Second,
		},
		polling: bridge.Polling{Interval: 20 * time.Millisecond, IdleInterval: 200 * time.Millisecond, MaxBackoff: 2 * time.Second},
		timeout: 3 * time.Second,
	}
}

func (w *world) gateway(p plan) *gateway {
	w.Helper()
	g := &gateway{w: w}
	network, err := ic.NewClient(ic.Options{
		URL: p.networkURL, Verifier: w.Verifier, Timeout: p.timeout,
		Wrap: func(next http.RoundTripper) http.RoundTripper {
			g.recorder = newRecorder(next)
			return g.recorder
		},
	})
	w.must(err)
	routes := []bridge.Route{{Any: true, Name: "cdk", Adapter: cdk.New(network, w.identity)}}
	for _, r := range p.relays {
		r.settings.WatchInterval = 100 * time.Millisecond
		routes = append(routes, bridge.Route{Canister: r.relay, Name: "relay", Adapter: relay.New(network, w.identity, r.settings, w.log)})
	}
	g.bridge, err = bridge.New(bridge.Options{
		Principal: w.identity.Principal(),
		Routes:    routes,
		Verifier:  w.Verifier,
		Limits:    p.limits,
		Polling:   p.polling,
		Log:       w.log,
	})
	w.must(err)
	server := httptest.NewServer(g.bridge)
	g.http = server.URL
	g.url = "ws" + strings.TrimPrefix(server.URL, "http")
	w.Cleanup(func() {
		g.bridge.Stop(context.Background())
		server.Close()
		network.Close()
	})
	return g
}

// tryDial opens a connection with a new identity.
func (g *gateway) tryDial(ctx context.Context, canister candid.Principal) (*client.Conn, error) {
	return dial(ctx, g.w, g.url, canister, testnet.Identity(g.w))
}

func dial(ctx context.Context, w *world, url string, canister candid.Principal, identity ic.Identity) (*client.Conn, error) {
	return client.Dial(ctx, client.Options{URL: url, Canister: canister, Identity: identity, Verifier: w.Verifier})
}

// dial is tryDial where it has to work. The connection is idle.
func (g *gateway) dial(t *testing.T, canister candid.Principal) *client.Conn {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	conn, err := g.tryDial(ctx, canister)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// turnedAway wants that a new connection is refused in a way.
func (g *gateway) turnedAway(t *testing.T, canister candid.Principal, code int, part string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	conn, err := g.tryDial(ctx, canister)
	if err == nil {
		_ = conn.Close()
		t.Error("a new connection was opened")
		return
	}
	wantClose(t, "a new connection", err, way{code, part})
}

// ended waits for a connection's end, and wants that it is one of several.
func ended(t *testing.T, who string, conn *client.Conn, ways ...way) {
	t.Helper()
	select {
	case <-conn.Done():
		wantClose(t, who, conn.Err(), ways...)
		t.Logf("%s: %v", who, conn.Err())
	case <-time.After(patience):
		t.Fatalf("%s is not told within %s", who, patience)
	}
}

// A way is how a connection may end.
type way struct {
	code int
	part string // of the sentence
}

// wantClose wants that the gateway has ended a connection in one of several ways.
func wantClose(t *testing.T, who string, err error, ways ...way) {
	t.Helper()
	var closed *client.CloseError
	if errors.As(err, &closed) && closed.Remote {
		for _, way := range ways {
			if closed.Code == way.code && strings.Contains(closed.Reason, way.part) {
				return
			}
		}
	}
	t.Errorf("%s: %v, want one of %v", who, err, ways)
}

// stays wants that a connection is still open.
func stays(t *testing.T, who string, conn *client.Conn) {
	t.Helper()
	if err := conn.Err(); err != nil {
		t.Errorf("%s: %v", who, err)
	}
}
