package bridge_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/icrelay/icrelay/adapters/cdk"
	"github.com/icrelay/icrelay/adapters/relay"
	"github.com/icrelay/icrelay/bridge"
	"github.com/icrelay/icrelay/candid"
	"github.com/icrelay/icrelay/canister"
	"github.com/icrelay/icrelay/ic"
	"github.com/icrelay/icrelay/internal/testnet"
	"github.com/icrelay/icrelay/localnet/echo"
)

// A forger stands between an adapter and the gateway and changes what polls bring.
type forger struct {
	bridge.Adapter

	mu     sync.Mutex
	least  int                     // messages to be there before a batch is passed on
	change func(*bridge.Batch)     // nil: nothing is changed
	times  int                     // batches still to change
	good   bridge.Batch            // the last that was passed on as it was
	late   time.Duration           // of the gateway's clock
	frames map[string]bridge.Batch // by the key of each message
}

func (f *forger) Poll(ctx context.Context, id candid.Principal, from uint64) (bridge.Batch, error) {
	batch, err := f.Adapter.Poll(ctx, id, from)
	if err != nil || len(batch.Messages) == 0 {
		return batch, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(batch.Messages) < f.least {
		return bridge.Batch{EndOfQueue: true}, nil
	}
	if f.times > 0 {
		f.times--
		batch.Messages = slices.Clone(batch.Messages)
		f.change(&batch)
		return batch, nil
	}
	f.good = batch
	for _, m := range batch.Messages {
		f.frames[m.Key] = batch
	}
	return batch, nil
}

// A scene is an embedded network with a canister, and a gateway with a forger
// before its adapter.
type scene struct {
	*testing.T
	*testnet.Network
	canister candid.Principal
	forger   *forger
	gateway  *bridge.Gateway
	url      string
	route    string // its name in metrics
}

// scenes are the canisters that the tests are made with: the same certificates
// come from a Go canister with the CDK's interface, and from the relay canister.
var scenes = []struct {
	name string
	make func(*testing.T, *testnet.Network, ic.Identity) (candid.Principal, bridge.Adapter)
}{
	{"echo", func(t *testing.T, n *testnet.Network, gateway ic.Identity) (candid.Principal, bridge.Adapter) {
		id := n.Create()
		if err := n.InstallBuiltin(t.Context(), id, echo.New()); err != nil {
			t.Fatal(err)
		}
		return id, cdk.New(n.Client, gateway)
	}},
	{"relay", func(t *testing.T, n *testnet.Network, gateway ic.Identity) (candid.Principal, bridge.Adapter) {
		target, id := n.Create(), n.Create()
		n.InstallFile(target, "e2e/canisters/target/target.wasm", candid.EncodeEmpty())
		settings := relay.Settings{
			Calls:  []relay.Call{{Target: relay.Target{Canister: target, Method: "echo"}, Reply: relay.ReplySender}},
			Admins: []candid.Principal{gateway.Principal()},
		}
		arg, err := settings.Argument()
		if err != nil {
			t.Fatal(err)
		}
		n.InstallCode(id, canister.Wasm32(), arg)
		return id, relay.New(n.Client, gateway, settings, slog.New(slog.DiscardHandler))
	}},
}

// onScenes runs a test with each kind of canister.
func onScenes(t *testing.T, test func(*scene)) {
	for _, kind := range scenes {
		t.Run(kind.name, func(t *testing.T) {
			network, identity := testnet.Start(t), testnet.Identity(t)
			s := &scene{T: t, Network: network, route: kind.name, forger: &forger{frames: make(map[string]bridge.Batch)}}
			s.canister, s.forger.Adapter = kind.make(t, network, identity)
			var err error
			s.gateway, err = bridge.New(bridge.Options{
				Principal: identity.Principal(),
				Routes:    []bridge.Route{{Canister: s.canister, Adapter: s.forger, Name: kind.name}},
				Verifier:  network.Verifier,
				Polling:   bridge.Polling{Interval: 10 * time.Millisecond, IdleInterval: 30 * time.Millisecond, MaxBackoff: 50 * time.Millisecond},
				Now: func() time.Time {
					s.forger.mu.Lock()
					defer s.forger.mu.Unlock()
					return time.Now().Add(s.forger.late)
				},
			})
			if err != nil {
				t.Fatal(err)
			}
			server := httptest.NewServer(s.gateway)
			s.url = "ws" + strings.TrimPrefix(server.URL, "http")
			t.Cleanup(func() {
				s.gateway.Stop(context.Background())
				server.Close()
			})
			test(s)
		})
	}
}

// A listener is a client that checks each frame as the stock client does.
type listener struct {
	*scene
	conn     *websocket.Conn
	identity ic.Identity
	key      candid.ClientKey
	sent     uint64
	heard    uint64
}

func (s *scene) open() *listener {
	s.Helper()
	conn, _, err := websocket.DefaultDialer.Dial(s.url, nil)
	if err != nil {
		s.Fatal(err)
	}
	s.Cleanup(func() { _ = conn.Close() })
	l := &listener{scene: s, conn: conn, identity: testnet.Identity(s)}
	l.key = candid.ClientKey{Principal: l.identity.Principal(), Nonce: 1}
	gateway, err := candid.DecodeHandshake(l.read())
	if err != nil {
		s.Fatal(err)
	}
	l.call("ws_open", candid.EncodeOpenArgs(l.key.Nonce, gateway))
	if _, m := l.message(); !m.IsServiceMessage {
		s.Fatalf("first message: %+v", m)
	}
	return l
}

func (l *listener) read() []byte {
	l.Helper()
	_ = l.conn.SetReadDeadline(time.Now().Add(30 * time.Second))
	_, frame, err := l.conn.ReadMessage()
	if err != nil {
		l.Fatal(err)
	}
	return frame
}

func (l *listener) call(method string, arg []byte) {
	l.Helper()
	env := ic.NewCall(l.canister, method, arg, time.Now())
	if err := ic.Sign(env, l.identity); err != nil {
		l.Fatal(err)
	}
	if err := l.conn.WriteMessage(websocket.BinaryMessage, candid.EncodeClientFrame(env.Encode())); err != nil {
		l.Fatal(err)
	}
}

func (l *listener) send(text string) {
	l.Helper()
	l.sent++
	l.call("ws_message", candid.EncodeMessageArgs(candid.WebsocketMessage{ClientKey: l.key, SequenceNum: l.sent, Content: candid.EncodeText(text)}))
}

// message reads a frame and makes a client's checks on it.
func (l *listener) message() (frame []byte, m candid.WebsocketMessage) {
	l.Helper()
	frame = l.read()
	key, content, cert, tree, err := candid.DecodeOutputFrame(frame)
	if err != nil {
		l.Fatal(err)
	}
	batch := bridge.Batch{Messages: []candid.OutputMessage{{ClientKey: l.key, Key: key, Content: content}}, Cert: cert, Tree: tree}
	if err := bridge.VerifyBatch(l.Verifier, l.canister, batch, time.Now()); err != nil {
		l.Fatalf("a client cannot verify %s: %v", key, err)
	}
	if m, err = candid.DecodeWebsocketMessage(content); err != nil {
		l.Fatal(err)
	}
	l.heard++
	if m.SequenceNum != l.heard || m.ClientKey != l.key {
		l.Fatalf("message %d of %s, want %d", m.SequenceNum, m.ClientKey, l.heard)
	}
	return frame, m
}

func (l *listener) text() (frame []byte, text string) {
	l.Helper()
	frame, m := l.message()
	text, err := candid.DecodeText(m.Content)
	if err != nil {
		l.Fatal(err)
	}
	return frame, text
}

// metric reads one series, 0 if it is not there.
func (s *scene) metric(name string) int {
	s.Helper()
	recorder := httptest.NewRecorder()
	s.gateway.MetricsHandler().ServeHTTP(recorder, httptest.NewRequest("GET", "/metrics", nil))
	for line := range strings.Lines(recorder.Body.String()) {
		if value, ok := strings.CutPrefix(strings.TrimSpace(line), name+" "); ok {
			n, err := strconv.ParseFloat(value, 64)
			if err != nil {
				s.Fatal(err)
			}
			return int(n)
		}
	}
	return 0
}

var flawReasons = []string{"certificate", "certificate_time", "witness", "content", "nonce"}

func (s *scene) flaws() map[string]int {
	counted := make(map[string]int)
	for _, reason := range flawReasons {
		counted[reason] = s.metric(fmt.Sprintf("relay_verification_failures_total{reason=%q}", reason))
	}
	return counted
}

// resign puts another tree into a certificate, signed with a key of the test's.
func resign(t *testing.T, cert []byte, tree func(*ic.HashTree) *ic.HashTree) []byte {
	t.Helper()
	key, err := ic.BLSKeyFromSeed([]byte("not the network's"))
	if err != nil {
		t.Fatal(err)
	}
	old, err := ic.DecodeCertificate(cert)
	if err != nil {
		t.Fatal(err)
	}
	changed := tree(old.Tree)
	signature, err := key.SignTree(changed)
	if err != nil {
		t.Fatal(err)
	}
	return ic.EncodeCertificate(changed, signature, nil)
}

// without prunes one message's leaf; the witness keeps its root.
func without(t *testing.T, batch *bridge.Batch, missing int) []byte {
	t.Helper()
	tree, err := ic.DecodeHashTree(batch.Tree)
	if err != nil {
		t.Fatal(err)
	}
	var others [][][]byte
	for i, m := range batch.Messages {
		if i != missing {
			others = append(others, [][]byte{[]byte("websocket"), []byte(m.Key)})
		}
	}
	pruned := tree.Prune(others...)
	if pruned.Digest() != tree.Digest() {
		t.Fatal("the pruned witness has another root")
	}
	return pruned.Encode()
}

func flip(b []byte, i int) []byte {
	b = bytes.Clone(b)
	b[i] ^= 1
	return b
}

// Batches of real canisters, forged on the way in every way that a replica or a
// boundary node could. Each is counted and fetched again, none is forwarded, and
// the clients get everything as soon as the answers are good again.
func TestForgedBatches(t *testing.T) {
	const (
		messages = 4
		forged   = 3 // answers in a row
	)
	onScenes(t, func(s *scene) {
		bystander := s.open()
		tests := []struct {
			name   string
			reason string
			late   time.Duration
			change func(*bridge.Batch)
		}{
			{"forged signature", "certificate", 0, func(b *bridge.Batch) { b.Cert = flip(b.Cert, len(b.Cert)-1) }},
			{"signature of another certificate", "certificate", 0, func(b *bridge.Batch) {
				mine, err1 := ic.DecodeCertificate(b.Cert)
				old, err2 := ic.DecodeCertificate(s.forger.good.Cert)
				if err1 != nil || err2 != nil {
					s.Error(err1, err2)
					return
				}
				b.Cert = ic.EncodeCertificate(mine.Tree, old.Signature, nil)
			}},
			{"another root key", "certificate", 0, func(b *bridge.Batch) {
				b.Cert = resign(s.T, b.Cert, func(tree *ic.HashTree) *ic.HashTree { return tree })
			}},
			{"certificate of other data, another root key", "certificate", 0, func(b *bridge.Batch) {
				b.Messages = b.Messages[:1]
				b.Cert = resign(s.T, b.Cert, func(*ic.HashTree) *ic.HashTree {
					return ic.LabeledTree(map[string]*ic.HashTree{
						"canister": ic.Labeled(s.canister.Bytes(), ic.Labeled([]byte("certified_data"), ic.Leaf(make([]byte, 32)))),
						"time":     ic.Leaf(ic.EncodeTime(time.Now())),
					})
				})
			}},
			{"no certificate", "certificate", 0, func(b *bridge.Batch) { b.Cert = nil }},
			{"certificate cut off", "certificate", 0, func(b *bridge.Batch) { b.Cert = b.Cert[:len(b.Cert)/2] }},
			{"stale", "certificate_time", 5 * time.Minute, func(*bridge.Batch) {}},
			{"from the future", "certificate_time", -6 * time.Minute, func(*bridge.Batch) {}},
			{"witness and certificate of an older batch", "witness", 0, func(b *bridge.Batch) {
				b.Tree, b.Cert = s.forger.good.Tree, s.forger.good.Cert
			}},
			{"witness of an older batch", "witness", 0, func(b *bridge.Batch) { b.Tree = s.forger.good.Tree }},
			{"witness altered", "witness", 0, func(b *bridge.Batch) { b.Tree = flip(b.Tree, len(b.Tree)-1) }},
			{"no witness", "witness", 0, func(b *bridge.Batch) { b.Tree = nil }},
			{"first leaf missing", "witness", 0, func(b *bridge.Batch) { b.Tree = without(s.T, b, 0) }},
			{"middle leaf missing", "witness", 0, func(b *bridge.Batch) { b.Tree = without(s.T, b, 1) }},
			{"last leaf missing", "witness", 0, func(b *bridge.Batch) { b.Tree = without(s.T, b, len(b.Messages)-1) }},
			{"content altered", "content", 0, func(b *bridge.Batch) {
				content := b.Messages[1].Content
				b.Messages[1].Content = flip(content, len(content)-1)
			}},
			{"contents swapped", "content", 0, func(b *bridge.Batch) {
				b.Messages[0].Content, b.Messages[1].Content = b.Messages[1].Content, b.Messages[0].Content
			}},
			{"for somebody else", "content", 0, func(b *bridge.Batch) { b.Messages[1].ClientKey.Nonce++ }},
			{"content missing", "content", 0, func(b *bridge.Batch) { b.Messages[0].Content = nil }},
			{"nonce skipped", "nonce", 0, func(b *bridge.Batch) { b.Messages = slices.Delete(b.Messages, 1, 2) }},
			{"messages in another order", "nonce", 0, func(b *bridge.Batch) {
				b.Messages[1], b.Messages[2] = b.Messages[2], b.Messages[1]
			}},
			{"message repeated", "nonce", 0, func(b *bridge.Batch) { b.Messages = slices.Insert(b.Messages, 1, b.Messages[0]) }},
			{"older batch again", "nonce", 0, func(b *bridge.Batch) { *b = s.forger.good }},
		}
		for _, test := range tests {
			s.Run(test.name, func(t *testing.T) {
				on := *s
				on.T = t
				l := on.open()
				invalid := fmt.Sprintf("relay_polls_total{adapter=%q,result=\"invalid\"}", s.route)
				before, polls, out := on.flaws(), on.metric(invalid), on.metric(`relay_messages_total{direction="out"}`)
				f := s.forger
				f.mu.Lock()
				f.least, f.times = messages, forged
				f.change = func(b *bridge.Batch) {
					s.forger.late = test.late
					if f.times == 0 {
						f.least = 1
					}
					test.change(b)
				}
				f.mu.Unlock()
				for n := range messages {
					l.send(fmt.Sprintf("%s %d", test.name, n))
				}
				// The clock is right again when all forged answers have been given.
				for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(2 * time.Millisecond) {
					counted := on.flaws()
					if counted[test.reason]-before[test.reason] >= forged {
						break
					}
					if time.Now().After(deadline) {
						t.Fatalf("counted %v, %v before", counted, before)
					}
				}
				f.mu.Lock()
				s.forger.late = 0
				f.mu.Unlock()
				for n := range messages {
					if _, text := l.text(); text != fmt.Sprintf("%s %d", test.name, n) {
						t.Fatalf("got %q as message %d", text, n)
					}
				}
				for reason, n := range on.flaws() {
					want := before[reason]
					if reason == test.reason {
						want = n // checked below
						if test.late == 0 && n != before[reason]+forged {
							t.Errorf("%s counted %d times, want %d", reason, n-before[reason], forged)
						}
					}
					if n != want {
						t.Errorf("%s counted %d times as well", reason, n-want)
					}
				}
				if n := on.metric(invalid) - polls; n < forged {
					t.Errorf("%d polls counted as invalid", n)
				}
				if n := on.metric(`relay_messages_total{direction="out"}`) - out; n != messages {
					t.Errorf("%d messages forwarded, want %d", n, messages)
				}
				_ = l.conn.Close()
			})
		}
		bystander.send("still here")
		if _, text := bystander.text(); text != "still here" {
			s.Errorf("the bystander got %q", text)
		}
	})
}

// A client gets the witness of its own message only: frames of a batch of 50
// small messages have less than a quarter of the size that they would have with
// the batch's own witness.
func TestPrunedFrames(t *testing.T) {
	const (
		messages = 50
		size     = 100
	)
	onScenes(t, func(s *scene) {
		l := s.open()
		s.forger.mu.Lock()
		s.forger.least = messages
		s.forger.mu.Unlock()
		for n := range messages {
			l.send(fmt.Sprintf("%0*d", size, n))
		}
		var pruned, whole int
		for n := range messages {
			frame, text := l.text()
			if text != fmt.Sprintf("%0*d", size, n) {
				s.Fatalf("got %q as message %d", text, n)
			}
			key, content, cert, _, err := candid.DecodeOutputFrame(frame)
			if err != nil {
				s.Fatal(err)
			}
			s.forger.mu.Lock()
			batch := s.forger.frames[key]
			s.forger.mu.Unlock()
			if len(batch.Messages) != messages || !bytes.Equal(cert, batch.Cert) {
				s.Fatalf("message %s is of a batch of %d", key, len(batch.Messages))
			}
			unpruned := len(candid.EncodeOutputFrame(key, content, batch.Cert, batch.Tree))
			if 4*len(frame) >= unpruned {
				s.Errorf("frame %d has %d bytes, with the whole witness %d", n, len(frame), unpruned)
			}
			pruned, whole = pruned+len(frame), whole+unpruned
		}
		s.Logf("%d messages of %d bytes: frames of %d bytes on average, with the whole witness %d: %.1f%%",
			messages, size, pruned/messages, whole/messages, 100*float64(pruned)/float64(whole))
	})
}
