package canister_test

import (
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/icrelay/icrelay/candid"
)

// b_ws_message test_1 and test_2: whose message it is. What is refused costs no sequence number.
func TestCDKMessageOfSomebodyElse(t *testing.T) {
	w := newCDK(t, settings{})
	notConnected := func(p candid.Principal) string {
		return "Client with principal " + p.String() + " doesn't have an open connection"
	}
	mismatch := func(k candid.ClientKey) string {
		return "Client with principal " + k.Principal.String() + " has a different key than the one used in the message"
	}
	check := func(sender candid.Principal, key candid.ClientKey, number uint64, want string) {
		t.Helper()
		if got := w.tryMessage(sender, message(key, number)); got != want {
			t.Errorf("%s with the key %s: got %q, want %q", sender, key, got, want)
		}
	}
	keys := someKeys(1, 40)
	check(keys[0].Principal, keys[0], 1, notConnected(keys[0].Principal)) // nobody is connected
	check(candid.Anonymous, candid.ClientKey{Principal: candid.Anonymous}, 1, notConnected(candid.Anonymous))

	connected, others := keys[:10], keys[10:]
	for _, key := range connected {
		w.open(key.Principal, key.Nonce, gateway1)
	}
	r := rand.New(rand.NewPCG(2, 2))
	for i, other := range others {
		mine := connected[i%len(connected)]
		theirs := connected[(i+1)%len(connected)]
		number := r.Uint64N(3)
		check(other.Principal, other, number, notConnected(other.Principal))
		check(other.Principal, mine, number, notConnected(other.Principal)) // the caller is looked at first
		check(candid.Anonymous, mine, number, notConnected(candid.Anonymous))
		check(mine.Principal, other, number, mismatch(other))
		check(mine.Principal, theirs, number, mismatch(theirs))
		wrongNonce := candid.ClientKey{Principal: mine.Principal, Nonce: mine.Nonce ^ (1 << r.IntN(64))}
		check(mine.Principal, wrongNonce, number, mismatch(wrongNonce))
	}
	for _, key := range connected {
		check(key.Principal, key, 1, "")
	}
}

// b_ws_message test_3: the content is the application's matter, down to nothing at all.
func TestCDKMessageIsAccepted(t *testing.T) {
	w := newCDK(t, settings{})
	c := w.open(client(1), 1, gateway1)
	for i, m := range []candid.WebsocketMessage{
		{Content: nil},
		{Content: []byte("not Candid")},
		{Content: candid.EncodeText("text")},
		{Timestamp: 1, Content: candid.EncodeText("from long ago")},
		{Timestamp: 1<<64 - 1, Content: candid.EncodeText("from the future")},
	} {
		m.ClientKey, m.SequenceNum = c.key, uint64(i)+1
		if got := w.tryMessage(c.key.Principal, m); got != "" {
			t.Errorf("message %d: %s", i+1, got)
		}
	}
	w.checkCount(gateway1, 1) // nothing goes back to the client
}

// b_ws_message test_4: a wrong number closes the connection, which the client is told. The CDK takes the number 2 of a
// new connection for wrong; here it would wait for the first, and the first number that cannot wait is 65.
func TestCDKWrongSequenceNumber(t *testing.T) {
	for _, tc := range []struct {
		name   string
		sent   uint64 // numbers 1 to this one are taken first
		number uint64
		want   string
	}{
		{"zero", 0, 0, "Expected incoming sequence number 1 but got 0"},
		{"too far ahead", 0, 65, "Expected incoming sequence number 1 but got 65"},
		{"again", 3, 3, "Expected incoming sequence number 4 but got 3"},
		{"the largest", 1, 1<<64 - 1, "Expected incoming sequence number 2 but got 18446744073709551615"},
	} {
		for _, isService := range []bool{false, true} {
			name := tc.name
			if isService {
				name += ", service message"
			}
			t.Run(name, func(t *testing.T) {
				w := newCDK(t, settings{})
				c, other := w.open(client(1), 1, gateway1), w.open(client(2), 1, gateway1)
				for range tc.sent {
					c.send(candid.EncodeText("x"))
				}
				wrong := message(c.key, tc.number)
				if isService {
					wrong = serviceMessage(c.key, tc.number, keepAliveContent)
				}
				if got := w.tryMessage(c.key.Principal, wrong); got != tc.want {
					t.Errorf("got %q, want %q", got, tc.want)
				}
				got := w.poll(gateway1, 2).Messages
				if len(got) != 1 || got[0].ClientKey != c.key {
					t.Fatalf("%d messages behind the two first ones", len(got))
				}
				w.checkClosed(got[0], candid.WrongSequenceNumber)
				if decoded := w.decodeMessage(got[0]); decoded.SequenceNum != 2 {
					t.Errorf("the close message has sequence number %d", decoded.SequenceNum)
				}
				c.checkGone()
				want := "Client with principal " + client(1).String() + " doesn't have an open connection"
				if got := w.tryMessage(client(1), message(c.key, tc.sent+1)); got != want {
					t.Errorf("the next message: got %q, want %q", got, want)
				}
				other.send(candid.EncodeText("y"))
			})
		}
	}
}

