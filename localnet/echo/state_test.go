package echo

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/icrelay/icrelay/candid"
	"github.com/icrelay/icrelay/ic"
	"github.com/icrelay/icrelay/localnet/execution"
)

// bench is the canister in a machine whose clock stands still. Its certificates
// are the certified data.
type bench struct {
	testing.TB
	machine *execution.Machine
	id      candid.Principal
	state   *canister

	mu  sync.Mutex
	now time.Time
}

func newBench(t testing.TB, change func(*settings)) *bench {
	t.Helper()
	b := &bench{TB: t, now: time.Unix(1_800_000_000, 0)}
	b.machine = execution.New(execution.Options{
		Now: func() time.Time {
			b.mu.Lock()
			defer b.mu.Unlock()
			return b.now
		},
		DataCertificate: func(id candid.Principal) (certificate, certified []byte) {
			info, _ := b.machine.Info(id)
			return info.CertifiedData, info.CertifiedData
		},
	})
	t.Cleanup(func() {
		if err := b.machine.Close(); err != nil {
			t.Error(err)
		}
	})
	s := defaults
	if change != nil {
		change(&s)
	}
	b.state = newCanister(s)
	var err error
	if b.id, err = b.machine.CreateCanister(nil); err != nil {
		t.Fatal(err)
	}
	if err := b.machine.InstallNative(t.Context(), b.id, b.state.native()); err != nil {
		t.Fatal(err)
	}
	return b
}

// advance moves the clock and waits until the machine has done what is due.
func (b *bench) advance(d time.Duration) {
	b.Helper()
	b.mu.Lock()
	b.now = b.now.Add(d)
	b.mu.Unlock()
	b.machine.Tick()
	// What is due is queued behind the first of these at the latest.
	b.call("\x09", "ws_close", candid.EncodeCloseArgs(candid.ClientKey{}))
	b.call("\x09", "ws_close", candid.EncodeCloseArgs(candid.ClientKey{}))
}

// submit makes a call and returns its result.
func (b *bench) submit(caller candid.Principal, method string, arg []byte) execution.Result {
	b.Helper()
	done := make(chan execution.Result, 1)
	if err := b.machine.Submit(execution.Ingress{Sender: caller, Canister: b.id, Method: method, Arg: arg},
		func(r execution.Result) { done <- r }); err != nil {
		b.Fatal(err)
	}
	return <-done
}

// call returns the text of an Err, "" for Ok.
func (b *bench) call(caller candid.Principal, method string, arg []byte) string {
	b.Helper()
	r := b.submit(caller, method, arg)
	if r.Reject != nil {
		b.Fatal(r.Reject)
	}
	text, refused, err := candid.DecodeResult(r.Reply)
	if err != nil || refused != (text != "") {
		b.Fatal(text, err)
	}
	return text
}

func (b *bench) open(key candid.ClientKey, gateway candid.Principal) string {
	b.Helper()
	return b.call(key.Principal, "ws_open", candid.EncodeOpenArgs(key.Nonce, gateway))
}

func (b *bench) message(key candid.ClientKey, sequence uint64, service bool, content []byte) string {
	b.Helper()
	return b.call(key.Principal, "ws_message", candid.EncodeMessageArgs(candid.WebsocketMessage{
		ClientKey: key, SequenceNum: sequence, IsServiceMessage: service, Content: content}))
}

func (b *bench) keepAlive(key candid.ClientKey, sequence uint64) string {
	b.Helper()
	return b.message(key, sequence, true, candid.EncodeServiceMessage(candid.ServiceMessage{Kind: candid.KeepAliveMessage}))
}

func (b *bench) poll(gateway candid.Principal, nonce uint64) candid.OutputMessages {
	b.Helper()
	r := b.machine.Query(context.Background(), gateway, b.id, "ws_get_messages", candid.EncodeGetMessagesArgs(nonce))
	if r.Reject != nil {
		b.Fatal(r.Reject)
	}
	batch, _, refused, err := candid.DecodeOutputMessages(r.Reply)
	if err != nil || refused {
		b.Fatal(err, refused)
	}
	b.verify(batch)
	return batch
}

