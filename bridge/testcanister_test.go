package bridge

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/icrelay/icrelay/candid"
	"github.com/icrelay/icrelay/ic"
)

// A testCanister is an Adapter with the canister behind it in memory: it
// certifies with a real key, so that the gateway's checks are real, and can be
// told to misbehave in ways that a real canister is hard to bring to.
// The adapters for real canisters have the suite in adaptertest.
type testCanister struct {
	id      candid.Principal
	gateway candid.Principal
	key     *ic.BLSKey
	window  int

	mu       sync.Mutex
	clients  map[candid.ClientKey]uint64 // next sequence number to the client
	queue    []candid.OutputMessage
	received []candid.WebsocketMessage
	closed   map[candid.ClientKey]int
	polls    int
	under    int // Message and Close calls under way
	maxUnder int

	answered   map[candid.ClientKey]bool // opens that are answered without being executed
	slowOpen   time.Duration
	age        time.Duration          // of certificates
	onOpen     func(candid.ClientKey) // with mu held
	refuseOpen func(candid.ClientKey) error
	onMessage  func(context.Context, Envelope) error
	onClose    func(context.Context)
	corrupt    func(*Batch) error // changes a poll's answer, or fails it
}

func (c *testCanister) Window() (messages, bytes int) { return max(1, c.window), 1 << 20 }

func (c *testCanister) Open(_ context.Context, env Envelope) error {
	time.Sleep(c.slowOpen)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.answered[env.Client] {
		return nil
	}
	if c.refuseOpen != nil {
		if err := c.refuseOpen(env.Client); err != nil {
			return err
		}
	}
	if c.clients[env.Client] != 0 {
		return Refused("%s is connected already", env.Client)
	}
	c.clients[env.Client] = 1
	c.enqueue(env.Client, true, candid.EncodeServiceMessage(candid.ServiceMessage{Kind: candid.OpenMessage, ClientKey: env.Client}))
	if c.onOpen != nil {
		c.onOpen(env.Client)
	}
	return nil
}