var keepAliveContent = candid.EncodeServiceMessage(candid.ServiceMessage{Kind: candid.KeepAliveMessage, LastIncoming: 1})

// The type of service messages as the stock client writes it, with every tag.
var serviceType = candid.VariantOf(
	candid.Field{Label: "OpenMessage", Type: candid.RecordOf(candid.Field{Label: "client_key", Type: candid.RecordOf(
		candid.Field{Label: "client_principal", Type: candid.PrincipalType},
		candid.Field{Label: "client_nonce", Type: candid.Nat64Type},
	)})},
	candid.Field{Label: "AckMessage", Type: lastIncomingType},
	candid.Field{Label: "KeepAliveMessage", Type: lastIncomingType},
	candid.Field{Label: "CloseMessage", Type: candid.RecordOf(candid.Field{Label: "reason", Type: candid.VariantOf(
		candid.Field{Label: "WrongSequenceNumber", Type: candid.NullType},
		candid.Field{Label: "InvalidServiceMessage", Type: candid.NullType},
		candid.Field{Label: "KeepAliveTimeout", Type: candid.NullType},
		candid.Field{Label: "ClosedByApplication", Type: candid.NullType},
	)})},
)

var lastIncomingType = candid.RecordOf(candid.Field{Label: "last_incoming_sequence_num", Type: candid.Nat64Type})

