package canister_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/icrelay/icrelay/candid"
)

// Behaviour and texts are those that the CDK's own integration tests assert
// (omnia-network/ic-websocket-cdk-rs, src/tests/integration_tests), but where
// the relay canister is meant to differ: several connections per principal, and
// messages put back in order.

func TestOpen(t *testing.T) {
	w := newRelay(t, settings{})
	if got := w.tryOpen(candid.Anonymous, 1, gateway1); got != "Anonymous principal is not allowed" {
		t.Errorf("anonymous: %q", got)
	}
	if got := w.poll(gateway1, 0); len(got.Messages) != 0 {
		t.Errorf("a gateway without clients polls %d messages", len(got.Messages))
	}

	c := w.open(client(1), 77, gateway1)
	if diff := cmp.Diff([]string{"open"}, c.services()); diff != "" {
		t.Error(diff)
	}
	want := "Client with key " + client(1).String() + "_77 already has an open connection"
	if got := w.tryOpen(client(1), 77, gateway1); got != want {
		t.Errorf("same key: %q", got)
	}
	// A principal may hold several connections, also through different gateways.
	second, third := w.open(client(1), 78, gateway1), w.open(client(1), 77+1<<40, gateway2)
	for _, c := range []*conn{c, second, third} {
		if diff := cmp.Diff([]string{"open"}, c.services()); diff != "" {
			t.Error(diff)
		}
	}
	if got := number(t, w.status(controller), "clients"); got != 3 {
		t.Errorf("%d clients", got)
	}
}

func TestManyConnectionsOfOnePrincipal(t *testing.T) {
	w := newRelay(t, settings{})
	first := w.open(client(1), 0, gateway1)
	for nonce := range uint64(31) {
		w.open(client(1), nonce+1, gateway1)
	}
	if got := number(t, w.status(controller), "clients"); got != 32 {
		t.Errorf("%d clients", got)
	}
	// One more replaces the one not heard of for longest, which is told.
	w.open(client(1), 100, gateway1)
	if got := number(t, w.status(controller), "clients"); got != 32 {
		t.Errorf("%d clients after one more", got)
	}
	if diff := cmp.Diff([]string{"open", "close ClosedByApplication"}, first.services()); diff != "" {
		t.Error(diff)
	}
}