// verify makes a client's checks on a batch, the certificate being the root hash.
func (b *bench) verify(batch candid.OutputMessages) {
	b.Helper()
	if len(batch.Messages) == 0 {
		if !batch.EndOfQueue || len(batch.Cert) != 0 || len(batch.Tree) != 0 {
			b.Fatalf("empty batch %+v", batch)
		}
		return
	}
	tree, err := ic.DecodeHashTree(batch.Tree)
	if err != nil {
		b.Fatal(err)
	}
	if root := tree.Digest(); !bytes.Equal(root[:], batch.Cert) || !tree.WellFormed() {
		b.Fatalf("root %x, certified %x", root, batch.Cert)
	}
	for _, m := range batch.Messages {
		leaf, result := tree.Lookup([]byte("websocket"), []byte(m.Key))
		if sum := sha256.Sum256(m.Content); result != ic.Found || !bytes.Equal(leaf, sum[:]) {
			b.Fatalf("%s: %v", m.Key, result)
		}
	}
}

// all polls to the end, and describes what is queued.
func (b *bench) all(gateway candid.Principal, nonce uint64) []string {
	b.Helper()
	var out []string
	for {
		batch := b.poll(gateway, nonce)
		for _, m := range batch.Messages {
			w, err := candid.DecodeWebsocketMessage(m.Content)
			if err != nil {
				b.Fatal(err)
			}
			text := string(w.Content)
			if w.IsServiceMessage {
				s, err := candid.DecodeServiceMessage(w.Content)
				if err != nil {
					b.Fatal(err)
				}
				text = s.Kind.String()
				switch s.Kind {
				case candid.AckMessage:
					text += fmt.Sprint(" ", s.LastIncoming)
				case candid.CloseMessage:
					text += " " + s.Reason.String()
				}
			}
			if !strings.HasPrefix(m.Key, gateway.String()+"_") || w.ClientKey != m.ClientKey {
				b.Fatalf("key %s of %s, content of %s", m.Key, m.ClientKey, w.ClientKey)
			}
			if _, err := fmt.Sscanf(m.Key[len(m.Key)-20:], "%020d", &nonce); err != nil {
				b.Fatal(err)
			}
			nonce++
			out = append(out, fmt.Sprintf("%d %s", w.SequenceNum, text))
		}
		if batch.EndOfQueue {
			return out
		}
	}
}

func (b *bench) want(got, want any) {
	b.Helper()
	if fmt.Sprint(got) != fmt.Sprint(want) {
		b.Fatalf("got  %v\nwant %v", got, want)
	}
}

const (
	alice    = candid.Principal("\x01alice\x02")
	bob      = candid.Principal("\x01bob\x02")
	gatewayA = candid.Principal("\x01gateway a\x02")
	gatewayB = candid.Principal("\x01gateway b\x02")
)

var (
	aliceKey = candid.ClientKey{Principal: alice, Nonce: 1}
	bobKey   = candid.ClientKey{Principal: bob, Nonce: 2}
)

func TestEcho(t *testing.T) {
	b := newBench(t, nil)
	b.want(b.open(aliceKey, gatewayA), "")
	b.want(b.open(bobKey, gatewayB), "")
	b.want(b.message(aliceKey, 1, false, []byte("one")), "")
	b.want(b.message(bobKey, 1, false, nil), "")
	b.want(b.message(aliceKey, 2, false, []byte("two")), "")
	b.want(b.all(gatewayA, 0), []string{"1 OpenMessage", "2 one", "3 two"})
	b.want(b.all(gatewayA, 2), []string{"3 two"})
	b.want(b.all(gatewayA, 3), []string{})
	b.want(b.all(gatewayA, ^uint64(0)), []string{})
	b.want(b.all(gatewayB, 0), []string{"1 OpenMessage", "2 "})
	b.want(b.all(alice, 0), []string{})
}

