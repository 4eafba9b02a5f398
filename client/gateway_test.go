package client

import (
	"context"
	"crypto/sha256"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/icrelay/icrelay/candid"
	"github.com/icrelay/icrelay/ic"
)

const (
	testCanister = candid.Principal("\x00\x00\x00\x00\x00\x00\x00\x07\x01\x01")
	testGateway  = candid.Principal("\x01gateway-of-the-test\x02")
	patience     = 30 * time.Second // for what should take milliseconds
)

// A network is a gateway, a canister and the Internet Computer in one: it
// plays the other side of a client and signs with a root key of its own.
type network struct {
	t   *testing.T
	key *ic.BLSKey
	url string
}

// newNetwork serves WebSockets; each one is handed to script, in its own
// goroutine. The socket closes when script returns.
func newNetwork(t *testing.T, script func(p *peer)) *network {
	t.Helper()
	key, err := ic.GenerateBLSKey()
	if err != nil {
		t.Fatal(err)
	}
	n := &network{t: t, key: key}
	var scripts sync.WaitGroup
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		scripts.Add(1)
		defer scripts.Done()
		ws, err := (&websocket.Upgrader{}).Upgrade(w, r, nil)
		if err != nil {
			return
		}
		defer func() { _ = ws.Close() }()
		_ = ws.SetReadDeadline(time.Now().Add(patience))
		script(&peer{network: n, ws: ws, time: time.Now()})
	}))
	n.url = "ws" + strings.TrimPrefix(server.URL, "http")
	t.Cleanup(func() {
		server.Close()
		scripts.Wait()
	})
	return n
}

// options for a client of this network.
func (n *network) options() Options {
	n.t.Helper()
	identity, err := ic.NewEd25519Identity()
	if err != nil {
		n.t.Fatal(err)
	}
	verifier, err := ic.NewVerifier(n.key.PublicKeyDER())
	if err != nil {
		n.t.Fatal(err)
	}
	return Options{URL: n.url, Canister: testCanister, Identity: identity, Verifier: verifier}
}

// dial opens a connection and closes it with the test.
func (n *network) dial(change ...func(*Options)) *Conn {
	n.t.Helper()
	opt := n.options()
	for _, f := range change {
		f(&opt)
	}
	c, err := Dial(deadline(n.t), opt)
	if err != nil {
		n.t.Fatal(err)
	}
	n.t.Cleanup(func() { _ = c.Close() })
	return c
}

