package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/icrelay/icrelay/adapters/cdk"
	"github.com/icrelay/icrelay/bridge"
	"github.com/icrelay/icrelay/candid"
	"github.com/icrelay/icrelay/internal/testnet"
	"github.com/icrelay/icrelay/localnet/echo"
)

// target is a gateway in this process in front of an embedded network.
type target struct {
	gateway  *bridge.Gateway
	url      string
	network  string
	canister candid.Principal
}

func newTarget(t *testing.T, limits bridge.Limits) *target {
	t.Helper()
	network := testnet.Start(t)
	id := network.Create()
	if err := network.InstallBuiltin(t.Context(), id, echo.New()); err != nil {
		t.Fatal(err)
	}
	identity := testnet.Identity(t)
	gateway, err := bridge.New(bridge.Options{
		Principal: identity.Principal(),
		Routes:    []bridge.Route{{Canister: id, Adapter: cdk.New(network.Client, identity)}},
		Verifier:  network.Verifier,
		Limits:    limits,
	})
	if err != nil {
		t.Fatal(err)
	}
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
		if err := <-served; err != http.ErrServerClosed { //nolint:errorlint // it is returned bare
			t.Error(err)
		}
	})
	return &target{gateway, "ws://" + listener.Addr().String(), network.URL(), id}
}

// options are small and quick.
func (g *target) options(pattern string, change func(*Options)) Options {
	o := Defaults()
	o.Gateway, o.Canister, o.Network = g.url, g.canister.String(), g.network
	o.Pattern = pattern
	o.Clients = 5
	o.Ramp = 0
	o.Duration = 300 * time.Millisecond
	o.Settle = 0
	if change != nil {
		change(&o)
	}
	return o
}

func (g *target) run(t *testing.T, o Options) *Report {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	report, err := Run(ctx, o)
	if err != nil {
		t.Fatal(err)
	}
	return report
}

func TestPatterns(t *testing.T) {
	g := newTarget(t, bridge.Limits{ConnectionRate: 10_000})
	for name, test := range map[string]struct {
		pattern string
		change  func(*Options)
		check   func(t *testing.T, r *Report)
	}{
		"idle": {"idle", nil, func(t *testing.T, r *Report) {
			if r.Messages.Sent+r.Messages.Received != 0 {
				t.Errorf("messages: %+v", r.Messages)
			}
		}},
		"echo": {"echo", nil, everythingCame(1)},
		"echo of blobs, several in flight": {"echo", func(o *Options) {
			o.Content, o.InFlight, o.Size, o.CheckEvery = "blob", 4, 5000, 10
		}, everythingCame(1)},
		"echo at a rate": {"echo", func(o *Options) { o.Rate, o.Duration = 100, time.Second }, func(t *testing.T, r *Report) {
			everythingCame(1)(t, r)
			if m := r.Messages; m.Sent < 90 || m.Sent+m.NotSent != 100 {
				t.Errorf("%d messages in a second and %d too late, want 100", m.Sent, m.NotSent)
			}
		}},
		"send": {"send", nil, oneOf16},
		"send at a rate": {"send", func(o *Options) { o.Rate, o.Duration = 400, 900*time.Millisecond }, func(t *testing.T, r *Report) {
			oneOf16(t, r)
			if m := r.Messages; m.Sent < 5*16 || m.Sent+m.Unconfirmed+m.NotSent != 360 || m.Unconfirmed == 0 {
				t.Errorf("%d messages, %d unconfirmed, %d too late, want 360", m.Sent, m.Unconfirmed, m.NotSent)
			}
		}},
		"fan-out": {"fanout", func(o *Options) { o.Content = `variant { Everybody = "{payload}" }` }, everythingCame(5)},
		"fan-out at a rate": {"fanout", func(o *Options) {
			o.Content, o.Rate = `(variant { Everybody = "{payload}" })`, 50
		}, everythingCame(5)},
		"churn": {"churn", nil, func(t *testing.T, r *Report) {
			if r.Opens.Number < 5 || r.Messages.Received == 0 || r.Messages.Received > r.Opens.Number {
				t.Errorf("%d opens, %d answers", r.Opens.Number, r.Messages.Received)
			}
		}},
		"churn at a rate": {"churn", func(o *Options) { o.Ramp, o.Duration = 20, time.Second }, func(t *testing.T, r *Report) {
			if r.Opens.Number < 10 || r.Opens.Number > 20 {
				t.Errorf("%d opens in a second, want about 20", r.Opens.Number)
			}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			r := g.run(t, g.options(test.pattern, test.change))
			if r.Errors != 0 || r.Interrupted {
				t.Errorf("interrupted: %t, errors: %+v", r.Interrupted, r.Failures)
			}
			if test.pattern != "churn" && r.Opens.Number != 5 {
				t.Errorf("%d opens, want 5", r.Opens.Number)
			}
			if l := r.Opens.Latency; l.P50 <= 0 || l.P99 < l.P50 || l.Max < l.P99 {
				t.Errorf("latency of opens: %+v", l)
			}
			test.check(t, r)
		})
	}
}

