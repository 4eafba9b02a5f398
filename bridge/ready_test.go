package bridge

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/icrelay/icrelay/candid"
)

// ready asks GET /ready.
func (b *bench) ready() (status int, text string, problems int) {
	b.Helper()
	response, err := http.Get(b.server.URL + "/ready")
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	var body struct {
		Status   string `json:"status"`
		Problems int    `json:"routes_with_problems"`
	}
	if err := json.NewDecoder(response.Body).Decode(&body); err != nil {
		b.Fatal(err)
	}
	return response.StatusCode, body.Status, body.Problems
}

func (b *bench) wantReady(status int, part string, problems int) {
	b.Helper()
	if s, text, p := b.ready(); s != status || !strings.Contains(text, part) || p != problems {
		b.Errorf("ready: %d %q with %d problems, want %d %q with %d", s, text, p, status, part, problems)
	}
}

// A checkedCanister is an Adapter that looks at its canister.
type checkedCanister struct {
	*testCanister
	problem error
}

func (c checkedCanister) Check(context.Context, candid.Principal) error { return c.problem }

func TestReady(t *testing.T) {
	var reached atomic.Int64
	var down atomic.Bool
	b := newBench(t, func(o *Options, c *testCanister) {
		o.Routes[0].Adapter = checkedCanister{c, errors.New("it has no ws_open")}
		o.Reachable = func(context.Context) error {
			reached.Add(1)
			if down.Load() {
				return errors.New("connection refused")
			}
			return nil
		}
	})
	b.wantReady(http.StatusServiceUnavailable, "being checked", 0)
	if err := b.gateway.Check(t.Context()); err == nil {
		t.Error("the check found nothing")
	}
	down.Store(true)
	b.wantReady(http.StatusServiceUnavailable, "network cannot be reached", 1)
	down.Store(false)
	b.eventually("the network is back", func() bool { s, _, _ := b.ready(); return s == http.StatusOK })
	before := reached.Load()
	for range 20 {
		b.wantReady(http.StatusOK, "ready", 1)
	}
	if n := reached.Load() - before; n > 1 {
		t.Errorf("20 questions cost the network %d requests", n)
	}
	b.stop()
	b.wantReady(http.StatusServiceUnavailable, "stopping", 1)
}

// A network that does not answer is not waited for long, and a stop not at all.
func TestReadyUnanswered(t *testing.T) {
	entered := make(chan struct{})
	b := newBench(t, func(o *Options, _ *testCanister) {
		o.Reachable = func(ctx context.Context) error {
			if _, ok := ctx.Deadline(); !ok {
				t.Error("there is no deadline")
			}
			close(entered)
			<-ctx.Done()
			return ctx.Err()
		}
	})
	if err := b.gateway.Check(t.Context()); err != nil {
		t.Fatal(err)
	}
	done := make(chan int, 1)
	go func() {
		status, _, _ := b.ready()
		done <- status
	}()
	<-entered
	b.stop()
	select {
	case status := <-done:
		if status != http.StatusServiceUnavailable {
			t.Errorf("status %d", status)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("no answer")
	}
}
