package canister_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/icrelay/icrelay/candid"
	"github.com/icrelay/icrelay/localnet/execution"
)

// cdkModel says what a canister with the CDK would answer: the protocol in its
// simplest form, with the differences that docs/cdk-differences.md names: a
// principal may have several connections, and a gateway that comes back goes on
// with its nonces. Numbers ahead of their turn are not tried here.
type cdkModel struct {
	now, nextAck, nextCheck uint64
	clients                 map[candid.ClientKey]*modelClient
	gateways                map[candid.Principal]*modelGateway
	retired                 map[candid.Principal]uint64
	taken                   uint64 // application messages
}

type modelClient struct {
	gateway             candid.Principal
	expected, sent      uint64
	lastKeepAlive       uint64
	isAskedForKeepAlive bool
}

type modelGateway struct {
	clients    int
	emptySince uint64
	first      uint64 // nonce of queue[0]
	queue      []modelMessage
}

type modelMessage struct {
	key     candid.ClientKey
	number  uint64
	at      uint64
	service candid.ServiceMessage // Kind 0: an application's
	content string
}

func newModel(now uint64) *cdkModel {
	return &cdkModel{
		now:      now,
		nextAck:  now + uint64(cdkAckInterval),
		clients:  map[candid.ClientKey]*modelClient{},
		gateways: map[candid.Principal]*modelGateway{},
		retired:  map[candid.Principal]uint64{},
	}
}

func (m *cdkModel) open(caller, gateway candid.Principal, nonce uint64) string {
	key := candid.ClientKey{Principal: caller, Nonce: nonce}
	if caller.IsAnonymous() {
		return "Anonymous principal is not allowed"
	}
	if m.clients[key] != nil {
		return "Client with key " + key.String() + " already has an open connection"
	}
	g := m.gateways[gateway]
	if g == nil {
		g = &modelGateway{first: m.retired[gateway]}
		m.gateways[gateway] = g
	}
	g.clients++
	m.clients[key] = &modelClient{gateway: gateway, expected: 1, lastKeepAlive: m.now}
	m.queue(key, candid.ServiceMessage{Kind: candid.OpenMessage, ClientKey: key}, "")
	return ""
}

func (m *cdkModel) closeByGateway(caller candid.Principal, key candid.ClientKey) string {
	switch c := m.clients[key]; {
	case m.gateways[caller] == nil:
		return "Gateway with principal " + caller.String() + " is not registered"
	case c == nil:
		return "Client with key " + key.String() + " doesn't have an open connection"
	case c.gateway != caller:
		return "Client with key " + key.String() + " was not registered to gateway " + caller.String()
	}
	m.remove(key, 0)
	return ""
}

func (m *cdkModel) message(caller candid.Principal, message candid.WebsocketMessage, service candid.ServiceKind) string {
	if len(m.connections(caller)) == 0 {
		return "Client with principal " + caller.String() + " doesn't have an open connection"
	}
	c := m.clients[message.ClientKey]
	if c == nil || message.ClientKey.Principal != caller {
		return "Client with principal " + message.ClientKey.Principal.String() + " has a different key than the one used in the message"
	}
	if message.SequenceNum != c.expected {
		m.remove(message.ClientKey, candid.WrongSequenceNumber)
		return fmt.Sprintf("Expected incoming sequence number %d but got %d", c.expected, message.SequenceNum)
	}
	c.expected++
	switch {
	case !message.IsServiceMessage:
		m.taken++
	case service != candid.KeepAliveMessage:
		return "Invalid service message"
	default:
		c.lastKeepAlive = m.now
	}
	return ""
}

// send and shut are what the application does.
func (m *cdkModel) send(to candid.Principal, content string) (reached int, refusal string) {
	keys := m.connections(to)
	if len(keys) == 0 {
		return 0, "Client with principal " + to.String() + " doesn't have an open connection"
	}
	for _, key := range keys {
		m.queue(key, candid.ServiceMessage{}, content)
	}
	return len(keys), ""
}

func (m *cdkModel) shut(client candid.Principal) (closed int, refusal string) {
	keys := m.connections(client)
	if len(keys) == 0 {
		return 0, "Client with principal " + client.String() + " doesn't have an open connection"
	}
	for _, key := range keys {
		m.remove(key, candid.ClosedByApplication)
	}
	return len(keys), ""
}

func (m *cdkModel) connections(client candid.Principal) []candid.ClientKey {
	return slices.DeleteFunc(m.sorted(), func(k candid.ClientKey) bool { return k.Principal != client })
}

// sorted is the order in which the relay canister goes through its clients; the CDK has none.
func (m *cdkModel) sorted() []candid.ClientKey {
	return slices.SortedFunc(maps.Keys(m.clients), func(a, b candid.ClientKey) int {
		if c := bytes.Compare([]byte(a.Principal), []byte(b.Principal)); c != 0 {
			return c
		}
		if a.Nonce < b.Nonce {
			return -1
		}
		return 1
	})
}