func encode(t testing.TB, b *candid.Builder) []byte {
	t.Helper()
	raw, err := b.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// b_ws_message test_5 and test_6: what a client may say in a service message. Whatever is refused has cost its
// sequence number, and closes nothing.
func TestCDKServiceMessages(t *testing.T) {
	const undecodable = "Error decoding service message content: "
	const invalid = "Invalid service message"
	tag := func(label string, payload candid.Type, value any) *candid.Builder {
		return candid.NewBuilder().Add(candid.VariantOf(candid.Field{Label: label, Type: payload}), candid.Tag{Label: label, Value: value})
	}
	one := candid.Fields{"last_incoming_sequence_num": uint64(1)}
	full := func(label string, value any) *candid.Builder {
		return candid.NewBuilder().Add(serviceType, candid.Tag{Label: label, Value: value})
	}
	service := func(m candid.ServiceMessage) []byte { return candid.EncodeServiceMessage(m) }
	someKey := candid.ClientKey{Principal: client(1), Nonce: 1}

	for _, tc := range []struct {
		name    string
		content []byte
		want    string // the beginning of the refusal
	}{
		{"nothing", nil, undecodable},
		{"no Candid", []byte{1, 2, 3}, undecodable},
		{"no value", candid.EncodeEmpty(), undecodable},
		{"a vec of numbers", encode(t, candid.NewBuilder().Add(candid.VecOf(candid.IntType), []any{1, 2, 3})), undecodable},
		{"a text", candid.EncodeText("KeepAliveMessage"), undecodable},
		{"a record", encode(t, candid.NewBuilder().Add(lastIncomingType, one)), undecodable},
		{"an unknown tag", encode(t, tag("PingMessage", lastIncomingType, one)), undecodable},
		{"a keep-alive without payload", encode(t, tag("KeepAliveMessage", candid.NullType, nil)), undecodable},
		{"a keep-alive with an empty record", encode(t, tag("KeepAliveMessage", candid.RecordOf(), candid.Fields{})), undecodable},
		{"a keep-alive with a nat", encode(t, tag("KeepAliveMessage", candid.RecordOf(candid.Field{Label: "last_incoming_sequence_num", Type: candid.NatType}), one)), undecodable},
		{"a keep-alive cut short", keepAliveContent[:len(keepAliveContent)-1], undecodable},
		{"a keep-alive and more", append(keepAliveContent[:len(keepAliveContent):len(keepAliveContent)], 0), undecodable},

		{"an open message", service(candid.ServiceMessage{Kind: candid.OpenMessage, ClientKey: someKey}), invalid},
		{"an acknowledgement", service(candid.ServiceMessage{Kind: candid.AckMessage}), invalid},
		{"a close message", service(candid.ServiceMessage{Kind: candid.CloseMessage, Reason: candid.ClosedByApplication}), invalid},
		{"the stock client's type, acknowledgement", encode(t, full("AckMessage", one)), invalid},
		{"the stock client's type, close message", encode(t, full("CloseMessage", candid.Fields{"reason": "KeepAliveTimeout"})), invalid},

		// What is refused anyway is not looked into, and a service message has at most 4 KiB: in both the CDK differs.
		{"an open message of another shape", encode(t, tag("OpenMessage", candid.NullType, nil)), invalid},
		{"a keep-alive with far more", encode(t, tag("KeepAliveMessage", candid.RecordOf(
			candid.Field{Label: "last_incoming_sequence_num", Type: candid.Nat64Type},
			candid.Field{Label: "more", Type: candid.TextType},
		), candid.Fields{"last_incoming_sequence_num": uint64(1), "more": strings.Repeat("x", 4_096)})), undecodable},

		{"a keep-alive", keepAliveContent, ""},
		{"a keep-alive of any number", service(candid.ServiceMessage{Kind: candid.KeepAliveMessage, LastIncoming: 1<<64 - 1}), ""},
		{"the stock client's type, keep-alive", encode(t, full("KeepAliveMessage", one)), ""},
		{"a keep-alive with more fields", encode(t, tag("KeepAliveMessage", candid.RecordOf(
			candid.Field{Label: "last_incoming_sequence_num", Type: candid.Nat64Type},
			candid.Field{Label: "more", Type: candid.VecOf(candid.TextType)},
		), candid.Fields{"last_incoming_sequence_num": uint64(1), "more": []string{"x"}})), ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newCDK(t, settings{})
			c := w.open(client(1), 1, gateway1)
			got := w.tryMessage(client(1), serviceMessage(c.key, 1, tc.content))
			if tc.want == undecodable && (!strings.HasPrefix(got, undecodable) || len(got) == len(undecodable)) ||
				tc.want != undecodable && got != tc.want {
				t.Errorf("got %q, want %q", got, tc.want)
			}
			c.sent = 1
			c.send(candid.EncodeText("still here"))
			c.keepAlive()
			w.checkCount(gateway1, 1)
		})
	}
}

// A service message that is refused is refused also when others wait behind it, which are taken.
func TestCDKServiceMessageRefusedBeforeHeldOnes(t *testing.T) {
	w := newCDK(t, settings{})
	c := w.open(client(1), 1, gateway1)
	held := c.start(2, candid.EncodeText("second"))
	if got := w.result(held); got != "" {
		t.Fatal(got)
	}
	got := w.tryMessage(client(1), serviceMessage(c.key, 1, candid.EncodeServiceMessage(candid.ServiceMessage{Kind: candid.AckMessage})))
	if want := "Invalid service message"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	w.idle()
	if got := w.texts(w.target, "log"); len(got) != 1 || got[0] != "second" {
		t.Errorf("the target got %q", got)
	}
	c.sent = 2
	c.keepAlive()
}

// What the canister cannot pass on is refused, and has cost its number all the same, as everything that the CDK refuses
// for its content: a client that goes on stays in order. A wrong number closes the client whatever the content is.
func TestCDKRefusedMessageCostsItsNumber(t *testing.T) {
	w := newRelay(t, settings{}) // no call takes messages
	c, wrong := w.open(client(1), 1, gateway1), w.open(client(2), 1, gateway2)
	refused := func(number uint64) {
		t.Helper()
		if got := w.tryMessage(client(1), message(c.key, number)); !strings.HasPrefix(got, "This route takes no messages") {
			t.Errorf("message %d: got %q", number, got)
		}
	}
	refused(1)
	refused(3) // ahead of its turn
	refused(2)
	c.sent = 3
	c.keepAlive()
	w.advance(cdkAckInterval)
	c.checkAck(1, 4, 2)

	if got, want := w.tryMessage(client(2), message(wrong.key, 65)), "Expected incoming sequence number 1 but got 65"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	wrong.checkGone()
}