func TestRefusals(t *testing.T) {
	other := candid.ClientKey{Principal: alice, Nonce: 9}
	for _, test := range []struct {
		name string
		do   func(b *bench) string
		want string
		then []string // at gateway a
	}{
		{"anonymous", func(b *bench) string { return b.open(candid.ClientKey{Principal: candid.Anonymous}, gatewayA) },
			"Anonymous principal is not allowed", []string{"1 OpenMessage"}},
		{"open twice", func(b *bench) string { return b.open(aliceKey, gatewayB) },
			"Client with key " + aliceKey.String() + " already has an open connection", []string{"1 OpenMessage"}},
		{"message of a stranger", func(b *bench) string { return b.message(bobKey, 1, false, nil) },
			"Client with principal " + bob.String() + " doesn't have an open connection", []string{"1 OpenMessage"}},
		{"message of another connection", func(b *bench) string { return b.message(other, 1, false, nil) },
			"Client with principal " + alice.String() + " has a different key than the one used in the message", []string{"1 OpenMessage"}},
		{"a gap", func(b *bench) string { return b.message(aliceKey, 2, false, nil) },
			"Expected incoming sequence number 1 but got 2", []string{"1 OpenMessage", "2 CloseMessage WrongSequenceNumber"}},
		{"a repetition", func(b *bench) string {
			b.want(b.message(aliceKey, 1, false, []byte("x")), "")
			return b.message(aliceKey, 1, false, []byte("x"))
		}, "Expected incoming sequence number 2 but got 1", []string{"1 OpenMessage", "2 x", "3 CloseMessage WrongSequenceNumber"}},
		{"no service message", func(b *bench) string { return b.message(aliceKey, 1, true, []byte("x"))[:38] },
			"Error decoding service message content", []string{"1 OpenMessage"}},
		{"a service message of canisters", func(b *bench) string {
			return b.message(aliceKey, 1, true, candid.EncodeServiceMessage(candid.ServiceMessage{Kind: candid.AckMessage}))
		}, "Invalid service message", []string{"1 OpenMessage"}},
		{"close by nobody", func(b *bench) string { return b.call(gatewayB, "ws_close", candid.EncodeCloseArgs(aliceKey)) },
			"Gateway with principal " + gatewayB.String() + " is not registered", []string{"1 OpenMessage"}},
		{"close of nobody", func(b *bench) string { return b.call(gatewayA, "ws_close", candid.EncodeCloseArgs(bobKey)) },
			"Client with key " + bobKey.String() + " doesn't have an open connection", []string{"1 OpenMessage"}},
		{"close by another gateway", func(b *bench) string {
			b.want(b.open(bobKey, gatewayB), "")
			return b.call(gatewayA, "ws_close", candid.EncodeCloseArgs(bobKey))
		}, "Client with key " + bobKey.String() + " was not registered to gateway " + gatewayA.String(), []string{"1 OpenMessage"}},
		{"a message after the close", func(b *bench) string {
			b.want(b.call(gatewayA, "ws_close", candid.EncodeCloseArgs(aliceKey)), "")
			return b.message(aliceKey, 1, false, nil)
		}, "Client with principal " + alice.String() + " doesn't have an open connection", []string{"1 OpenMessage"}},
		{"a new connection replaces the old one", func(b *bench) string {
			b.want(b.open(other, gatewayA), "")
			b.want(b.message(other, 1, false, []byte("y")), "")
			return b.message(aliceKey, 1, false, nil)
		}, "Client with principal " + alice.String() + " has a different key than the one used in the message", []string{"1 OpenMessage", "1 OpenMessage", "2 y"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := newBench(t, nil)
			b.want(b.open(aliceKey, gatewayA), "")
			b.want(test.do(b), test.want)
			b.want(b.all(gatewayA, 0), test.then)
		})
	}
}

func TestMalformedArguments(t *testing.T) {
	b := newBench(t, nil)
	b.want(b.open(aliceKey, gatewayA), "")
	for _, method := range []string{"ws_open", "ws_close", "ws_message", "ws_get_messages"} {
		for _, arg := range []string{"", "DIDL", "DIDL\x00\x00", "DIDL\x00\x01\x7d\x01"} {
			r := b.submit(alice, method, []byte(arg))
			if r.Reject == nil || r.Reject.ErrorCode != "IC0503" || !strings.Contains(r.Reject.Text, "failed to decode call arguments") {
				t.Errorf("%s(%q): %+v", method, arg, r.Reject)
			}
		}
	}
	r := b.submit(gatewayA, "ws_get_messages", candid.EncodeGetMessagesArgs(0))
	if r.Reject == nil || !strings.Contains(r.Reject.Text, "no data certificate") {
		t.Errorf("a poll that is no query: %+v", r.Reject)
	}
	r = b.machine.Query(context.Background(), alice, b.id, "ws_open", candid.EncodeOpenArgs(1, gatewayA))
	if r.Reject == nil || r.Reject.ErrorCode != "IC0536" {
		t.Errorf("an update as a query: %+v", r.Reject)
	}
	b.want(b.all(gatewayA, 0), []string{"1 OpenMessage"})
}