func (m *cdkModel) queue(key candid.ClientKey, service candid.ServiceMessage, content string) {
	c := m.clients[key]
	g := m.gateways[c.gateway]
	for range cdkDropsPerPush {
		if len(g.queue) > 0 && m.now-g.queue[0].at > uint64(cdkAckInterval) {
			g.queue = g.queue[1:]
			g.first++
		}
	}
	c.sent++
	g.queue = append(g.queue, modelMessage{key, c.sent, m.now, service, content})
}

func (m *cdkModel) remove(key candid.ClientKey, reason candid.CloseReason) {
	if reason != 0 {
		m.queue(key, candid.ServiceMessage{Kind: candid.CloseMessage, Reason: reason}, "")
	}
	g := m.gateways[m.clients[key].gateway]
	delete(m.clients, key)
	g.clients--
	if g.clients == 0 {
		g.emptySince = m.now
	}
}

// next is when a timer fires.
func (m *cdkModel) next() uint64 {
	if m.nextCheck != 0 && m.nextCheck < m.nextAck {
		return m.nextCheck
	}
	return m.nextAck
}

// advance moves the time, not beyond next, and lets the timers fire.
func (m *cdkModel) advance(by uint64) {
	m.now += by
	if m.now == m.nextAck {
		for _, key := range m.sorted() {
			m.queue(key, candid.ServiceMessage{Kind: candid.AckMessage, LastIncoming: m.clients[key].expected - 1}, "")
			m.clients[key].isAskedForKeepAlive = true
		}
		m.nextAck += uint64(cdkAckInterval)
		m.nextCheck = m.now + uint64(cdkKeepAlive)
	}
	if m.now != m.nextCheck {
		return
	}
	m.nextCheck = 0
	for principal, g := range m.gateways {
		if g.clients == 0 && m.now-g.emptySince > uint64(cdkAckInterval) {
			m.retired[principal] = g.first + uint64(len(g.queue))
			delete(m.gateways, principal)
		}
	}
	for _, key := range m.sorted() {
		if c := m.clients[key]; c.isAskedForKeepAlive && m.now-c.lastKeepAlive > uint64(cdkKeepAlive) {
			m.remove(key, candid.KeepAliveTimeout)
		}
	}
}

// poll is the range that a gateway gets, as nonces.
func (m *cdkModel) poll(gateway candid.Principal, nonce uint64) (from, to uint64, isEnd bool) {
	g := m.gateways[gateway]
	if g == nil {
		return 0, 0, true
	}
	end := g.first + uint64(len(g.queue))
	from = min(max(nonce, g.first), end)
	to = min(from+cdkMaxMessages, end)
	return from, to, to == end
}

// Whatever is done in whatever order, the relay canister answers and queues what the model says.
func TestCDKModel(t *testing.T) {
	w := newCDK(t, settings{})
	arg := settings{calls: []method{{w.target, "put"}}}.argument(t)
	taken := w.logSize()
	rapid.Check(t, func(rt *rapid.T) {
		w.reinstall(arg)
		before := taken
		m := newModel(w.nanoseconds())
		r := &modelRun{w, m, rt}
		for range rapid.IntRange(20, 60).Draw(rt, "steps") {
			r.step()
		}
		for _, gateway := range modelGateways {
			r.poll(gateway, 0)
		}
		taken = w.logSize()
		if got := taken - before; got != m.taken {
			rt.Errorf("the target got %d messages, %d were taken", got, m.taken)
		}
	})
}

// reinstall gives the relay canister the same module and no state. It is stopped for that, so that none of its calls to
// itself is under way.
func (w *cdkWorld) reinstall(arg []byte) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if err := errors.Join(
		w.machine.Stop(ctx, w.relay),
		w.machine.Install(ctx, w.relay, execution.ModeReinstall, relayWasm(), arg, controller),
		w.machine.Start(ctx, w.relay),
	); err != nil {
		w.t.Fatal(err)
	}
}

func (w *cdkWorld) logSize() uint64 {
	w.t.Helper()
	n, ok := w.decode(w.ask(stranger, w.target, "logSize", candid.EncodeEmpty())).Uint64()
	if !ok {
		w.t.Fatal("logSize returns no number")
	}
	return n
}

var (
	modelClients  = []candid.Principal{client(1), client(2), client(3), candid.Anonymous}
	modelGateways = []candid.Principal{gateway1, gateway2, stranger}
	modelPauses   = []time.Duration{time.Nanosecond, time.Second, 25 * time.Second, cdkKeepAlive, cdkAckInterval, cdkAckInterval + cdkKeepAlive}
)

type modelRun struct {
	w  *cdkWorld
	m  *cdkModel
	rt *rapid.T
}