// everythingCame wants so many arrivals of each message.
func everythingCame(arrivals uint64) func(t *testing.T, r *Report) {
	return func(t *testing.T, r *Report) {
		t.Helper()
		m := r.Messages
		if m.Sent == 0 || m.Received != m.Sent*arrivals || m.Strange != 0 {
			t.Errorf("%d sent, %d received, %d strange", m.Sent, m.Received, m.Strange)
		}
		if r.Self.SignedLate != 0 {
			t.Errorf("%d messages were signed while the clock ran", r.Self.SignedLate)
		}
		if m.BytesIn < 300 || m.BytesOut < 300 {
			t.Errorf("bytes of a frame: %.0f in, %.0f out", m.BytesIn, m.BytesOut)
		}
		if l := m.Latency; l.P50 <= 0 || l.P99 < l.P50 || l.Max < l.P99 {
			t.Errorf("latency: %+v", l)
		}
	}
}

// oneOf16 wants one arrival for each 16 messages.
func oneOf16(t *testing.T, r *Report) {
	t.Helper()
	if m := r.Messages; m.Received == 0 || m.Sent != 16*m.Received || m.Strange != 0 {
		t.Errorf("%d sent, %d received, %d strange", m.Sent, m.Received, m.Strange)
	}
}

func TestFailures(t *testing.T) {
	t.Run("refused", func(t *testing.T) {
		g := newTarget(t, bridge.Limits{MaxConnections: 3})
		r := g.run(t, g.options("idle", nil))
		if r.Errors != 2 || r.Opens.Number != 3 || r.Failures[0].Kind != "refused with HTTP 503" || r.Failures[0].Count != 2 {
			t.Errorf("%d opens, %+v", r.Opens.Number, r.Failures)
		}
	})
	t.Run("nobody there", func(t *testing.T) {
		g := newTarget(t, bridge.Limits{})
		r := g.run(t, g.options("echo", func(o *Options) { o.Gateway = "ws://127.0.0.1:1" }))
		if r.Errors != 5 || r.Failures[0].Kind != "connection refused" {
			t.Errorf("%+v", r.Failures)
		}
	})
	t.Run("closed while it runs", func(t *testing.T) {
		g := newTarget(t, bridge.Limits{FrameRate: 50, FrameBurst: 50})
		r := g.run(t, g.options("echo", func(o *Options) { o.Clients, o.InFlight, o.Duration = 1, 200, 2*time.Second }))
		if r.Errors == 0 || !strings.Contains(fmt.Sprint(r.Failures), "closed with code 1013") {
			t.Errorf("%+v", r.Failures)
		}
	})
	t.Run("no such canister", func(t *testing.T) {
		g := newTarget(t, bridge.Limits{})
		r := g.run(t, g.options("idle", func(o *Options) { o.Canister = "ryjl3-tyaaa-aaaaa-aaaba-cai" }))
		if r.Errors != 5 || !strings.HasPrefix(r.Failures[0].Kind, "closed with code 42") {
			t.Errorf("%+v", r.Failures)
		}
	})
}

// TestChurnOfADeadGateway: who is let in and then ignored is an error, although
// the time is over before anybody has lost patience.
func TestChurnOfADeadGateway(t *testing.T) {
	g := newTarget(t, bridge.Limits{})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }() // nobody accepts
	var progress bytes.Buffer
	r := g.run(t, g.options("churn", func(o *Options) {
		o.Gateway, o.OpenTimeout = "ws://"+listener.Addr().String(), 1200*time.Millisecond
		o.Progress, o.Line = &progress, true
	}))
	if !strings.Contains(progress.String(), "draining  opened 0  ") {
		t.Errorf("progress %q", progress.String())
	}
	if r.Errors != 5 || r.Opens.Number != 0 || r.Seconds > .9 {
		t.Errorf("%d opens, %.2f s, %d errors: %+v", r.Opens.Number, r.Seconds, r.Errors, r.Failures)
	}
}

