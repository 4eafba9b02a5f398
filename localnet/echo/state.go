package echo

import (
	"fmt"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/icrelay/icrelay/candid"
)

// canister is the state. Calls change it one at a time; polls read published
// and recent only.
type canister struct {
	settings
	clients   map[candid.ClientKey]*client
	current   map[candid.Principal]candid.ClientKey // the one connection that a principal has
	gateways  map[candid.Principal]*gateway
	order     []*gateway // in the order of their keys
	bytes     int        // of all queues
	changed   bool       // since the last publish
	nextAck   uint64
	nextCheck uint64 // 0: none is due

	published atomic.Pointer[snapshot]
	recent    history
}

// client is one connection.
type client struct {
	gateway   *gateway
	sent      uint64 // sequence number of the last message to the client
	expected  uint64 // sequence number of the next message from the client
	keepAlive uint64 // time of the last sign of life that counts
	acked     bool   // an acknowledgement was sent, so there must be signs of life
}

// gateway is a gateway that clients have named.
type gateway struct {
	principal  candid.Principal
	queue      *queue
	clients    int
	emptySince uint64 // 0: it has clients
}

func newCanister(s settings) *canister {
	c := &canister{
		settings: s,
		clients:  make(map[candid.ClientKey]*client),
		current:  make(map[candid.Principal]candid.ClientKey),
		gateways: make(map[candid.Principal]*gateway),
	}
	c.publish()
	return c
}

// refusal is the text of a variant { Err }, "" for Ok. Where the CDK has the
// same case, the words are the CDK's.
type refusal = string

func (c *canister) open(caller candid.Principal, nonce uint64, gatewayID candid.Principal, now uint64) refusal {
	if caller.IsAnonymous() {
		return "Anonymous principal is not allowed"
	}
	key := candid.ClientKey{Principal: caller, Nonce: nonce}
	if c.clients[key] != nil {
		return fmt.Sprintf("Client with key %s already has an open connection", key)
	}
	old, replaces := c.current[caller]
	if !replaces && len(c.clients) >= c.settings.clients {
		return fmt.Sprintf("There are %d clients, and no more are allowed", len(c.clients))
	}
	if c.gateways[gatewayID] == nil && len(c.gateways) >= c.settings.gateways {
		return fmt.Sprintf("There are %d gateways, and no more are allowed", len(c.gateways))
	}
	if replaces {
		c.remove(old, 0, now)
	}
	g := c.gateway(gatewayID)
	g.clients++
	g.emptySince = 0
	c.clients[key] = &client{gateway: g, expected: 1, keepAlive: now}
	c.current[caller] = key
	c.tell(key, candid.ServiceMessage{Kind: candid.OpenMessage, ClientKey: key}, now)
	return ""
}

// gateway finds a gateway, or registers it.
func (c *canister) gateway(id candid.Principal) *gateway {
	if g := c.gateways[id]; g != nil {
		return g
	}
	g := &gateway{principal: id, queue: newQueue(id)}
	c.gateways[id] = g
	place, _ := slices.BinarySearchFunc(c.order, g, byKeys)
	c.order = slices.Insert(c.order, place, g)
	c.changed = true
	return g
}

func byKeys(a, b *gateway) int { return strings.Compare(a.queue.prefix, b.queue.prefix) }

func (c *canister) close(caller candid.Principal, key candid.ClientKey, now uint64) refusal {
	g, cl := c.gateways[caller], c.clients[key]
	switch {
	case g == nil:
		return fmt.Sprintf("Gateway with principal %s is not registered", caller)
	case cl == nil:
		return fmt.Sprintf("Client with key %s doesn't have an open connection", key)
	case cl.gateway != g:
		return fmt.Sprintf("Client with key %s was not registered to gateway %s", key, caller)
	}
	c.remove(key, 0, now)
	return ""
}

func (c *canister) message(caller candid.Principal, m *candid.WebsocketMessage, now uint64) refusal {
	key, ok := c.current[caller]
	if !ok {
		return fmt.Sprintf("Client with principal %s doesn't have an open connection", caller)
	}
	if m.ClientKey != key {
		return fmt.Sprintf("Client with principal %s has a different key than the one used in the message", m.ClientKey.Principal)
	}
	cl := c.clients[key]
	if m.SequenceNum != cl.expected {
		c.remove(key, candid.WrongSequenceNumber, now)
		return fmt.Sprintf("Expected incoming sequence number %d but got %d", cl.expected, m.SequenceNum)
	}
	cl.expected++
	if !m.IsServiceMessage {
		c.answerTo(key, m.Content, now)
		return ""
	}
	service, err := candid.DecodeServiceMessage(m.Content)
	switch {
	case err != nil:
		return fmt.Sprintf("Error decoding service message content: %v", err)
	case service.Kind != candid.KeepAliveMessage:
		return "Invalid service message"
	}
	cl.keepAlive = now
	return ""
}