func (r *modelRun) step() {
	draw := func(label string, limit int) int { return rapid.IntRange(0, limit-1).Draw(r.rt, label) }
	someClient := func() candid.Principal { return modelClients[draw("client", len(modelClients))] }
	someGateway := func() candid.Principal { return modelGateways[draw("gateway", len(modelGateways))] }
	someKey := func() candid.ClientKey {
		if keys := r.m.sorted(); len(keys) > 0 && draw("is connected", 4) > 0 {
			return keys[draw("key", len(keys))]
		}
		return candid.ClientKey{Principal: someClient(), Nonce: uint64(draw("nonce", 3))}
	}
	check := func(what, got, want string) {
		if got != want {
			r.rt.Fatalf("%s: got %q, want %q", what, got, want)
		}
	}
	switch draw("what", 13) {
	case 0, 1:
		caller, gateway, nonce := someClient(), someGateway(), uint64(draw("nonce", 3))
		check("ws_open", r.w.tryOpen(caller, nonce, gateway), r.m.open(caller, gateway, nonce))
	case 2:
		gateway, key := someGateway(), someKey()
		check("ws_close", r.w.tryClose(gateway, key), r.m.closeByGateway(gateway, key))
	case 3, 4, 5:
		r.message(someKey(), someClient, draw, check)
	case 6, 7:
		to, content := someClient(), fmt.Sprint("text ", draw("content", 1000))
		reached, got := r.w.trySend(to, candid.EncodeText(content))
		wantReached, want := r.m.send(to, content)
		check("send", fmt.Sprint(reached, got), fmt.Sprint(wantReached, want))
	case 8:
		if draw("really", 3) == 0 {
			who := someClient()
			closed, got := r.w.tryShut(who)
			wantClosed, want := r.m.shut(who)
			check("close", fmt.Sprint(closed, got), fmt.Sprint(wantClosed, want))
		}
	case 9:
		r.poll(someGateway(), uint64(draw("from", 80)))
	case 10:
		r.advance(time.Duration(r.m.next() - r.m.now))
	default:
		r.advance(modelPauses[draw("pause", len(modelPauses))])
	}
}

func (r *modelRun) message(key candid.ClientKey, someClient func() candid.Principal, draw func(string, int) int, check func(what, got, want string)) {
	m := candid.WebsocketMessage{ClientKey: key, SequenceNum: 1, Content: candid.EncodeText("x")}
	if c := r.m.clients[key]; c != nil {
		m.SequenceNum = c.expected
	}
	caller := key.Principal
	switch draw("how", 12) {
	case 0:
		caller = someClient()
	case 1:
		m.SequenceNum--
	case 2:
		m.SequenceNum += 64 + uint64(draw("ahead", 5))
	}
	kind := candid.ServiceKind(0)
	switch draw("kind", 4) {
	case 0, 1:
		kind = candid.KeepAliveMessage
	case 2:
		kind = candid.ServiceKind([]candid.ServiceKind{candid.OpenMessage, candid.AckMessage, candid.CloseMessage}[draw("wrong kind", 3)])
	}
	if kind != 0 {
		m.IsServiceMessage = true
		m.Content = candid.EncodeServiceMessage(candid.ServiceMessage{Kind: kind, ClientKey: key, Reason: candid.KeepAliveTimeout})
	}
	check("ws_message", r.w.tryMessage(caller, m), r.m.message(caller, m, kind))
}

// advance stops wherever a timer fires.
func (r *modelRun) advance(by time.Duration) {
	for end := r.m.now + uint64(by); r.m.now < end; {
		step := min(end, r.m.next()) - r.m.now
		r.w.advance(time.Duration(step))
		r.m.advance(step)
	}
}

// poll compares a poll; the harness has checked the certification.
func (r *modelRun) poll(gateway candid.Principal, nonce uint64) {
	from, to, isEnd := r.m.poll(gateway, nonce)
	got := r.w.poll(gateway, nonce)
	if uint64(len(got.Messages)) != to-from || got.EndOfQueue != isEnd {
		r.rt.Fatalf("poll of %s from %d: %d messages, end of queue %v; want %d from %d, %v", gateway, nonce, len(got.Messages), got.EndOfQueue, to-from, from, isEnd)
	}
	for i, message := range got.Messages {
		nonce := from + uint64(i)
		want := r.m.gateways[gateway].queue[nonce-r.m.gateways[gateway].first]
		decoded := r.w.decodeMessage(message)
		if message.Key != fmt.Sprintf("%s_%020d", gateway, nonce) || message.ClientKey != want.key || decoded.ClientKey != want.key ||
			decoded.SequenceNum != want.number || decoded.Timestamp != want.at || decoded.IsServiceMessage != (want.service.Kind != 0) {
			r.rt.Fatalf("message %s for %s: %+v, want number %d for %s at %d", message.Key, message.ClientKey, decoded, want.number, want.key, want.at)
		}
		if decoded.IsServiceMessage {
			if s := r.w.service(message); s != want.service {
				r.rt.Fatalf("message %s: %+v, want %+v", message.Key, s, want.service)
			}
		} else if text, err := candid.DecodeText(decoded.Content); err != nil || text != want.content {
			r.rt.Fatalf("message %s: %q, %v, want %q", message.Key, text, err, want.content)
		}
	}
}
