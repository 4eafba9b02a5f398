package soak

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"github.com/icrelay/icrelay/candid"
)

// Short intervals at the end, so that what is to be cleaned up is cleaned up soon.
const (
	lastAckInterval      = 3 * time.Second
	lastKeepAliveTimeout = 2500 * time.Millisecond
)

// finish waits until everything has arrived, compares, has everybody leave, and
// looks at what is left.
func (w *world) finish(ctx context.Context) {
	w.t.Helper()
	w.t.Logf("%s: everybody has finished", w.progress())
	w.configure(lastAckInterval, lastKeepAliveTimeout)
	for _, s := range w.all() {
		s.stayed = s.isOpen()
	}
	w.excuse()
	w.until("all messages are acknowledged", w.acknowledged)
	// By then everything that was on its way before has come, what comes twice included.
	w.everybodySpeaks(ctx)
	w.settled(func() []string { return w.read().check(false) })
	w.everybodySpeaks(ctx)
	w.report(w.read().check(false))
	w.until("the gateways' queues are short", func() bool {
		status, err := w.status()
		return err == nil && status.inFlight+status.waiting == 0 && status.queued <= uint64(5*w.size.clients) //nolint:gosec // small
	})

	for i, c := range w.workers {
		if c.session.isOpen() {
			if i%2 == 0 {
				c.session.close()
			} else {
				c.session.kill(c.socket)
			}
		}
	}
	w.until("the canister has forgotten everybody", func() bool {
		status, err := w.status()
		return err == nil && status.clients+status.inFlight+status.waiting == 0 && status.gateways == 0
	})
	w.until("the gateways have forgotten everybody", func() bool {
		for _, g := range w.gateways {
			if g.connections() > 0 {
				return false
			}
		}
		return true
	})
	if longest, bound := w.longest.Load(), max(4_000, w.heard.Load()/4); longest > bound {
		w.t.Errorf("%d messages were in the gateways' queues, more than %d: what was delivered is not dropped", longest, bound)
	}
	h := w.read()
	w.report(h.check(true))
	w.summary(h)
}

// settled waits until there is nothing to complain about, or for a while.
func (w *world) settled(check func() []string) {
	for deadline := time.Now().Add(patience / 3); len(check()) > 0 && time.Now().Before(deadline); {
		time.Sleep(200 * time.Millisecond)
	}
}

func (w *world) report(problems []string) {
	w.t.Helper()
	if len(problems) > 0 {
		w.t.Fatalf("%s:\n%s", w.progress(), strings.Join(problems, "\n"))
	}
}

// connections is how many sockets the gateway says it has.
func (g *gateway) connections() int {
	g.t.Helper()
	response, err := http.Get("http" + strings.TrimPrefix(g.address(), "ws") + "health")
	if err != nil {
		g.t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	var health struct{ Connections int }
	if err := json.NewDecoder(response.Body).Decode(&health); err != nil {
		g.t.Fatal(err)
	}
	return health.Connections
}

// memory is how many bytes a canister's memory has.
func (w *world) memory(id candid.Principal) uint64 {
	arg, err := candid.NewBuilder().Add(idType, candid.Fields{"canister_id": id}).Bytes()
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	reply, err := w.network.Client.CallEffective(ctx, w.deployer, id, candid.ManagementCanister, "canister_status", arg)
	if err != nil {
		w.t.Fatal(err)
	}
	values, err := candid.Decode(reply, candid.Limits{})
	if err != nil || len(values) == 0 {
		w.t.Fatalf("canister_status: %v %v", values, err)
	}
	n, _ := values[0].Field("memory_metrics").Field("wasm_memory_size").Uint64()
	return n
}

// summary says what was done.
func (w *world) summary(h *history) {
	w.t.Logf("memory: relay canister %d KiB, target %d KiB; messages in the gateways' queues at a time: at most %d", w.memory(w.relay)>>10, w.memory(w.diary)>>10, w.longest.Load())
	byEnding := make(map[string]int)
	sent, failed, nameless := 0, 0, 0
	for _, s := range h.sessions {
		if s.conn == nil {
			byEnding["never open"]++
		} else {
			byEnding[s.how.String()]++
		}
		sent += len(s.sent)
		failed += len(s.failed)
		nameless += len(s.nameless)
	}
	w.t.Logf("%s in all: %d messages sent, %d written down, %d failed on purpose, %d failed because the target was stopped; connections: %v; turned away: %v",
		w.progress(), sent, len(h.entries), failed, nameless, byEnding, w.turned)
}