// deadline is a context for steps that should take milliseconds.
func deadline(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// A peer is the other side of one WebSocket.
type peer struct {
	*network
	ws       *websocket.Conn
	key      candid.ClientKey
	nonce    uint64    // of the next message in the canister's queue
	sequence uint64    // of the last message to the client
	time     time.Time // that certificates carry
}

// open plays everything up to the OpenMessage.
func (p *peer) open() {
	p.handshake()
	p.takeOpen()
	p.service(candid.ServiceMessage{Kind: candid.OpenMessage, ClientKey: p.key})
}

func (p *peer) handshake() { p.write(candid.EncodeHandshake(testGateway)) }

// envelope reads the next frame and checks the signature on it.
func (p *peer) envelope() (*candid.Envelope, error) {
	kind, frame, err := p.ws.ReadMessage()
	if err != nil {
		return nil, err
	}
	if kind != websocket.BinaryMessage {
		return nil, fmt.Errorf("frame of kind %d", kind)
	}
	raw, err := candid.DecodeClientFrame(frame)
	if err != nil {
		return nil, err
	}
	e, err := candid.DecodeEnvelope(raw)
	if err != nil {
		return nil, err
	}
	if err := ic.CheckExpiry(e, time.Now()); err != nil {
		return nil, err
	}
	if e.Canister != testCanister || e.RequestType != "call" {
		return nil, fmt.Errorf("a %s of %s", e.RequestType, e.Canister)
	}
	return e, ic.VerifyEnvelope(e, time.Now())
}

func (p *peer) takeOpen() {
	e, err := p.envelope()
	if err != nil {
		p.t.Errorf("ws_open: %v", err)
		return
	}
	nonce, gateway, err := candid.DecodeOpenArgs(e.Arg)
	if err != nil || e.Method != "ws_open" || gateway != testGateway {
		p.t.Errorf("%s with nonce %d and gateway %s: %v", e.Method, nonce, gateway, err)
	}
	p.key = candid.ClientKey{Principal: e.Sender, Nonce: nonce}
}

// takeMessage reads one ws_message. An error is the end of the socket.
func (p *peer) takeMessage() (candid.WebsocketMessage, error) {
	e, err := p.envelope()
	if err != nil {
		return candid.WebsocketMessage{}, err
	}
	m, err := candid.DecodeMessageArgs(e.Arg)
	if err != nil || e.Method != "ws_message" || m.ClientKey != p.key {
		p.t.Errorf("%s of %s, not %s: %v", e.Method, m.ClientKey, p.key, err)
	}
	return m, nil
}

// service and app send the next message of each kind.
func (p *peer) service(m candid.ServiceMessage) {
	p.write(p.frame(p.next(true, candid.EncodeServiceMessage(m))))
}
func (p *peer) app(content []byte) { p.write(p.frame(p.next(false, content))) }

func (p *peer) next(service bool, content []byte) candid.WebsocketMessage {
	p.sequence++
	return candid.WebsocketMessage{
		ClientKey:        p.key,
		SequenceNum:      p.sequence,
		Timestamp:        uint64(time.Now().UnixNano()),
		IsServiceMessage: service,
		Content:          content,
	}
}

// A certified message in its parts, for tests that change one of them.
type certified struct {
	key                 string
	content, cert, tree []byte
}

func (c certified) frame() []byte { return candid.EncodeOutputFrame(c.key, c.content, c.cert, c.tree) }

func (p *peer) frame(m candid.WebsocketMessage) []byte {
	return p.certify(testCanister, m)[0].frame()
}

// certify does what canister and network do: one certificate over all messages.
func (p *peer) certify(canister candid.Principal, messages ...candid.WebsocketMessage) []certified {
	out := make([]certified, len(messages))
	leaves := make(map[string]*ic.HashTree)
	for i, m := range messages {
		out[i].key = fmt.Sprintf("%s_%020d", testGateway, p.nonce)
		out[i].content = candid.EncodeWebsocketMessage(m)
		sum := sha256.Sum256(out[i].content)
		leaves[out[i].key] = ic.Leaf(sum[:])
		p.nonce++
	}
	witness := ic.Labeled([]byte("websocket"), ic.LabeledTree(leaves))
	root := witness.Digest()
	cert := p.certificate(canister, root[:])
	for i := range out {
		out[i].cert, out[i].tree = cert, witness.Encode()
	}
	return out
}

// certificate signs a state tree in which canister has certified data.
func (p *peer) certificate(canister candid.Principal, data []byte) []byte {
	state := ic.LabeledTree(map[string]*ic.HashTree{
		"canister": ic.LabeledTree(map[string]*ic.HashTree{
			string(canister): ic.LabeledTree(map[string]*ic.HashTree{"certified_data": ic.Leaf(data)}),
		}),
		"time": ic.Leaf(leb128(uint64(p.time.UnixNano()))),
	})
	signature, err := p.network.key.SignTree(state)
	if err != nil {
		p.t.Errorf("signing: %v", err)
	}
	return ic.EncodeCertificate(state, signature, nil)
}

func leb128(n uint64) (out []byte) {
	for ; n >= 0x80; n >>= 7 {
		out = append(out, byte(n)|0x80)
	}
	return append(out, byte(n))
}

func (p *peer) write(frame []byte) { _ = p.ws.WriteMessage(websocket.BinaryMessage, frame) }

// closeCode reads until the client closes, and returns its code and reason.
func (p *peer) closeCode() (int, string) {
	for {
		_, _, err := p.ws.ReadMessage()
		if closed, ok := err.(*websocket.CloseError); ok { //nolint:errorlint // gorilla returns it bare
			return closed.Code, closed.Text
		}
		if err != nil {
			return 0, err.Error()
		}
	}
}