func TestMessageRefusals(t *testing.T) {
	w := newRelay(t, settings{})
	target := w.installTarget()
	w.installRelay(settings{calls: []method{{target, "put"}}})
	c := w.open(client(1), 1, gateway1)
	hello := candid.EncodeText("hello")

	for _, tc := range []struct {
		name    string
		sender  candid.Principal
		message candid.WebsocketMessage
		want    string
	}{
		{
			"a client that is not connected", client(2),
			candid.WebsocketMessage{ClientKey: candid.ClientKey{Principal: client(2), Nonce: 1}, SequenceNum: 1, Content: hello},
			"Client with principal " + client(2).String() + " doesn't have an open connection",
		},
		{
			"somebody else's key", client(1),
			candid.WebsocketMessage{ClientKey: candid.ClientKey{Principal: client(2), Nonce: 1}, SequenceNum: 1, Content: hello},
			"Client with principal " + client(2).String() + " has a different key than the one used in the message",
		},
		{
			"another nonce", client(1),
			candid.WebsocketMessage{ClientKey: candid.ClientKey{Principal: client(1), Nonce: 2}, SequenceNum: 1, Content: hello},
			"Client with principal " + client(1).String() + " has a different key than the one used in the message",
		},
		{
			"a service message that is none", client(1),
			candid.WebsocketMessage{ClientKey: c.key, SequenceNum: 1, IsServiceMessage: true, Content: hello},
			"Error decoding service message content: a text where a variant is expected",
		},
		{
			"a service message of the canister", client(1),
			candid.WebsocketMessage{ClientKey: c.key, SequenceNum: 2, IsServiceMessage: true, Content: candid.EncodeServiceMessage(candid.ServiceMessage{Kind: candid.AckMessage})},
			"Invalid service message",
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := w.result(w.start(tc.sender, w.relay, "ws_message", candid.EncodeMessageArgs(tc.message)))
			if got != tc.want {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}

	// The client is still connected, and its third message is taken.
	c.sent = 2
	c.send(hello)
	if diff := cmp.Diff([]string{"hello"}, w.texts(target, "log")); diff != "" {
		t.Error(diff)
	}
}

// The second argument of ws_message only publishes a type: whatever comes there is skipped.
func TestMessageTypeArgument(t *testing.T) {
	target := method{name: "put"}
	w := newWorld(t)
	target.target = w.installTarget()
	w.installRelay(settings{calls: []method{target}})
	c := w.open(client(1), 1, gateway1)
	messageType := candid.RecordOf(candid.Field{Label: "msg", Type: candid.RecordOf(
		candid.Field{Label: "client_key", Type: candid.RecordOf(
			candid.Field{Label: "client_principal", Type: candid.PrincipalType},
			candid.Field{Label: "client_nonce", Type: candid.Nat64Type},
		)},
		candid.Field{Label: "sequence_num", Type: candid.Nat64Type},
		candid.Field{Label: "timestamp", Type: candid.Nat64Type},
		candid.Field{Label: "is_service_message", Type: candid.BoolType},
		candid.Field{Label: "content", Type: candid.VecOf(candid.Nat8Type)},
	)})
	send := func(n uint64, add func(*candid.Builder) *candid.Builder) {
		t.Helper()
		b := candid.NewBuilder().Add(messageType, candid.Fields{"msg": candid.Fields{
			"client_key":   candid.Fields{"client_principal": c.key.Principal, "client_nonce": c.key.Nonce},
			"sequence_num": n, "timestamp": uint64(0), "is_service_message": false, "content": candid.EncodeText("x"),
		}})
		arg, err := add(b).Bytes()
		if err != nil {
			t.Fatal(err)
		}
		if got := w.result(w.start(c.key.Principal, w.relay, "ws_message", arg)); got != "" {
			t.Errorf("message %d: %s", n, got)
		}
	}
	person := candid.RecordOf(candid.Field{Label: "name", Type: candid.TextType}, candid.Field{Label: "tags", Type: candid.VecOf(candid.TextType)})
	send(1, func(b *candid.Builder) *candid.Builder { return b })
	send(2, func(b *candid.Builder) *candid.Builder { return b.Add(candid.OptOf(person), nil) })
	send(3, func(b *candid.Builder) *candid.Builder {
		return b.Add(candid.OptOf(person), candid.Fields{"name": "Ada", "tags": []string{"x"}})
	})
	send(4, func(b *candid.Builder) *candid.Builder { return b.Add(candid.NullType, nil) })
	if got := len(w.texts(target.target, "log")); got != 4 {
		t.Errorf("%d messages arrived", got)
	}
}

func TestClose(t *testing.T) {
	w := newRelay(t, settings{})
	c1, c2 := w.open(client(1), 1, gateway1), w.open(client(2), 1, gateway2)
	unknown := candid.ClientKey{Principal: client(3), Nonce: 9}
	for _, tc := range []struct {
		name    string
		gateway candid.Principal
		key     candid.ClientKey
		want    string
	}{
		{"not a gateway", stranger, c1.key, "Gateway with principal " + stranger.String() + " is not registered"},
		{"not a client", gateway1, unknown, "Client with key " + unknown.String() + " doesn't have an open connection"},
		{"another gateway's client", gateway2, c1.key, "Client with key " + c1.key.String() + " was not registered to gateway " + gateway2.String()},
		{"closed", gateway1, c1.key, ""},
		{"closed again", gateway1, c1.key, "Client with key " + c1.key.String() + " doesn't have an open connection"},
	} {
		if got := w.tryClose(tc.gateway, tc.key); got != tc.want {
			t.Errorf("%s: got %q, want %q", tc.name, got, tc.want)
		}
	}
	// No close message is sent for a client that has gone, and the other one is still there.
	if diff := cmp.Diff([]string{"open"}, c1.services()); diff != "" {
		t.Error(diff)
	}
	keys, _ := w.decode(w.ask(controller, w.relay, "clients", candid.EncodeEmpty())).Vec()
	if len(keys) != 1 {
		t.Fatalf("%d clients", len(keys))
	}
	if p, _ := keys[0].Field("client_principal").Principal(); p != c2.key.Principal {
		t.Errorf("client %s", p)
	}
}

func TestPoll(t *testing.T) {
	w := newWorld(t)
	target := w.installTarget()
	feed := method{target, "since"}
	w.installRelay(settings{feeds: []method{feed}, maxMessages: 20})
	c := w.open(client(1), 1, gateway1)
	other := w.open(client(2), 1, gateway2)
	w.idle()
	w.call(stranger, target, "addMany", candid.EncodeNat(70))
	if got := w.pull(gateway1, feed); got != 70 {
		t.Fatalf("cursor %d", got)
	}
	if got := len(c.texts()); got != 70 {
		t.Errorf("%d texts", got)
	}
	if diff := cmp.Diff(c.texts(), other.texts()); diff != "" {
		t.Error(diff)
	}
	for nonce := range uint64(72) {
		got := w.poll(gateway1, nonce)
		if want := min(20, 71-int(nonce)); len(got.Messages) != want {
			t.Fatalf("poll from %d returns %d messages, want %d", nonce, len(got.Messages), want)
		}
		if want := 71-nonce <= 20; got.EndOfQueue != want {
			t.Fatalf("poll from %d: end of queue %v", nonce, got.EndOfQueue)
		}
		for i, m := range got.Messages {
			if n := keyNonce(t, gateway1, m.Key); n != nonce+uint64(i) {
				t.Fatalf("poll from %d: message %d has nonce %d", nonce, i, n)
			}
		}
	}
	if got := w.poll(gateway1, 1<<63); len(got.Messages) != 0 {
		t.Errorf("poll from far ahead returns %d messages", len(got.Messages))
	}
	// As an update there is no certificate to be had.
	reply := w.call(gateway1, w.relay, "ws_get_messages", candid.EncodeGetMessagesArgs(0))
	if _, got, _, err := candid.DecodeOutputMessages(reply); err != nil || !strings.Contains(got, "as a query") {
		t.Errorf("as an update: %q, %v", got, err)
	}
}

func TestPollIsBoundedInBytes(t *testing.T) {
	w := newWorld(t)
	target := w.installTarget()
	feed := method{target, "since"}
	w.installRelay(settings{feeds: []method{feed}})
	c := w.open(client(1), 1, gateway1)
	w.idle()
	for _, letter := range []string{"a", "b", "c", "d"} {
		w.call(stranger, target, "say", candid.EncodeText(strings.Repeat(letter, 600_000)))
		w.pull(gateway1, feed)
	}
	// 1.5 MB a poll: the open message and two of these, then two more.
	for _, tc := range []struct {
		nonce uint64
		count int
		end   bool
	}{{0, 3, false}, {1, 2, false}, {3, 2, true}, {4, 1, true}} {
		got := w.poll(gateway1, tc.nonce)
		if len(got.Messages) != tc.count || got.EndOfQueue != tc.end {
			t.Errorf("poll from %d: %d messages, end %v; want %d, %v", tc.nonce, len(got.Messages), got.EndOfQueue, tc.count, tc.end)
		}
	}
	// One that is larger than a poll should be is returned all the same.
	w.call(stranger, target, "say", candid.EncodeText(strings.Repeat("e", 1_800_000)))
	w.pull(gateway1, feed)
	if got := w.poll(gateway1, 5); len(got.Messages) != 1 || !got.EndOfQueue {
		t.Errorf("%d messages", len(got.Messages))
	}
	if got := c.texts(); len(got) != 5 || got[4] != strings.Repeat("e", 1_800_000) {
		t.Errorf("%d texts", len(got))
	}
}

func TestOldMessagesAreDropped(t *testing.T) {
	w := newWorld(t)
	target := w.installTarget()
	feed := method{target, "since"}
	w.installRelay(settings{feeds: []method{feed}, ackMs: 2_000, keepAliveMs: 1_000, maxMessages: 1_000})
	w.open(client(1), 1, gateway1)
	w.idle()
	w.call(stranger, target, "addMany", candid.EncodeNat(20))
	w.pull(gateway1, feed)
	if got := len(w.pollAll(gateway1, 0)); got != 21 {
		t.Fatalf("%d messages", got)
	}
	// The acknowledgement finds messages that are older than its interval, and takes 5 of them away, as the CDK does.
	w.advance(2_001 * time.Millisecond)
	got := w.pollAll(gateway1, 0)
	if len(got) != 17 || keyNonce(t, gateway1, got[0].Key) != 5 {
		t.Fatalf("%d messages from %s on", len(got), got[0].Key)
	}
	// What the gateway says it has polled goes at once.
	if _, text := w.tryPull(gateway1, feed, uint64(20)); text != "" {
		t.Fatal(text)
	}
	got = w.pollAll(gateway1, 0)
	if len(got) != 2 || keyNonce(t, gateway1, got[0].Key) != 20 {
		t.Fatalf("%d messages", len(got))
	}
	// But not beyond the end of the queue, and not by somebody else.
	if _, text := w.tryPull(admin, feed, uint64(1<<60)); text != "" {
		t.Fatal(text)
	}
	if got := len(w.pollAll(gateway1, 0)); got != 2 {
		t.Errorf("%d messages after another caller's claim", got)
	}
	// A nonce that was never given out is the memory of another installation.
	if _, text := w.tryPull(gateway1, feed, uint64(1<<60)); text != "" {
		t.Fatal(text)
	}
	if got := len(w.pollAll(gateway1, 0)); got != 2 {
		t.Errorf("%d messages after a nonce beyond the end", got)
	}
	if _, text := w.tryPull(gateway1, feed, uint64(22)); text != "" {
		t.Fatal(text)
	}
	// The last one stays: the gateway recognises the queue by it.
	if got := w.pollAll(gateway1, 0); len(got) != 1 || keyNonce(t, gateway1, got[0].Key) != 21 {
		t.Errorf("%d messages are left", len(got))
	}
	w.call(stranger, target, "addMany", candid.EncodeNat(1))
	w.pull(gateway1, feed)
	if got := w.pollAll(gateway1, 0); len(got) != 2 || keyNonce(t, gateway1, got[1].Key) != 22 {
		t.Errorf("%d messages", len(got))
	}
}

func TestAcknowledgements(t *testing.T) {
	w := newWorld(t)
	target := w.installTarget()
	w.installRelay(settings{calls: []method{{target, "put"}}, ackMs: 10_000, keepAliveMs: 4_000})
	alive, silent := w.open(client(1), 1, gateway1), w.open(client(2), 1, gateway1)
	alive.send(candid.EncodeText("a"))
	w.advance(10 * time.Second)
	late := w.open(client(3), 1, gateway1)
	alive.keepAlive()
	w.advance(3 * time.Second)
	if got := number(t, w.status(controller), "clients"); got != 3 {
		t.Errorf("%d clients before the timeout", got)
	}
	// As in the CDK the silence is counted from the last sign of life, and has to be longer than the timeout.
	w.advance(2 * time.Second)
	// The acknowledgement pushed the two open messages out, which were older than its interval.
	if diff := cmp.Diff([]string{"ack 1"}, alive.services()); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"ack 0", "close KeepAliveTimeout"}, silent.services()); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"open"}, late.services()); diff != "" {
		t.Error(diff)
	}
	if got, want := w.tryClose(gateway1, silent.key), "Client with key "+silent.key.String()+" doesn't have an open connection"; got != want {
		t.Errorf("closing the silent one: %q", got)
	}
	// The next acknowledgement counts the keep-alive message too.
	w.advance(5 * time.Second)
	if diff := cmp.Diff([]string{"ack 1", "ack 2"}, alive.services()); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"open", "ack 0"}, late.services()); diff != "" {
		t.Error(diff)
	}
}