func TestAcknowledgements(t *testing.T) {
	b := newBench(t, nil)
	b.want(b.open(aliceKey, gatewayA), "")
	b.want(b.open(bobKey, gatewayA), "")
	b.want(b.message(aliceKey, 1, false, []byte("one")), "")
	b.advance(defaults.ackInterval - time.Second)
	b.want(len(b.all(gatewayA, 3)), 0)
	b.advance(time.Second)
	got := strings.Join(b.all(gatewayA, 3), ", ")
	if got != "3 AckMessage 1, 2 AckMessage 0" && got != "2 AckMessage 0, 3 AckMessage 1" {
		t.Fatal(got)
	}
	late := candid.ClientKey{Principal: "\x01late\x02", Nonce: 3}
	b.want(b.open(late, gatewayA), "") // has not been asked
	b.want(b.keepAlive(aliceKey, 2), "")
	b.advance(defaults.keepAliveTimeout)
	b.want(b.all(gatewayA, 5), []string{"1 OpenMessage", "3 CloseMessage KeepAliveTimeout"})
	b.want(b.message(aliceKey, 3, false, nil), "")
	b.want(b.message(late, 1, false, nil), "")
	b.want(strings.Contains(b.message(bobKey, 1, false, nil), "doesn't have an open connection"), true)

	b.advance(24 * time.Hour) // one acknowledgement, not 288
	b.want(len(b.all(gatewayA, 0)), 2)
}

func TestGatewaysAreForgotten(t *testing.T) {
	b := newBench(t, nil)
	b.want(b.open(aliceKey, gatewayA), "")
	b.want(b.open(bobKey, gatewayB), "")
	b.want(b.call(gatewayA, "ws_close", candid.EncodeCloseArgs(aliceKey)), "")
	b.advance(defaults.ackInterval)
	b.want(b.keepAlive(bobKey, 1), "")
	b.advance(defaults.keepAliveTimeout) // more than the interval after the close
	b.want(b.all(gatewayA, 0), []string{})
	b.want(b.call(gatewayA, "ws_close", candid.EncodeCloseArgs(aliceKey)), "Gateway with principal "+gatewayA.String()+" is not registered")
	b.want(b.all(gatewayB, 0), []string{"2 AckMessage 0"}) // what is old is gone
	b.want(b.open(aliceKey, gatewayA), "")
	b.want(b.all(gatewayA, 0), []string{"1 OpenMessage"}) // from nonce 0 again
}

func TestBatches(t *testing.T) {
	b := newBench(t, func(s *settings) { s.batchBytes = 10_000 })
	b.want(b.open(aliceKey, gatewayA), "")
	for n := range 119 {
		b.want(b.message(aliceKey, uint64(n+1), false, []byte("x")), "")
	}
	for _, test := range []struct {
		from uint64
		want int
		end  bool
	}{{0, 50, false}, {50, 50, false}, {69, 50, false}, {70, 50, true}, {100, 20, true}, {119, 1, true}, {120, 0, true}} {
		batch := b.poll(gatewayA, test.from)
		if len(batch.Messages) != test.want || batch.EndOfQueue != test.end {
			t.Errorf("from %d: %d messages, end %v", test.from, len(batch.Messages), batch.EndOfQueue)
		}
	}
	for n := range 3 {
		b.want(b.message(aliceKey, uint64(120+n), false, make([]byte, 6_000+n*6_000)), "")
	}
	for from := range uint64(3) {
		if batch := b.poll(gatewayA, 120+from); len(batch.Messages) != 1 || batch.EndOfQueue != (from == 2) {
			t.Errorf("%d long messages in a batch, end %v", len(batch.Messages), batch.EndOfQueue)
		}
	}
}

