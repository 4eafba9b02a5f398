package canister_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/icrelay/icrelay/candid"
	"github.com/icrelay/icrelay/localnet/execution"
)

// contents are the application's messages in the inbox as Candid text.
func (c *conn) contents() []string {
	c.w.t.Helper()
	out := []string{}
	for _, m := range c.inbox() {
		if !m.IsServiceMessage {
			out = append(out, named(c.w.decode(m.Content).String()))
		}
	}
	return out
}

// named puts the tags of these tests for their numbers.
func named(text string) string {
	for _, tag := range []string{"Said", "S", "Done", "Both", "Failed", "Item"} {
		text = strings.ReplaceAll(text, fmt.Sprintf("_%d_", candid.Hash(tag)), tag)
	}
	return text
}

func TestReplies(t *testing.T) {
	for _, tc := range []struct {
		name             string
		call             call // of a target
		text             string
		sender, everyone []string
	}{
		{"to nobody", call{method: method{name: "echo"}}, "a", nil, nil},
		{"to nobody, said so", call{method: method{name: "echo"}, reply: "Nobody"}, "a", nil, nil},
		{"to the sender", call{method: method{name: "echo"}, reply: "Sender"}, "a", []string{`"a"`}, nil},
		{"to the sender in a tag", call{method: method{name: "echo"}, reply: "Sender", replyTag: "Said"}, "a", []string{`variant { Said = "a" }`}, nil},
		{"to everybody", call{method: method{name: "echo"}, reply: "Everybody"}, "a", []string{`"a"`}, []string{`"a"`}},
		{"to everybody in a tag", call{method: method{name: "echo"}, reply: "Everybody", replyTag: "S"}, "a", []string{`variant { S = "a" }`}, []string{`variant { S = "a" }`}},
		{"no value is not sent", call{method: method{name: "put"}, reply: "Sender"}, "a", nil, nil},
		{"no value in a tag", call{method: method{name: "put"}, reply: "Sender", replyTag: "Done"}, "a", []string{"variant { Done }"}, nil},
		{"two values", call{method: method{name: "both"}, reply: "Sender"}, "abc", []string{`"abc"`}, nil},
		{"two values in a tag", call{method: method{name: "both"}, reply: "Sender", replyTag: "Both"}, "abc", []string{`variant { Both = record { _0_ = "abc"; _1_ = 3 } }`}, nil},
		{"refused", call{method: method{name: "echo"}, reply: "Everybody"}, "refuse", nil, nil},
		{"refused, with an error tag", call{method: method{name: "echo"}, reply: "Everybody", errorTag: "Failed"}, "refuse", []string{`variant { Failed = "refused on purpose" }`}, nil},
		{"an error tag without a reply", call{method: method{name: "put"}, errorTag: "Failed"}, "refuse", []string{`variant { Failed = "refused on purpose" }`}, nil},
		{"trapped", call{method: method{name: "echo"}, reply: "Sender", errorTag: "Failed"}, "trap", []string{"trapped on purpose"}, nil},
		{"no such method", call{method: method{name: "nosuch"}, reply: "Sender", errorTag: "Failed"}, "a", []string{"nosuch"}, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t)
			tc.call.target = w.installTarget()
			w.installRelay(settings{routed: []call{tc.call}})
			a, b := w.open(client(1), 1, gateway1), w.open(client(2), 1, gateway2)
			// another connection of the same client is not the sender
			again := w.open(client(1), 2, gateway1)
			a.send(candid.EncodeText(tc.text))
			w.idle()
			for _, check := range []struct {
				who  string
				conn *conn
				want []string
			}{{"the sender", a, tc.sender}, {"another client", b, tc.everyone}, {"the sender's other connection", again, tc.everyone}} {
				got := check.conn.contents()
				if len(got) != len(check.want) {
					t.Errorf("%s got %q, want %q", check.who, got, check.want)
					continue
				}
				for i := range got {
					if got[i] != check.want[i] && !strings.Contains(got[i], check.want[i]) {
						t.Errorf("%s got %s, want %s", check.who, got[i], check.want[i])
					}
				}
			}
		})
	}
}