// TestTableOfAGatewaysWords: what a gateway says stays within its line.
func TestTableOfAGatewaysWords(t *testing.T) {
	r := &Report{Errors: 1, Failures: []Failure{{Kind: "closed", Count: 1, First: "\x1b[2J\nerrors      none\r"}}}
	var table bytes.Buffer
	if err := r.WriteTable(&table); err != nil {
		t.Fatal(err)
	}
	if text := table.String(); strings.ContainsAny(text, "\x1b\r") || strings.Contains(text, "\nerrors      none") {
		t.Errorf("%q", text)
	}
}

// TestTableOfWhatIsNotKnown: it is left out.
func TestTableOfWhatIsNotKnown(t *testing.T) {
	p := unknown()
	r := &Report{Pattern: "echo", Process: &p}
	var table bytes.Buffer
	if err := r.WriteTable(&table); err != nil {
		t.Fatal(err)
	}
	text := table.String()
	if !strings.Contains(text, "generator   every message's certification verified") || strings.Contains(text, "NaN") || strings.Contains(text, "\ncpu") {
		t.Errorf("%s", text)
	}
}

func TestNoAnswerText(t *testing.T) {
	if nothing, something := noAnswerText(0, "text"), noAnswerText(1, "text"); !strings.Contains(nothing, "does the canister") || strings.Contains(something, "does the canister") {
		t.Errorf("%q, %q", nothing, something)
	}
}

// TestInterrupted: the end of the context is no error, and what was measured is reported.
func TestInterrupted(t *testing.T) {
	g := newTarget(t, bridge.Limits{})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	r, err := Run(ctx, g.options("echo", func(o *Options) {
		o.Duration, o.Rate, o.Line = time.Hour, 20, true
		o.Progress = whenReceived(cancel)
	}))
	if err != nil {
		t.Fatal(err)
	}
	if !r.Interrupted || r.Errors != 0 || r.Messages.Received == 0 || r.Seconds > 30 {
		t.Errorf("%+v", r)
	}
}

// whenReceived is a progress that calls a function when messages have come.
type whenReceived func()

func (f whenReceived) Write(line []byte) (int, error) {
	if text := string(line); strings.Contains(text, "received") && !strings.Contains(text, "received 0/s") {
		f()
	}
	return len(line), nil
}

// TestReport: the table and the JSON have what was measured, and so has the progress.
func TestReport(t *testing.T) {
	g := newTarget(t, bridge.Limits{})
	var progress bytes.Buffer
	r := g.run(t, g.options("echo", func(o *Options) {
		o.PID, o.Progress, o.Line, o.Duration, o.CheckEvery = os.Getpid(), &progress, true, 1500*time.Millisecond, 7
	}))
	if p := r.Process; p == nil || p.Gone || p.RSSBefore < 1<<20 || p.RSSEnd < 1<<20 || p.Cores <= 0 || p.CPUPerMessage <= 0 {
		t.Errorf("process %+v", p)
	}
	var table, text bytes.Buffer
	if err := r.WriteTable(&table); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"echo, 5 clients, 100 bytes", "5 of 5", "p99", "bytes a frame", "MB before", "of a core", "1 in 7", "errors      none"} {
		if !strings.Contains(table.String(), want) {
			t.Errorf("the table lacks %q:\n%s", want, table.String())
		}
	}
	if err := r.WriteJSON(&text); err != nil {
		t.Fatal(err)
	}
	var back Report
	for _, want := range []string{`"content": "text"`, `"duration_seconds": 1.5`, `"settle_seconds": 0`, `"seed": 0`, `"open_timeout_seconds": 60`, `"rate": 0`} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("the JSON lacks %s:\n%s", want, text.String())
		}
	}
	if err := json.Unmarshal(text.Bytes(), &back); err != nil || back.Messages != r.Messages || back.Opens != r.Opens || *back.Process != *r.Process {
		t.Errorf("as JSON: %v, %s", err, text.String())
	}
	if got := progress.String(); !strings.Contains(got, "open 5/5") || !strings.HasSuffix(got, "\r\x1b[K") {
		t.Errorf("progress %q", got)
	}
}