func (c *testCanister) Message(ctx context.Context, env Envelope) error {
	defer c.underway()()
	if c.onMessage != nil {
		if err := c.onMessage(ctx, env); err != nil {
			return err
		}
	}
	decoded, err := candid.DecodeEnvelope(env.Bytes)
	if err != nil {
		return err
	}
	message, err := candid.DecodeMessageArgs(decoded.Arg)
	if err != nil {
		return Refused("%v", err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.clients[env.Client] == 0 {
		return Refused("%s is not connected", env.Client)
	}
	message.Content = append([]byte(nil), message.Content...)
	c.received = append(c.received, message)
	return nil
}

// underway counts a call until what it returns is called.
func (c *testCanister) underway() (done func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.under++
	c.maxUnder = max(c.maxUnder, c.under)
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.under--
	}
}

func (c *testCanister) Close(ctx context.Context, _ candid.Principal, client candid.ClientKey) error {
	defer c.underway()()
	if c.onClose != nil {
		c.onClose(ctx)
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed[client]++
	delete(c.clients, client)
	return nil
}

func (c *testCanister) Poll(_ context.Context, _ candid.Principal, from uint64) (Batch, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.polls++
	batch := Batch{EndOfQueue: true}
	if from < uint64(len(c.queue)) {
		batch.Messages = append(batch.Messages, c.queue[from:]...)
		if len(batch.Messages) > 50 {
			batch.Messages, batch.EndOfQueue = batch.Messages[:50], false
		}
		batch.Tree, batch.Cert = c.certify(batch.Messages)
	}
	if c.corrupt != nil {
		if err := c.corrupt(&batch); err != nil {
			return Batch{}, err
		}
	}
	return batch, nil
}

func (c *testCanister) certify(messages []candid.OutputMessage) (tree, cert []byte) {
	leaves := make([]ic.Entry, len(messages))
	for i, m := range messages {
		sum := sha256.Sum256(m.Content)
		leaves[i] = ic.Entry{Label: []byte(m.Key), Tree: ic.Leaf(sum[:])}
	}
	witness := ic.Labeled([]byte("websocket"), ic.LabeledTreeSorted(leaves))
	root := witness.Digest()
	state := ic.LabeledTree(map[string]*ic.HashTree{
		"canister": ic.Labeled(c.id.Bytes(), ic.Labeled([]byte("certified_data"), ic.Leaf(root[:]))),
		"time":     ic.Leaf(ic.EncodeTime(time.Now().Add(-c.age))),
	})
	signature, err := c.key.SignTree(state)
	if err != nil {
		panic(err)
	}
	return witness.Encode(), ic.EncodeCertificate(state, signature, nil)
}

// send queues an application message for a client.
func (c *testCanister) send(client candid.ClientKey, content []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.enqueue(client, false, content)
}

func (c *testCanister) enqueue(client candid.ClientKey, service bool, content []byte) {
	sequence := c.clients[client]
	c.clients[client]++
	c.queue = append(c.queue, candid.OutputMessage{
		ClientKey: client,
		Key:       fmt.Sprintf("%s_%020d", c.gateway, len(c.queue)),
		Content: candid.EncodeWebsocketMessage(candid.WebsocketMessage{
			ClientKey: client, SequenceNum: sequence, IsServiceMessage: service, Content: content,
		}),
	})
}

// forget does what a reinstall does.
func (c *testCanister) forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.queue = nil
	clear(c.clients)
}

func (c *testCanister) set(change func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	change()
}

func get[T any](c *testCanister, read func() T) T {
	c.mu.Lock()
	defer c.mu.Unlock()
	return read()
}

// sequenceOf reads the number of a client's message.
func sequenceOf(t *testing.T, env Envelope) uint64 {
	t.Helper()
	decoded, err := candid.DecodeEnvelope(env.Bytes)
	if err != nil {
		t.Error(err)
		return 0
	}
	message, err := candid.DecodeMessageArgs(decoded.Arg)
	if err != nil {
		t.Error(err)
	}
	return message.SequenceNum
}

// A bench is a gateway with one test canister, served on loopback.
type bench struct {
	*testing.T
	gateway  *Gateway
	canister *testCanister
	verifier *ic.Verifier
	server   *httptest.Server
	dialer   *websocket.Dialer // nil for the default
	stopped  bool
}

func newBench(t *testing.T, change func(*Options, *testCanister)) *bench {
	t.Helper()
	key, err := ic.BLSKeyFromSeed([]byte("bridge test"))
	if err != nil {
		t.Fatal(err)
	}
	verifier, err := ic.NewVerifier(key.PublicKeyDER())
	if err != nil {
		t.Fatal(err)
	}
	canister := &testCanister{
		id:       candid.Principal("\x00\x00\x00\x00\x00\x00\x00\x01\x01\x01"),
		gateway:  candid.SelfAuthenticating([]byte("the gateway's key")),
		key:      key,
		clients:  make(map[candid.ClientKey]uint64),
		answered: make(map[candid.ClientKey]bool),
		closed:   make(map[candid.ClientKey]int),
	}
	o := Options{
		Principal: canister.gateway,
		Routes:    []Route{{Canister: canister.id, Adapter: canister, Name: "test"}},
		Verifier:  verifier,
		Polling:   Polling{Interval: 5 * time.Millisecond, IdleInterval: 20 * time.Millisecond, MaxBackoff: 50 * time.Millisecond},
		Log:       slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	if change != nil {
		change(&o, canister)
	}
	gateway, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{T: t, gateway: gateway, canister: canister, verifier: verifier, server: httptest.NewServer(gateway)}
	t.Cleanup(func() {
		b.stop()
		b.server.Close()
	})
	return b
}

func (b *bench) stop() {
	if !b.stopped {
		b.stopped = true
		b.gateway.Stop(context.Background())
	}
}

// eventually waits for something that another goroutine brings about.
func (b *bench) eventually(what string, ok func() bool) {
	b.Helper()
	for deadline := time.Now().Add(10 * time.Second); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			b.Fatalf("not within 10s: %s", what)
		}
	}
}

// A peer is the client's end of a socket, without the stock client's manners.
type peer struct {
	*bench
	conn     *websocket.Conn
	identity ic.Identity
	key      candid.ClientKey
	sequence uint64
	incoming uint64
}