// A reply for a client that has gone is nobody's, and one for a client that came back with another nonce too.
func TestReplyToNobodyLeft(t *testing.T) {
	w := newWorld(t)
	target := w.installTarget()
	w.installRelay(settings{routed: []call{{method: method{target, "slow"}, reply: "Sender", replyTag: "Done"}}})
	w.call(stranger, target, "hold", candid.EncodeEmpty())
	c := w.open(client(1), 1, gateway1)
	done := c.start(1, candid.EncodeText("x"))
	w.settle()
	if text := w.tryClose(gateway1, c.key); text != "" {
		t.Fatal(text)
	}
	again := w.open(client(1), 2, gateway1)
	w.call(stranger, target, "release", candid.EncodeEmpty())
	if text := w.result(done); text != "" {
		t.Error(text)
	}
	w.idle()
	if got := append(c.contents(), again.contents()...); len(got) != 0 {
		t.Errorf("got %q", got)
	}
}

// rawCanister answers every call with the same bytes, whatever they are.
func rawCanister(w *world, replies map[string][]byte) candid.Principal {
	w.t.Helper()
	id, err := w.machine.CreateCanister([]candid.Principal{controller})
	if err != nil {
		w.t.Fatal(err)
	}
	methods := make(map[string]execution.NativeMethod)
	for name, reply := range replies {
		methods[name] = execution.NativeMethod{Query: true, Run: func(*execution.NativeCall) ([]byte, *execution.Reject) { return reply, nil }}
	}
	if err := w.machine.InstallNative(w.t.Context(), id, &execution.Native{Methods: methods, Independent: true}); err != nil {
		w.t.Fatal(err)
	}
	return id
}

// A reply that no client could read is noted and told as an error; it is never sent on.
func TestUnreadableReplies(t *testing.T) {
	for name, reply := range map[string][]byte{
		"empty":       {},
		"garbage":     []byte("hello"),
		"cut short":   candid.EncodeText("hello")[:8],
		"left over":   append(candid.EncodeText("hello"), 0),
		"not UTF-8":   []byte("DIDL\x00\x01\x71\x01\xff"),
		"a bomb":      []byte("DIDL\x01\x6d\x7f\x01\x00\xff\xff\xff\xff\x0f\x00"),
		"endless":     []byte("DIDL\x01\x6c\x01\x00\x00\x01\x00"),
		"no such tag": []byte("DIDL\x01\x6b\x01\x00\x7f\x01\x00\x01"),
	} {
		for _, tag := range []string{"", "Tag"} {
			t.Run(fmt.Sprint(name, " ", tag), func(t *testing.T) {
				w := newWorld(t)
				target := rawCanister(w, map[string][]byte{"answer": reply})
				w.installRelay(settings{routed: []call{{method: method{target, "answer"}, reply: "Sender", replyTag: tag, errorTag: "Failed"}}})
				c := w.open(client(1), 1, gateway1)
				c.send(candid.EncodeText("x"))
				w.idle()
				if got := c.contents(); len(got) != 1 || !strings.HasPrefix(got[0], `variant { Failed = "The reply cannot be sent: `) {
					t.Errorf("got %q", got)
				}
				if got := list(t, w.status(admin), "rejections"); len(got) != 1 || text(t, got[0], "code") != "BAD_REPLY" {
					t.Errorf("rejections %v", got)
				}
			})
		}
	}
}