// TestBounds: messages that nobody polls go by age, a few with each new one as in
// the CDK, and by bytes, those of the greediest gateway first.
func TestBounds(t *testing.T) {
	const room = 100
	b := newBench(t, func(s *settings) {
		s.queueBytes = room * (messageOverhead + 1000)
		s.clients, s.gateways = 3, 2
	})
	b.want(b.open(aliceKey, gatewayA), "")
	b.want(b.open(bobKey, gatewayB), "")
	b.want(b.message(bobKey, 1, false, []byte("stays")), "")
	for n := range 3 * room {
		b.want(b.message(aliceKey, uint64(n+1), false, make([]byte, 1000)), "")
		if b.state.bytes > b.state.queueBytes {
			t.Fatalf("%d bytes are queued", b.state.bytes)
		}
	}
	b.want(b.all(gatewayB, 0), []string{"1 OpenMessage", "2 stays"})
	left := b.all(gatewayA, 0)
	if len(left) < room-20 || len(left) > room || !strings.HasPrefix(left[len(left)-1], fmt.Sprint(3*room+1, " ")) {
		t.Errorf("%d messages are left", len(left))
	}
	b.want(b.message(aliceKey, 3*room+1, false, make([]byte, 1<<20)), "") // more than fits
	b.want(len(b.all(gatewayA, 0)), 1)

	b.want(b.open(candid.ClientKey{Principal: "\x01c\x02"}, "\x01gateway c\x02"), "There are 2 gateways, and no more are allowed")
	b.want(b.open(candid.ClientKey{Principal: "\x01c\x02"}, gatewayA), "")
	b.want(b.open(candid.ClientKey{Principal: "\x01d\x02"}, gatewayA), "There are 3 clients, and no more are allowed")
	b.want(b.open(candid.ClientKey{Principal: alice, Nonce: 4}, gatewayA), "") // replaces
}

func TestAge(t *testing.T) {
	b := newBench(t, func(s *settings) { s.ackInterval, s.keepAliveTimeout = time.Hour, 90*time.Minute })
	b.want(b.open(aliceKey, gatewayA), "")
	for n := range 11 {
		b.want(b.message(aliceKey, uint64(n+1), false, nil), "")
	}
	b.advance(time.Hour + time.Second)
	before := b.state.gateways[gatewayA].queue
	b.want(before.next-before.tree.first, 8) // 13 with the acknowledgement, which took 5 along
	b.want(b.message(aliceKey, 12, false, nil), "")
	b.want(b.state.gateways[gatewayA].queue.tree.first, 10)
	b.want(b.message(aliceKey, 13, false, nil), "")
	b.want(b.state.gateways[gatewayA].queue.tree.first, 12)
}

// TestTrie compares with the hash trees of package ic: what any sequence of
// additions and drops leaves is a well-formed tree of exactly these messages, and
// a witness has its digest and shows its range.
func TestTrie(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		q := newQueue(gatewayA)
		q.next = rapid.Uint64Range(0, 1<<20).Draw(t, "first")
		first := q.next
		for range rapid.IntRange(1, 30).Draw(t, "steps") {
			for range rapid.IntRange(0, 9).Draw(t, "add") {
				q = q.add(aliceKey, q.next, fmt.Append(nil, q.next))
			}
			limit := rapid.IntRange(-1, 6).Draw(t, "limit")
			until := first + rapid.Uint64Range(0, 12).Draw(t, "drop")
			q = q.drop(limit, func(m *message) bool { return m.nonce < until })
			dropped := min(until, q.next) - first
			if limit >= 0 {
				dropped = min(dropped, uint64(limit))
			}
			first += dropped
		}
		if first == q.next {
			if q.tree != nil || q.bytes != 0 {
				t.Fatalf("%d bytes in an empty queue", q.bytes)
			}
			return
		}
		from := first + rapid.Uint64Range(0, q.next-first-1).Draw(t, "from")
		most := rapid.IntRange(1, 10).Draw(t, "most")
		messages, end := q.batch(from, most, 1<<20)
		if want := min(uint64(most), q.next-from); uint64(len(messages)) != want || end != (from+want == q.next) {
			t.Fatalf("%d messages, end %v", len(messages), end)
		}
		other := newQueue(gatewayB).add(bobKey, 1, nil)
		s := newSnapshot([]*queue{q, other})
		tree, err := ic.DecodeHashTree(s.witness(q, from, messages[len(messages)-1].nonce))
		if err != nil || tree.Digest() != s.root || !tree.WellFormed() {
			t.Fatal("the witness is not of this tree", err)
		}
		bytes := 0
		for nonce := first; nonce < q.next; nonce++ {
			key := newKeyMaker(q).make(nonce)
			_, result := tree.Lookup([]byte(label), key)
			if shown := nonce >= from && nonce < from+uint64(len(messages)); shown != (result == ic.Found) {
				t.Fatalf("nonce %d of %d to %d: %v", nonce, from, from+uint64(len(messages)), result)
			}
			bytes += messageOverhead + len(fmt.Sprint(nonce))
		}
		if bytes != q.bytes {
			t.Fatalf("%d bytes counted, want %d", q.bytes, bytes)
		}
		if d := depth(q.tree); d > 2*len(fmt.Sprintf("%b", q.next-first)) {
			t.Fatalf("%d messages in a tree of depth %d", q.next-first, d)
		}
	})
}