func TestGatewayWithoutClientsGoes(t *testing.T) {
	w := newRelay(t, settings{ackMs: 10_000, keepAliveMs: 4_000})
	c := w.open(client(1), 1, gateway1)
	if got := w.tryClose(gateway1, c.key); got != "" {
		t.Fatal(got)
	}
	w.advance(10 * time.Second)
	w.advance(4 * time.Second)
	if got := len(w.pollAll(gateway1, 0)); got != 0 {
		t.Errorf("%d messages after the gateway went", got)
	}
	if got, want := w.tryClose(gateway1, c.key), "Gateway with principal "+gateway1.String()+" is not registered"; got != want {
		t.Errorf("closing: %q", got)
	}
	// Should it come back, its nonces go on.
	w.open(client(1), 2, gateway1)
	got := w.pollAll(gateway1, 0)
	if len(got) != 1 || keyNonce(t, gateway1, got[0].Key) != 1 {
		t.Errorf("%d messages after it came back", len(got))
	}
	// Another gateway starts from 0.
	w.open(client(1), 3, gateway2)
	if got := w.pollAll(gateway2, 0); len(got) != 1 || keyNonce(t, gateway2, got[0].Key) != 0 {
		t.Errorf("%d messages of another gateway", len(got))
	}
}

func TestAuthority(t *testing.T) {
	w := newWorld(t)
	target := w.installTarget()
	feed := method{target, "since"}
	w.installRelay(settings{feeds: []method{feed}, calls: []method{{target, "put"}}})
	empty := w.open(client(9), 1, gateway2)
	w.tryClose(gateway2, empty.key)
	w.open(client(1), 1, gateway1)

	query := func(sender candid.Principal, name string) string {
		t.Helper()
		r := w.machine.Query(t.Context(), sender, w.relay, name, candid.EncodeEmpty())
		if r.Reject != nil {
			return r.Reject.Error()
		}
		return ""
	}
	for _, tc := range []struct {
		who                           string
		sender                        candid.Principal
		pull, status, clients, change bool
	}{
		{"controller", controller, true, true, true, true},
		{"admin", admin, true, true, true, true},
		{"gateway with clients", gateway1, true, true, false, false},
		{"gateway without clients", gateway2, false, false, false, false},
		{"target", target, false, false, true, false},
		{"client", client(1), false, false, false, false},
		{"stranger", stranger, false, false, false, false},
		{"anonymous", candid.Anonymous, false, false, false, false},
	} {
		t.Run(tc.who, func(t *testing.T) {
			check := func(what string, allowed bool, refusal string) {
				t.Helper()
				if allowed && refusal != "" {
					t.Errorf("%s: %s", what, refusal)
				}
				if !allowed && !strings.Contains(refusal, what+" is only for controllers and admins of the relay canister") {
					t.Errorf("%s: not refused, or with %q", what, refusal)
				}
			}
			_, refusal := w.tryPull(tc.sender, feed, nil)
			check("relay_pull", tc.pull, refusal)
			check("relay_status", tc.status, query(tc.sender, "relay_status"))
			check("clients", tc.clients, query(tc.sender, "clients"))
			reply := w.call(tc.sender, w.relay, "relay_configure", settings{feeds: []method{feed}, calls: []method{{target, "put"}}}.argument(t))
			check("relay_configure", tc.change, w.refusal(reply))
		})
	}
	if _, got := w.tryPull(admin, method{target, "log"}, nil); got != "No feed "+target.String()+".log is configured" {
		t.Errorf("a feed that is not configured: %q", got)
	}
}

