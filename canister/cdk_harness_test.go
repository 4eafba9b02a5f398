package canister_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/icrelay/icrelay/candid"
	"github.com/icrelay/icrelay/ic"
)

// The tests in cdk_*_test.go assert of the relay canister what the CDK's own
// tests assert of it; docs/cdk-differences.md says which stands where.

const (
	// The CDK's constants, which the defaults of the relay canister must equal.
	cdkMaxMessages  = 50
	cdkAckInterval  = 300 * time.Second
	cdkKeepAlive    = 60 * time.Second
	cdkDropsPerPush = 5
)

// cdkWorld is a relay canister set up as the canister that the CDK is tested
// with: it takes what clients send, and can be told to send to them.
type cdkWorld struct {
	*world
	target candid.Principal
}

// newCDK is a relay canister with the CDK's defaults, but for the settings given.
func newCDK(t testing.TB, s settings) *cdkWorld {
	t.Helper()
	w := &cdkWorld{world: newWorld(t)}
	w.target = w.installTarget()
	s.calls = []method{{w.target, "put"}}
	w.installRelay(s)
	return w
}

// sendTexts sends a client the texts test<from> to test<to>.
func (w *cdkWorld) sendTexts(client candid.Principal, from, to int) {
	w.t.Helper()
	for i := from; i <= to; i++ {
		if _, refusal := w.trySend(client, candid.EncodeText(testText(i))); refusal != "" {
			w.t.Fatalf("send: %s", refusal)
		}
	}
}

func testText(i int) string { return fmt.Sprintf("test%d", i) }

// tryMessage sends one message as a principal, and returns the refusal.
func (w *world) tryMessage(sender candid.Principal, m candid.WebsocketMessage) string {
	w.t.Helper()
	return w.result(w.start(sender, w.relay, "ws_message", candid.EncodeMessageArgs(m)))
}

// message is an application's message of a client, empty as in the CDK's tests.
func message(key candid.ClientKey, number uint64) candid.WebsocketMessage {
	return candid.WebsocketMessage{ClientKey: key, SequenceNum: number}
}

// serviceMessage is a service message of a client.
func serviceMessage(key candid.ClientKey, number uint64, content []byte) candid.WebsocketMessage {
	return candid.WebsocketMessage{ClientKey: key, SequenceNum: number, IsServiceMessage: true, Content: content}
}

// checkEmpty wants a poll that finds nothing; poll checks the rest of an empty answer.
func (w *world) checkEmpty(gateway candid.Principal, nonce uint64) {
	w.t.Helper()
	if got := w.poll(gateway, nonce); len(got.Messages) != 0 {
		w.t.Errorf("%d messages for gateway %s from nonce %d", len(got.Messages), gateway, nonce)
	}
}

// checkCount wants so many messages in a gateway's first poll.
func (w *world) checkCount(gateway candid.Principal, want int) {
	w.t.Helper()
	if got := w.poll(gateway, 0); len(got.Messages) != want {
		w.t.Errorf("%d messages for gateway %s, want %d", len(got.Messages), gateway, want)
	}
}

// checkTexts wants messages to one client, the first of which has the sequence
// number first: the texts test<sequence number - 1>, and between them service
// messages of the kinds OpenMessage and AckMessage. The certification has been
// checked by poll.
func (w *world) checkTexts(got []candid.OutputMessage, key candid.ClientKey, first uint64) {
	w.t.Helper()
	for i, m := range got {
		want := first + uint64(i)
		decoded := w.decodeMessage(m)
		if m.ClientKey != key || decoded.ClientKey != key {
			w.t.Fatalf("message %s is for %s and %s, want %s", m.Key, m.ClientKey, decoded.ClientKey, key)
		}
		if decoded.SequenceNum != want {
			w.t.Fatalf("message %s has sequence number %d, want %d", m.Key, decoded.SequenceNum, want)
		}
		if decoded.Timestamp > w.nanoseconds() {
			w.t.Errorf("message %s has the timestamp %d, now it is %d", m.Key, decoded.Timestamp, w.nanoseconds())
		}
		if decoded.IsServiceMessage {
			if kind := w.service(m).Kind; kind != candid.OpenMessage && kind != candid.AckMessage {
				w.t.Errorf("message %s is a %s", m.Key, kind)
			}
			continue
		}
		text, err := candid.DecodeText(decoded.Content)
		if err != nil {
			w.t.Fatal(err)
		}
		if text != testText(int(want-1)) {
			w.t.Errorf("message %s with sequence number %d is %q", m.Key, want, text)
		}
	}
}

func (w *world) decodeMessage(m candid.OutputMessage) candid.WebsocketMessage {
	w.t.Helper()
	decoded, err := candid.DecodeWebsocketMessage(m.Content)
	if err != nil {
		w.t.Fatalf("message %s: %v", m.Key, err)
	}
	return decoded
}

// service is a queued message as the service message that it must be.
func (w *world) service(m candid.OutputMessage) candid.ServiceMessage {
	w.t.Helper()
	decoded := w.decodeMessage(m)
	if !decoded.IsServiceMessage {
		w.t.Fatalf("message %s is no service message", m.Key)
	}
	s, err := candid.DecodeServiceMessage(decoded.Content)
	if err != nil {
		w.t.Fatalf("message %s: %v", m.Key, err)
	}
	return s
}

