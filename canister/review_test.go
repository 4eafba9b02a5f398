package canister_test

import (
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/icrelay/icrelay/candid"
	"github.com/icrelay/icrelay/localnet/execution"
)

// stopWhile stops the relay canister, does something while it is stopping, and starts it again.
func (w *world) stopWhile(do func()) {
	w.t.Helper()
	stopped := make(chan error, 1)
	go func() { stopped <- w.machine.Stop(w.t.Context(), w.relay) }()
	for info, _ := w.machine.Info(w.relay); info.Status != execution.StatusStopping; info, _ = w.machine.Info(w.relay) {
		runtime.Gosched()
	}
	do()
	if err := <-stopped; err != nil {
		w.t.Fatal(err)
	}
	if err := w.machine.Start(w.t.Context(), w.relay); err != nil {
		w.t.Fatal(err)
	}
}

// What waits for a target when the canister is stopped is called after it, in order and once, also where the calls before it
// were started by messages of the canister to itself.
func TestReviewStopKeepsWhatWaits(t *testing.T) {
	w := newWorld(t)
	target := w.installTarget()
	w.installRelay(settings{calls: []method{{target, "slow"}}, maxInFlight: 2, ackMs: 60_000, keepAliveMs: 20_000})
	c := w.open(client(1), 1, gateway1)
	w.call(stranger, target, "hold", candid.EncodeEmpty())
	const messages = 20
	want := []string{}
	for n := range uint64(messages) {
		want = append(want, fmt.Sprint(n+1))
	}
	// The first comes last, so that all become ready at once.
	for n := uint64(messages); n >= 1; n-- {
		_ = c.start(n, candid.EncodeText(fmt.Sprint(n)))
	}
	for len(w.texts(target, "log")) < 2 {
		w.settle()
	}
	w.stopWhile(func() { w.call(stranger, target, "release", candid.EncodeEmpty()) })
	w.advance(60 * time.Second)
	w.idle()
	if diff := cmp.Diff(want, w.texts(target, "log")); diff != "" {
		t.Error(diff)
	}
	for _, r := range list(t, w.status(admin), "rejections") {
		t.Log(text(t, r, "code"), text(t, r, "text"))
	}
}