func TestConfiguration(t *testing.T) {
	w := newRelay(t, settings{})
	target := w.installTarget()
	for _, tc := range []struct {
		name string
		s    settings
		want string
	}{
		{"timeout as long as the interval", settings{ackMs: 60_000, keepAliveMs: 60_000}, "ack_interval_ms must be greater than keep_alive_timeout_ms"},
		{"several problems", settings{ackMs: 1, maxMessages: 5_000, calls: []method{{target, ""}}}, "calls: a method without a name; ack_interval_ms: must be between 50 and 86400000; max_messages: must be between 1 and 1000"},
		{"a feed twice", settings{feeds: []method{{target, "since"}, {target, "since"}}}, "feeds: " + target.String() + ".since is named twice"},
		{"two calls", settings{calls: []method{{target, "a"}, {target, "b"}}}, "calls: only one call can be without a tag"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := w.refusal(w.call(admin, w.relay, "relay_configure", tc.s.argument(t))); got != tc.want {
				t.Errorf("got %q, want %q", got, tc.want)
			}
			id, err := w.machine.CreateCanister([]candid.Principal{controller})
			if err != nil {
				t.Fatal(err)
			}
			if err := w.installAt(id, tc.s); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("installation: %v", err)
			}
		})
	}
	// A short interval alone is enough: the timeout follows it.
	if got := w.refusal(w.call(admin, w.relay, "relay_configure", settings{ackMs: 500}.argument(t))); got != "" {
		t.Error(got)
	}
}
