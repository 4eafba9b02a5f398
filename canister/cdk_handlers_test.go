package canister_test

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/icrelay/icrelay/candid"
	"github.com/icrelay/icrelay/localnet/execution"
)

// recorder is a canister that is told of what the CDK's three handlers are told
// of, and writes it down.
type recorder struct {
	w     *world
	id    candid.Principal
	calls []string // read it only after idle
}

func (w *world) installRecorder() *recorder {
	w.t.Helper()
	id, err := w.machine.CreateCanister([]candid.Principal{controller})
	if err != nil {
		w.t.Fatal(err)
	}
	r := &recorder{w: w, id: id}
	methods := map[string]execution.NativeMethod{}
	for _, name := range []string{"opened", "received", "closed"} {
		methods[name] = execution.NativeMethod{Run: func(call *execution.NativeCall) ([]byte, *execution.Reject) {
			who, _ := call.Arg(0).Principal()
			detail := call.Arg(1).String()
			if nonce, ok := call.Arg(1).Uint64(); ok {
				detail = fmt.Sprint(nonce)
			}
			if text, ok := call.Arg(1).Text(); ok {
				detail = text
			}
			r.calls = append(r.calls, fmt.Sprintf("%s %s %s", name, who, detail))
			return candid.EncodeEmpty(), nil
		}}
	}
	n := &execution.Native{Interface: "service : {}", Methods: methods}
	if err := w.machine.InstallNative(w.t.Context(), id, n); err != nil {
		w.t.Fatal(err)
	}
	return r
}

// settings give the recorder everything.
func (r *recorder) settings() settings {
	return settings{
		routed: []call{{method: method{r.id, "received"}, passClient: true}},
		hooks:  []hook{{target: r.id, open: "opened", close: "closed"}},
	}
}

// take returns what was recorded since.
func (r *recorder) take() []string {
	r.w.t.Helper()
	r.w.idle()
	calls := r.calls
	r.calls = nil
	return calls
}

// The CDK's handlers on_open, on_message and on_close, and when they are called: here they are calls of a target.
func TestCDKHandlers(t *testing.T) {
	w := newWorld(t)
	r := w.installRecorder()
	w.installRelay(r.settings())
	check := func(want ...string) {
		t.Helper()
		if diff := cmp.Diff(want, r.take()); diff != "" {
			t.Error(diff)
		}
	}
	opened := func(c *conn) string { return fmt.Sprintf("opened %s %d", c.key.Principal, c.key.Nonce) }
	closed := func(c *conn) string { return fmt.Sprintf("closed %s %d", c.key.Principal, c.key.Nonce) }
	received := func(c *conn, text string) string { return fmt.Sprintf("received %s %s", c.key.Principal, text) }

	a, b, c, d, e := w.open(client(1), 1, gateway1), w.open(client(2), 1<<40, gateway1), w.open(client(3), 0, gateway2), w.open(client(4), 4, gateway2), w.open(client(5), 5, gateway2)
	check(opened(a), opened(b), opened(c), opened(d), opened(e))
	a.send(candid.EncodeText("one"))
	b.send(candid.EncodeText("two"))
	a.send(candid.EncodeText("three"))
	check(received(a, "one"), received(b, "two"), received(a, "three"))

	// What is refused, and what is between the libraries, is nobody's business.
	w.tryOpen(candid.Anonymous, 1, gateway1)
	w.tryOpen(client(1), 1, gateway1)
	w.tryClose(gateway2, a.key)
	w.tryClose(stranger, a.key)
	w.tryMessage(client(1), message(candid.ClientKey{Principal: client(1), Nonce: 2}, 1))
	a.keepAlive()
	check()

	// Every way to go.
	if got := w.tryClose(gateway1, a.key); got != "" {
		t.Fatal(got)
	}
	check(closed(a))
	if got := w.tryMessage(client(2), message(b.key, 0)); got == "" {
		t.Fatal("taken")
	}
	check(closed(b))
	if _, refusal := w.tryShut(client(3)); refusal != "" {
		t.Fatal(refusal)
	}
	check(closed(c))
	w.advance(cdkAckInterval)
	d.keepAlive()
	w.advance(cdkKeepAlive)
	check(closed(e))
	again := w.open(client(1), 1, gateway2)
	check(opened(again))
}

// Without handlers everything goes on as with them.
func TestCDKNoHandlers(t *testing.T) {
	w := newCDK(t, settings{})
	r := w.installRecorder()
	c := w.open(client(1), 1, gateway1)
	c.send(candid.EncodeText("x"))
	if got := w.tryClose(gateway1, c.key); got != "" {
		t.Fatal(got)
	}
	if got := r.take(); len(got) != 0 {
		t.Errorf("calls: %q", got)
	}
}
