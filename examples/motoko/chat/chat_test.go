// Package chat_test tests what the chat does without a gateway: a stand-in of
// the relay canister calls it. With the real one it is tested end to end
// (e2e/chat.test.mjs).
package chat_test

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/icrelay/icrelay/candid"
	"github.com/icrelay/icrelay/localnet/execution"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	ann  = candid.Principal("\x01ann\x02")
	ben  = candid.Principal("\x01ben\x02")
	cleo = candid.Principal("\x01cleo\x02")
)

var person = candid.RecordOf(candid.Field{Label: "room", Type: candid.TextType}, candid.Field{Label: "name", Type: candid.TextType})

// A push is what the chat has sent: an event as text, such as "Came Ann", to clients.
type push struct {
	event string
	to    []candid.Principal
}

// world is a chat with a stand-in of the relay canister.
type world struct {
	*testing.T
	machine *execution.Machine
	chat    candid.Principal
	relay   candid.Principal
	pushed  chan push
	clients atomic.Pointer[[]candid.Fields] // what the relay canister answers; nil: it does not
	refusal atomic.Pointer[string]          // of pushes, nil for none
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{T: t, machine: execution.New(execution.Options{}), pushed: make(chan push, 1000)}
	t.Cleanup(func() {
		if err := w.machine.Close(); err != nil {
			t.Error(err)
		}
	})
	for _, id := range []*candid.Principal{&w.chat, &w.relay} {
		var err error
		if *id, err = w.machine.CreateCanister(nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.machine.InstallNative(t.Context(), w.relay, w.standIn()); err != nil {
		t.Fatal(err)
	}
	if err := w.machine.SetEnvironment(t.Context(), w.chat, map[string]string{"PUBLIC_CANISTER_ID:relay": w.relay.String()}); err != nil {
		t.Fatal(err)
	}
	w.install(execution.ModeInstall)
	return w
}

func (w *world) standIn() *execution.Native {
	keys := candid.VecOf(candid.RecordOf(candid.Field{Label: "client_principal", Type: candid.PrincipalType}, candid.Field{Label: "client_nonce", Type: candid.Nat64Type}))
	result := candid.VariantOf(candid.Field{Label: "Ok", Type: candid.Nat64Type}, candid.Field{Label: "Err", Type: candid.TextType})
	return &execution.Native{Methods: map[string]execution.NativeMethod{
		"clients": {Query: true, Run: func(call *execution.NativeCall) ([]byte, *execution.Reject) {
			clients := w.clients.Load()
			if clients == nil {
				return nil, call.Trap("not now")
			}
			return w.encode(keys, *clients), nil
		}},
		"sendMany": {Run: func(call *execution.NativeCall) ([]byte, *execution.Reject) {
			if refusal := w.refusal.Load(); refusal != nil {
				return w.encode(result, candid.Tag{Label: "Err", Value: *refusal}), nil
			}
			w.pushed <- w.read(call)
			return w.encode(result, candid.Tag{Label: "Ok", Value: 1}), nil
		}},
	}}
}

func (w *world) read(call *execution.NativeCall) push {
	var p push
	clients, _ := call.Arg(0).Vec()
	for _, c := range clients {
		id, _ := c.Principal()
		p.to = append(p.to, id)
	}
	content, _ := call.Arg(1).Blob()
	values, err := candid.Decode(content, candid.Limits{})
	if err != nil || len(values) != 1 {
		w.Errorf("pushed %x: %v", content, err)
		return p
	}
	for _, tag := range []string{"Came", "Went", "Said"} {
		event, ok := values[0].Tag(tag)
		if !ok {
			continue
		}
		if tag == "Said" {
			event = event.Field("line")
		}
		name, _ := event.Field("name").Text()
		text, _ := event.Field("text").Text()
		p.event = strings.TrimSpace(fmt.Sprintf("%s %s %s", tag, name, text))
	}
	return p
}

func (w *world) encode(t candid.Type, v any) []byte {
	b, err := candid.NewBuilder().Add(t, v).Bytes()
	if err != nil {
		w.Error(err)
	}
	return b
}

func (w *world) install(mode execution.Mode) {
	w.Helper()
	wasm, err := os.ReadFile("chat.wasm")
	if err != nil {
		w.Fatal(err)
	}
	if err := w.machine.Install(w.Context(), w.chat, mode, wasm, candid.EncodeEmpty(), candid.Anonymous); err != nil {
		w.Fatal(err)
	}
}

// call calls the chat as the relay canister does, and returns the text of a refusal.
func (w *world) call(method string, arg *candid.Builder) (candid.Value, string) {
	w.Helper()
	raw, err := arg.Bytes()
	if err != nil {
		w.Fatal(err)
	}
	done := make(chan execution.Result, 1)
	if err := w.machine.Submit(execution.Ingress{Sender: w.relay, Canister: w.chat, Method: method, Arg: raw}, func(r execution.Result) { done <- r }); err != nil {
		w.Fatal(err)
	}
	var r execution.Result
	select {
	case r = <-done:
	case <-time.After(20 * time.Second):
		w.Fatalf("%s: no answer", method)
	}
	if r.Reject != nil {
		return candid.Value{}, r.Reject.Text
	}
	values, err := candid.Decode(r.Reply, candid.Limits{})
	if err != nil {
		w.Fatal(err)
	}
	if len(values) == 0 {
		return candid.Value{}, ""
	}
	return values[0], ""
}

func (w *world) join(client candid.Principal, room, name string) (welcome candid.Value, refusal string) {
	w.Helper()
	return w.call("join", candid.NewBuilder().Add(candid.PrincipalType, client).Add(person, candid.Fields{"room": room, "name": name}))
}

func (w *world) say(client candid.Principal, text string) string {
	w.Helper()
	_, refusal := w.call("say", candid.NewBuilder().Add(candid.PrincipalType, client).Add(candid.TextType, text))
	return refusal
}

// hook tells the chat of a connection; method is "opened" or "closed".
func (w *world) hook(method string, client candid.Principal, nonce uint64) {
	w.Helper()
	if _, refusal := w.call(method, candid.NewBuilder().Add(candid.PrincipalType, client).Add(candid.Nat64Type, nonce)); refusal != "" {
		w.Fatalf("%s: %s", method, refusal)
	}
}

func (w *world) expect(event string, to ...candid.Principal) {
	w.Helper()
	select {
	case p := <-w.pushed:
		slices.Sort(p.to)
		slices.Sort(to)
		if p.event != event || !slices.Equal(p.to, to) {
			w.Fatalf("pushed %q to %v, want %q to %v", p.event, p.to, event, to)
		}
	case <-time.After(20 * time.Second):
		w.Fatalf("%q was not pushed", event)
	}
}

func present(t *testing.T, welcome candid.Value) []string {
	t.Helper()
	names, ok := welcome.Field("present").Vec()
	if !ok {
		t.Fatalf("no welcome: %v", welcome)
	}
	var out []string
	for _, n := range names {
		name, _ := n.Text()
		out = append(out, name)
	}
	slices.Sort(out)
	return out
}

// Who closes while the chat is stopped for an upgrade is found to have gone
// afterwards; everybody else, and what was said, is still there.
func TestUpgrade(t *testing.T) {
	w := newWorld(t)
	w.hook("opened", ann, 1)
	w.hook("opened", ann, 2)
	w.hook("opened", ben, 1)
	for client, name := range map[candid.Principal]string{ann: "Ann", ben: "Ben"} {
		if _, refusal := w.join(client, "lobby", name); refusal != "" {
			t.Fatal(refusal)
		}
	}
	<-w.pushed // one of them was first
	if refusal := w.say(ben, "before"); refusal != "" {
		t.Fatal(refusal)
	}
	w.expect("Said Ben before", ann, ben)

	if err := w.machine.Stop(t.Context(), w.chat); err != nil {
		t.Fatal(err)
	}
	w.clients.Store(&[]candid.Fields{{"client_principal": ben, "client_nonce": 1}})
	w.install(execution.ModeUpgrade)
	if err := w.machine.Start(t.Context(), w.chat); err != nil {
		t.Fatal(err)
	}
	w.expect("Went Ann", ann, ben)

	w.hook("opened", cleo, 1)
	welcome, refusal := w.join(cleo, "lobby", "Cleo")
	if got := present(t, welcome); refusal != "" || !slices.Equal(got, []string{"Ben", "Cleo"}) || welcome.Field("lines").Len() != 1 {
		t.Errorf("present %v, %d lines, %s", got, welcome.Field("lines").Len(), refusal)
	}
	w.expect("Came Cleo", ben)
	w.hook("closed", ben, 1)
	w.expect("Went Ben", ben, cleo)
}

// A connection that the chat was not told of does not keep anybody in a room,
// and one that it hears of twice counts once.
func TestMissedHooks(t *testing.T) {
	w := newWorld(t)
	for _, client := range []candid.Principal{ann, ben} {
		w.hook("opened", client, 1)
		w.hook("opened", client, 1)
	}
	if _, refusal := w.join(ann, "lobby", "Ann"); refusal != "" {
		t.Fatal(refusal)
	}
	if _, refusal := w.join(cleo, "lobby", "Cleo"); refusal != "" { // whose opening was missed
		t.Fatal(refusal)
	}
	w.expect("Came Cleo", ann)
	w.hook("closed", ben, 1) // in no room
	w.hook("closed", cleo, 5)
	w.expect("Went Cleo", ann, cleo)
	w.hook("closed", ann, 7) // another one than was opened
	if refusal := w.say(ann, "here"); refusal != "" {
		t.Error(refusal)
	}
	w.expect("Said Ann here", ann)
	w.hook("closed", ann, 1)
	w.expect("Went Ann", ann)
	if refusal := w.say(ann, "gone"); !strings.Contains(refusal, "You are in no room") {
		t.Errorf("refusal %q", refusal)
	}
}

// Rooms, members and lines are bounded.
func TestBounds(t *testing.T) {
	client := func(i int) candid.Principal { return candid.Principal(fmt.Sprintf("\x01client%d\x02", i)) }
	t.Run("members of a room", func(t *testing.T) {
		w := newWorld(t)
		for i := range 100 {
			if _, refusal := w.join(client(i), "lobby", fmt.Sprintf("name %d", i)); refusal != "" {
				t.Fatalf("member %d: %s", i, refusal)
			}
		}
		if _, refusal := w.join(ann, "lobby", "Ann"); !strings.Contains(refusal, "This room is full") {
			t.Errorf("refusal %q", refusal)
		}
		if _, refusal := w.join(client(7), "lobby", "another name"); refusal != "" {
			t.Errorf("a member takes another name: %s", refusal)
		}
		if _, refusal := w.join(client(8), "den", "name 8"); refusal != "" {
			t.Errorf("a member goes elsewhere: %s", refusal)
		}
		if _, refusal := w.join(ann, "lobby", "Ann"); refusal != "" {
			t.Errorf("when there is room: %s", refusal)
		}
	})
	t.Run("rooms", func(t *testing.T) {
		w := newWorld(t)
		for i := range 100 {
			if _, refusal := w.join(client(i), fmt.Sprintf("room %d", i), "Ann"); refusal != "" {
				t.Fatalf("room %d: %s", i, refusal)
			}
		}
		if _, refusal := w.join(ann, "another room", "Ann"); !strings.Contains(refusal, "There are 100 rooms already") {
			t.Errorf("refusal %q", refusal)
		}
		w.hook("closed", client(3), 1)
		if _, refusal := w.join(ann, "another room", "Ann"); refusal != "" {
			t.Errorf("when one is empty: %s", refusal)
		}
	})
	t.Run("lines", func(t *testing.T) {
		w := newWorld(t)
		if _, refusal := w.join(ann, "lobby", "Ann"); refusal != "" {
			t.Fatal(refusal)
		}
		for i := range 60 {
			if refusal := w.say(ann, fmt.Sprint(i)); refusal != "" {
				t.Fatal(refusal)
			}
		}
		welcome, _ := w.join(ann, "lobby", "Ann")
		lines, _ := welcome.Field("lines").Vec()
		if len(lines) != 50 {
			t.Fatalf("%d lines", len(lines))
		}
		if first, _ := lines[0].Field("text").Text(); first != "10" {
			t.Errorf("the first line is %q", first)
		}
	})
}

// What the relay canister does not take is told to who said it.
func TestRelayRefuses(t *testing.T) {
	w := newWorld(t)
	for client, name := range map[candid.Principal]string{ann: "Ann", ben: "Ben"} {
		if _, refusal := w.join(client, "lobby", name); refusal != "" {
			t.Fatal(refusal)
		}
	}
	full := "The queue of a gateway is full"
	w.refusal.Store(&full)
	if refusal := w.say(ann, "hello"); !strings.Contains(refusal, full) {
		t.Errorf("refusal %q", refusal)
	}
	if welcome, refusal := w.join(cleo, "lobby", "Cleo"); refusal != "" || len(present(t, welcome)) != 3 {
		t.Errorf("joining: %v, %s", welcome, refusal)
	}
}

// Without the relay canister's id the chat could trust nobody.
func TestNeedsRelay(t *testing.T) {
	w := newWorld(t)
	id, err := w.machine.CreateCanister(nil)
	if err != nil {
		t.Fatal(err)
	}
	wasm, err := os.ReadFile("chat.wasm")
	if err != nil {
		t.Fatal(err)
	}
	err = w.machine.Install(context.Background(), id, execution.ModeInstall, wasm, candid.EncodeEmpty(), candid.Anonymous)
	if err == nil || !strings.Contains(err.Error(), "PUBLIC_CANISTER_ID:relay") {
		t.Errorf("err = %v", err)
	}
}