// dial connects and reads the handshake.
func (b *bench) dial() *peer {
	b.Helper()
	conn, _, err := b.dialer.Dial("ws"+strings.TrimPrefix(b.server.URL, "http"), nil)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = conn.Close() })
	identity, err := ic.NewEd25519Identity()
	if err != nil {
		b.Fatal(err)
	}
	var nonce [8]byte
	if _, err := rand.Read(nonce[:]); err != nil {
		b.Fatal(err)
	}
	p := &peer{bench: b, conn: conn, identity: identity}
	p.key = candid.ClientKey{Principal: identity.Principal(), Nonce: binary.BigEndian.Uint64(nonce[:])}
	gateway, err := candid.DecodeHandshake(p.read())
	if err != nil || gateway != b.canister.gateway {
		b.Fatalf("handshake: %s, %v", gateway, err)
	}
	return p
}

func (p *peer) read() []byte {
	p.Helper()
	_ = p.conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	kind, data, err := p.conn.ReadMessage()
	if err != nil || kind != websocket.BinaryMessage {
		p.Fatalf("read: kind %d, %v", kind, err)
	}
	return data
}

// open connects and waits for the certified open message.
func (b *bench) open() *peer {
	b.Helper()
	p := b.dial()
	p.write(p.sign(p.openEnvelope()))
	if m := p.message(); !m.IsServiceMessage {
		b.Fatalf("first message = %+v, want the open message", m)
	}
	return p
}

func (p *peer) openEnvelope() *candid.Envelope {
	return p.envelope("ws_open", candid.EncodeOpenArgs(p.key.Nonce, p.canister.gateway))
}

func (p *peer) messageEnvelope(content []byte) *candid.Envelope {
	p.sequence++
	return p.envelope("ws_message", candid.EncodeMessageArgs(candid.WebsocketMessage{ClientKey: p.key, SequenceNum: p.sequence, Content: content}))
}

func (p *peer) envelope(method string, arg []byte) *candid.Envelope {
	return ic.NewCall(p.canister.id, method, arg, time.Now())
}

// sign returns the client's frame.
func (p *peer) sign(env *candid.Envelope) []byte {
	p.Helper()
	if err := ic.Sign(env, p.identity); err != nil {
		p.Fatal(err)
	}
	return candid.EncodeClientFrame(env.Encode())
}

func (p *peer) write(frame []byte) {
	p.Helper()
	if err := p.conn.WriteMessage(websocket.BinaryMessage, frame); err != nil {
		p.Fatal(err)
	}
}

func (p *peer) send(content string) {
	p.Helper()
	p.write(p.sign(p.messageEnvelope([]byte(content))))
}

// message reads a frame and makes the stock client's checks on it.
func (p *peer) message() candid.WebsocketMessage {
	p.Helper()
	key, content, cert, tree, err := candid.DecodeOutputFrame(p.read())
	if err != nil {
		p.Fatal(err)
	}
	m, err := candid.DecodeWebsocketMessage(content)
	if err != nil {
		p.Fatal(err)
	}
	batch := Batch{Messages: []candid.OutputMessage{{ClientKey: m.ClientKey, Key: key, Content: content}}, Cert: cert, Tree: tree}
	if err := VerifyBatch(p.verifier, p.canister.id, batch, time.Now()); err != nil {
		p.Fatalf("the client cannot verify %s: %v", key, err)
	}
	p.incoming++
	if m.ClientKey != p.key || m.SequenceNum != p.incoming {
		p.Fatalf("message %d of %s, want %d of %s", m.SequenceNum, m.ClientKey, p.incoming, p.key)
	}
	return m
}

// closed reads until the close frame and wants its code and a part of its text.
func (p *peer) closed(code int, part string) {
	p.Helper()
	_ = p.conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	for {
		_, _, err := p.conn.ReadMessage()
		if err == nil {
			continue
		}
		var e *websocket.CloseError
		if !errors.As(err, &e) {
			p.Fatalf("the socket ended with %v, want close code %d", err, code)
		}
		if e.Code != code || !strings.Contains(e.Text, part) {
			p.Fatalf("closed with %d %q, want %d %q", e.Code, e.Text, code, part)
		}
		return
	}
}