func depth(n *node) int {
	if n == nil || n.message != nil {
		return 0
	}
	return 1 + max(depth(n.left), depth(n.right))
}

// TestManyGateways: the keys of many gateways stand in one order in one tree.
func TestManyGateways(t *testing.T) {
	b := newBench(t, nil)
	var gateways []candid.Principal
	for n := range 40 {
		gateways = append(gateways, candid.SelfAuthenticating([]byte{byte(n)}))
	}
	gateways = append(gateways, "", "\x04", "\x01", "\x01\x01") // of odd lengths
	for n, g := range gateways {
		key := candid.ClientKey{Principal: candid.Principal([]byte{1, byte(n), 2}), Nonce: uint64(n)}
		b.want(b.open(key, g), "")
		b.want(b.message(key, 1, false, fmt.Append(nil, n)), "")
	}
	for n, g := range gateways {
		b.want(b.all(g, 0), []string{"1 OpenMessage", fmt.Sprint("2 ", n)})
	}
}

// TestOlderState: the poll answers from the state that its certificate covers,
// and asks for another if that is no longer known.
func TestOlderState(t *testing.T) {
	c := newCanister(defaults)
	c.open(alice, 1, gatewayA, 1)
	first := c.publish()
	for n := range keptSnapshots {
		c.message(alice, &candid.WebsocketMessage{ClientKey: aliceKey, SequenceNum: uint64(n + 1)}, 2)
		if found := c.recent.find(first.root[:]); found != first {
			t.Fatalf("version %d is not known after %d more", 1, n)
		}
		c.publish()
	}
	if c.recent.find(first.root[:]) != nil || len(c.recent.byRoot) != keptSnapshots {
		t.Errorf("%d versions are known", len(c.recent.byRoot))
	}
	if c.recent.find(nil) != nil || c.recent.find([]byte("short")) != nil {
		t.Error("found what is not there")
	}
}

// FuzzMethods calls every method with foreign bytes.
func FuzzMethods(f *testing.F) {
	b := newBench(f, nil)
	b.open(aliceKey, gatewayA)
	methods := []string{"ws_open", "ws_close", "ws_message", "ws_get_messages"}
	f.Add(uint8(0), candid.EncodeOpenArgs(1, gatewayA))
	f.Add(uint8(1), candid.EncodeCloseArgs(aliceKey))
	f.Add(uint8(2), candid.EncodeMessageArgs(candid.WebsocketMessage{ClientKey: aliceKey, SequenceNum: 1, Content: []byte("x")}))
	f.Add(uint8(3), candid.EncodeGetMessagesArgs(0))
	f.Fuzz(func(t *testing.T, which uint8, arg []byte) {
		method := methods[int(which)%len(methods)]
		done := make(chan execution.Result, 1)
		if err := b.machine.Submit(execution.Ingress{Sender: alice, Canister: b.id, Method: method, Arg: arg}, func(r execution.Result) { done <- r }); err != nil {
			t.Fatal(err)
		}
		if r := <-done; r.Reject == nil && len(r.Reply) == 0 {
			t.Fatal("neither reply nor reject")
		}
		r := b.machine.Query(context.Background(), gatewayA, b.id, "ws_get_messages", arg)
		if r.Reject != nil {
			return
		}
		if _, _, _, err := candid.DecodeOutputMessages(r.Reply); err != nil {
			t.Fatal(err)
		}
	})
}
