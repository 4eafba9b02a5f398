package bench

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
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
	stubCanister = candid.Principal("\x00\x00\x00\x00\x00\x00\x00\x07\x01\x01")
	stubGateway  = candid.Principal("\x01gateway-of-the-test\x02")
)

// A stub is a gateway, a canister and a network in one that do what a script says,
// right or wrong: real ones do not misbehave when they are asked to.
type stub struct {
	t   *testing.T
	key *ic.BLSKey
	url string

	mu       sync.Mutex
	sockets  []*stubSocket // that are open
	accepted int
}

// A stubSocket is one client's.
type stubSocket struct {
	*stub
	ws     *websocket.Conn
	number int // of this socket, from 1
	key    candid.ClientKey

	mu       sync.Mutex // one writer at a time
	sequence uint64     // of the last message to the client
}

// newStub serves WebSockets; each is handed to the script, and closes when that
// returns.
func newStub(t *testing.T, script func(s *stubSocket)) *stub {
	t.Helper()
	key, err := ic.GenerateBLSKey()
	if err != nil {
		t.Fatal(err)
	}
	n := &stub{t: t, key: key}
	var scripts sync.WaitGroup
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		scripts.Add(1)
		defer scripts.Done()
		ws, err := (&websocket.Upgrader{}).Upgrade(w, r, nil)
		if err != nil {
			return
		}
		defer func() { _ = ws.Close() }()
		_ = ws.SetReadDeadline(time.Now().Add(time.Minute))
		n.mu.Lock()
		n.accepted++
		s := &stubSocket{stub: n, ws: ws, number: n.accepted}
		n.mu.Unlock()
		script(s)
	}))
	n.url = "ws" + strings.TrimPrefix(server.URL, "http")
	t.Cleanup(func() {
		server.Close()
		scripts.Wait()
	})
	return n
}

// options are small and quick.
func (n *stub) options(pattern string, change func(*Options)) Options {
	o := (&target{url: n.url, network: "http://127.0.0.1:1", canister: stubCanister}).options(pattern, change)
	o.RootKey = hex.EncodeToString(n.key.PublicKeyDER())
	return o
}

func (n *stub) run(change func(*Options), pattern string) *Report {
	n.t.Helper()
	return (&target{}).run(n.t, n.options(pattern, change))
}

// open plays everything up to the open message. false: the client has gone.
func (s *stubSocket) open() bool {
	s.write(candid.EncodeHandshake(stubGateway))
	e := s.envelope()
	if e == nil {
		return false
	}
	nonce, _, err := candid.DecodeOpenArgs(e.Arg)
	if err != nil {
		s.t.Error(err)
		return false
	}
	s.key = candid.ClientKey{Principal: e.Sender, Nonce: nonce}
	s.stub.mu.Lock()
	s.sockets = append(s.sockets, s)
	s.stub.mu.Unlock()
	s.service(candid.ServiceMessage{Kind: candid.OpenMessage, ClientKey: s.key})
	return true
}

// envelope is the next that comes, nil at the socket's end.
func (s *stubSocket) envelope() *candid.Envelope {
	_, frame, err := s.ws.ReadMessage()
	if err != nil {
		return nil
	}
	raw, err := candid.DecodeClientFrame(frame)
	if err != nil {
		s.t.Error(err)
		return nil
	}
	e, err := candid.DecodeEnvelope(raw)
	if err != nil {
		s.t.Error(err)
		return nil
	}
	return e
}

// take is the next application message, nil at the socket's end.
func (s *stubSocket) take() []byte {
	for {
		e := s.envelope()
		if e == nil {
			return nil
		}
		m, err := candid.DecodeMessageArgs(e.Arg)
		if err != nil {
			s.t.Error(err)
			return nil
		}
		if !m.IsServiceMessage {
			return append([]byte{}, m.Content...)
		}
	}
}

// others are all sockets that have been opened, this one included.
func (s *stubSocket) all() []*stubSocket {
	s.stub.mu.Lock()
	defer s.stub.mu.Unlock()
	return append([]*stubSocket{}, s.sockets...)
}

// say sends an application message and returns the length of its frame.
func (s *stubSocket) say(content []byte) int { return s.send(false, content) }

func (s *stubSocket) service(m candid.ServiceMessage) {
	s.send(true, candid.EncodeServiceMessage(m))
}

func (s *stubSocket) send(service bool, content []byte) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sequence++
	key := fmt.Sprintf("%s_%020d", stubGateway, s.sequence)
	body := candid.EncodeWebsocketMessage(candid.WebsocketMessage{ClientKey: s.key, SequenceNum: s.sequence,
		Timestamp: uint64(time.Now().UnixNano()), IsServiceMessage: service, Content: content})
	sum := sha256.Sum256(body)
	witness := ic.Labeled([]byte("websocket"), ic.LabeledTree(map[string]*ic.HashTree{key: ic.Leaf(sum[:])}))
	root := witness.Digest()
	state := ic.LabeledTree(map[string]*ic.HashTree{
		"canister": ic.LabeledTree(map[string]*ic.HashTree{
			string(stubCanister): ic.LabeledTree(map[string]*ic.HashTree{"certified_data": ic.Leaf(root[:])}),
		}),
		"time": ic.Leaf(binary.AppendUvarint(nil, uint64(time.Now().UnixNano()))),
	})
	signature, err := s.stub.key.SignTree(state)
	if err != nil {
		s.t.Error(err)
	}
	frame := candid.EncodeOutputFrame(key, body, ic.EncodeCertificate(state, signature, nil), witness.Encode())
	_ = s.ws.WriteMessage(websocket.BinaryMessage, frame)
	return len(frame)
}

func (s *stubSocket) write(frame []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	_ = s.ws.WriteMessage(websocket.BinaryMessage, frame)
}

// echo sends messages back until the client has gone.
func (s *stubSocket) echo() {
	for content := s.take(); content != nil; content = s.take() {
		s.say(content)
	}
}