// Replies to everybody that come to too much for all together are left out and noted; nobody is closed for them.
func TestReplyTooLargeForEverybody(t *testing.T) {
	w := newWorld(t)
	large := candid.EncodeText(strings.Repeat("x", 1_000_000))
	target := rawCanister(w, map[string][]byte{"answer": large})
	w.installRelay(settings{routed: []call{{method: method{target, "answer"}, reply: "Everybody"}}})
	var conns []*conn
	for i := range 17 {
		conns = append(conns, w.open(client(i), 1, gateway1))
	}
	conns[0].send(candid.EncodeText("x"))
	w.idle()
	if got := list(t, w.status(admin), "rejections"); len(got) != 1 || text(t, got[0], "code") != "TOO_LARGE" {
		t.Errorf("rejections %v", got)
	}
	for _, c := range conns[3:] {
		if text := w.tryClose(gateway1, c.key); text != "" {
			t.Fatal(text)
		}
	}
	conns[0].send(candid.EncodeText("x"))
	w.idle()
	got := make(map[candid.ClientKey]int)
	for _, m := range w.pollAll(gateway1, 17) { // after the open messages
		got[m.ClientKey]++
	}
	for _, c := range conns[:3] {
		if got[c.key] != 1 {
			t.Errorf("%s got %d messages", c.key, got[c.key])
		}
	}
}

// A reply that finds no room closes its client, which would miss it without knowing.
func TestReplyWithoutRoom(t *testing.T) {
	w := newWorld(t)
	large := candid.EncodeText(strings.Repeat("x", 1_900_000))
	target := rawCanister(w, map[string][]byte{"answer": large})
	w.installRelay(settings{routed: []call{{method: method{target, "answer"}, reply: "Sender"}}})
	c, other := w.open(client(1), 1, gateway1), w.open(client(2), 1, gateway2)
	for range 35 { // 64 MiB are a full queue
		c.send(candid.EncodeText("x"))
	}
	c.sent++
	if text := w.result(c.start(c.sent, candid.EncodeText("x"))); text != "" {
		t.Errorf("the message itself was accepted: %s", text)
	}
	w.idle()
	w.checkClosed(w.lastMessage(gateway1), candid.ClosedByApplication)
	if got := list(t, w.status(admin), "rejections"); len(got) != 1 || text(t, got[0], "code") != "QUEUE_FULL" {
		t.Errorf("rejections %v", got)
	}
	// Others have a queue of their own.
	other.send(candid.EncodeText("x"))
	w.idle()
	if got := other.contents(); len(got) != 1 {
		t.Errorf("the other client got %d messages", len(got))
	}
}

// lastMessage is the last one that the gateway can poll.
func (w *world) lastMessage(gateway candid.Principal) candid.OutputMessage {
	w.t.Helper()
	got := w.poll(gateway, w.nextNonce(gateway)-1)
	if len(got.Messages) != 1 {
		w.t.Fatalf("%d messages", len(got.Messages))
	}
	return got.Messages[0]
}

// nextNonce is how many messages there have been for a gateway.
func (w *world) nextNonce(gateway candid.Principal) uint64 {
	w.t.Helper()
	for _, state := range list(w.t, w.status(controller), "gateways") {
		if p, _ := state.Field("gateway").Principal(); p == gateway {
			return number(w.t, state, "next")
		}
	}
	w.t.Fatalf("no gateway %s", gateway)
	return 0
}

// The error of a call that came in a held message goes to its own sender.
func TestErrorsOfHeldMessages(t *testing.T) {
	w := newWorld(t)
	target := w.installTarget()
	w.installRelay(settings{routed: []call{{method: method{target, "echo"}, reply: "Sender", errorTag: "Failed"}}})
	c := w.open(client(1), 1, gateway1)
	for _, m := range []struct {
		number uint64
		text   string
	}{{3, "third"}, {2, "refuse"}, {1, "first"}} {
		if text := w.result(c.start(m.number, candid.EncodeText(m.text))); text != "" {
			t.Fatal(text)
		}
	}
	w.idle()
	if diff := cmp.Diff([]string{`"first"`, `variant { Failed = "refused on purpose" }`, `"third"`}, c.contents()); diff != "" {
		t.Error(diff)
	}
}