// remove forgets a client. A reason, if there is one, is told it.
func (c *canister) remove(key candid.ClientKey, reason candid.CloseReason, now uint64) {
	if reason != 0 {
		c.tell(key, candid.ServiceMessage{Kind: candid.CloseMessage, Reason: reason}, now)
	}
	g := c.clients[key].gateway
	delete(c.clients, key)
	delete(c.current, key.Principal)
	if g.clients--; g.clients == 0 {
		g.emptySince = now
	}
}

func (c *canister) tell(key candid.ClientKey, m candid.ServiceMessage, now uint64) {
	c.send(key, candid.EncodeServiceMessage(m), true, now)
}

// maxAged is how many messages that are too old one new message takes with it,
// as in the CDK: the work of a call stays bounded, and the queue gets shorter.
const maxAged = 5

// send queues a message to a client, which must be there.
func (c *canister) send(key candid.ClientKey, content []byte, service bool, now uint64) {
	cl := c.clients[key]
	cl.sent++
	raw := candid.EncodeWebsocketMessage(candid.WebsocketMessage{
		ClientKey: key, SequenceNum: cl.sent, Timestamp: now, IsServiceMessage: service, Content: content,
	})
	g := cl.gateway
	c.setQueue(g, g.queue.drop(maxAged, c.aged(now)).add(key, now, raw))
	for c.bytes > c.queueBytes && c.shrink() {
		continue
	}
}

// aged says of a message whether it has been kept long enough.
func (c *canister) aged(now uint64) func(*message) bool {
	return func(m *message) bool { return now > m.time && now-m.time > nanos(c.ackInterval) }
}

// shrink drops messages of the gateway that has the most bytes, until all
// together are within their bound or one is left. It reports whether any went.
func (c *canister) shrink() bool {
	g := slices.MaxFunc(c.order, func(a, b *gateway) int { return a.queue.bytes - b.queue.bytes })
	excess, before, last := c.bytes-c.queueBytes, c.bytes, g.queue.next-1
	c.setQueue(g, g.queue.drop(-1, func(m *message) bool {
		if excess <= 0 || m.nonce == last {
			return false
		}
		excess -= m.size()
		return true
	}))
	return c.bytes < before
}

func (c *canister) setQueue(g *gateway, q *queue) {
	if q != g.queue {
		c.bytes += q.bytes - g.queue.bytes
		g.queue = q
		c.changed = true
	}
}

// tick does what is due and returns when to come again.
func (c *canister) tick(now uint64) (next uint64) {
	if c.nextCheck != 0 && now >= c.nextCheck {
		c.nextCheck = 0
		c.check(now)
	}
	if now >= c.nextAck {
		c.acknowledge(now)
		c.nextCheck = now + nanos(c.keepAliveTimeout)
		c.nextAck += nanos(c.ackInterval)
		if c.nextAck <= now { // the machine was asleep
			c.nextAck = now + nanos(c.ackInterval)
		}
	}
	if c.nextCheck != 0 {
		return min(c.nextAck, c.nextCheck)
	}
	return c.nextAck
}

// acknowledge tells all clients what has come from them.
func (c *canister) acknowledge(now uint64) {
	for key, cl := range c.clients {
		c.tell(key, candid.ServiceMessage{Kind: candid.AckMessage, LastIncoming: cl.expected - 1}, now)
		cl.acked = true
	}
}

// check ends what is no longer in use: gateways without clients, clients that
// have not answered an acknowledgement, and, for a canister that nobody sends
// to any more, messages that are too old.
func (c *canister) check(now uint64) {
	for _, g := range slices.Clone(c.order) {
		if g.clients == 0 && now-g.emptySince > nanos(c.ackInterval) {
			c.forget(g)
			continue
		}
		c.setQueue(g, g.queue.drop(-1, c.aged(now)))
	}
	for key, cl := range c.clients {
		if cl.acked && now-cl.keepAlive > nanos(c.keepAliveTimeout) {
			c.remove(key, candid.KeepAliveTimeout, now)
		}
	}
}

// forget removes a gateway with its queue. Should it come again, its nonces start anew.
func (c *canister) forget(g *gateway) {
	c.bytes -= g.queue.bytes
	delete(c.gateways, g.principal)
	c.order = slices.DeleteFunc(c.order, func(other *gateway) bool { return other == g })
	c.changed = true
}

// publish lets polls see the state.
func (c *canister) publish() *snapshot {
	queues := make([]*queue, len(c.order))
	for i, g := range c.order {
		queues[i] = g.queue
	}
	s := newSnapshot(queues)
	c.recent.add(s)
	c.published.Store(s)
	c.changed = false
	return s
}