// checkAck wants a poll from nonce that has one message: the acknowledgement of
// lastIncoming, with the given sequence number.
func (c *conn) checkAck(nonce, lastIncoming, number uint64) {
	c.w.t.Helper()
	got := c.w.poll(c.gateway, nonce).Messages
	if len(got) != 1 {
		c.w.t.Fatalf("%d messages from nonce %d on, want an acknowledgement", len(got), nonce)
	}
	want := candid.ServiceMessage{Kind: candid.AckMessage, LastIncoming: lastIncoming}
	if diff := cmp.Diff(want, c.w.service(got[0])); diff != "" {
		c.w.t.Error(diff)
	}
	decoded := c.w.decodeMessage(got[0])
	if got[0].ClientKey != c.key || decoded.ClientKey != c.key || decoded.SequenceNum != number {
		c.w.t.Errorf("acknowledgement %d for %s, want %d for %s", decoded.SequenceNum, got[0].ClientKey, number, c.key)
	}
	if decoded.Timestamp > c.w.nanoseconds() {
		c.w.t.Errorf("acknowledgement from the future: %d, now it is %d", decoded.Timestamp, c.w.nanoseconds())
	}
}

// checkClosed wants a message that closes the connection with this reason.
func (w *world) checkClosed(m candid.OutputMessage, reason candid.CloseReason) {
	w.t.Helper()
	want := candid.ServiceMessage{Kind: candid.CloseMessage, Reason: reason}
	if diff := cmp.Diff(want, w.service(m)); diff != "" {
		w.t.Error(diff)
	}
}

// checkGone wants a client that the canister no longer knows, of a gateway that it still knows.
func (c *conn) checkGone() {
	c.w.t.Helper()
	want := "Client with key " + c.key.String() + " doesn't have an open connection"
	if got := c.w.tryClose(c.gateway, c.key); got != want {
		c.w.t.Errorf("closing a client that has gone: got %q, want %q", got, want)
	}
}

// nanoseconds is the canister's time.
func (w *world) nanoseconds() uint64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return uint64(w.now.UnixNano())
}

// someKeys are client keys that a seed gives, all different: principals of users
// and of canisters, nonces from the whole range.
func someKeys(seed uint64, count int) []candid.ClientKey {
	r := rand.New(rand.NewPCG(seed, 1))
	keys := make([]candid.ClientKey, count)
	for i := range keys {
		keys[i] = candid.ClientKey{Principal: somePrincipal(r), Nonce: r.Uint64() >> r.IntN(64)}
	}
	return keys
}

func someGateways(seed uint64, count int) []candid.Principal {
	r := rand.New(rand.NewPCG(seed, 2))
	gateways := make([]candid.Principal, count)
	for i := range gateways {
		gateways[i] = somePrincipal(r)
	}
	return gateways
}

func somePrincipal(r *rand.Rand) candid.Principal {
	if r.IntN(2) == 0 {
		id := make([]byte, 10)
		for i := range id {
			id[i] = byte(r.Uint32())
		}
		id[8], id[9] = 1, 1 // a canister's
		return candid.Principal(id)
	}
	key := make([]byte, 44)
	for i := range key {
		key[i] = byte(r.Uint32())
	}
	return candid.SelfAuthenticating(key)
}

// witness is the tree of a poll that found something.
func (w *world) witness(gateway candid.Principal, nonce uint64) *ic.HashTree {
	w.t.Helper()
	tree, err := ic.DecodeHashTree(w.poll(gateway, nonce).Tree)
	if err != nil {
		w.t.Fatal(err)
	}
	return tree
}

var blobType = candid.VecOf(candid.Nat8Type)

// push calls one of the methods by which a target sends of its own accord, as the CDK's test canister calls its
// library: the result is the number of connections reached, or the refusal.
func (w *world) push(sender candid.Principal, name string, arg *candid.Builder) (reached uint64, refusal string) {
	w.t.Helper()
	v := w.decode(w.call(sender, w.relay, name, encode(w.t, arg)))
	if text, ok := v.Tag("Err"); ok {
		refusal, _ = text.Text()
		if refusal == "" {
			w.t.Fatalf("%s: refused without a text", name)
		}
		return 0, refusal
	}
	ok, isOk := v.Tag("Ok")
	reached, isNumber := ok.Uint64()
	if !isOk || !isNumber {
		w.t.Fatalf("%s: %v", name, v)
	}
	return reached, ""
}

// trySend pushes a message to all connections of a client.
func (w *world) trySend(to candid.Principal, content []byte) (reached uint64, refusal string) {
	w.t.Helper()
	return w.push(controller, "send", candid.NewBuilder().Add(candid.PrincipalType, to).Add(blobType, content).Add(candid.OptOf(candid.Nat64Type), nil))
}

// tryShut closes all connections of a client.
func (w *world) tryShut(client candid.Principal) (closed uint64, refusal string) {
	w.t.Helper()
	return w.push(controller, "close", candid.NewBuilder().Add(candid.PrincipalType, client).Add(candid.OptOf(candid.Nat64Type), nil))
}
