package client

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/icrelay/icrelay/candid"
	"github.com/icrelay/icrelay/ic"
)

// fuzzSigner is a canister that certifies whatever it is given.
type fuzzSigner struct {
	key *ic.BLSKey
	now time.Time
}

func (s fuzzSigner) frame(t testing.TB, label string, content []byte) []byte {
	t.Helper()
	sum := sha256.Sum256(content)
	witness := ic.Labeled([]byte("websocket"), ic.Labeled([]byte(label), ic.Leaf(sum[:])))
	root := witness.Digest()
	state := ic.LabeledTree(map[string]*ic.HashTree{
		"canister": ic.Labeled(testCanister.Bytes(), ic.Labeled([]byte("certified_data"), ic.Leaf(root[:]))),
		"time":     ic.Leaf(ic.EncodeTime(s.now)),
	})
	signature, err := s.key.SignTree(state)
	if err != nil {
		t.Fatal(err)
	}
	return candid.EncodeOutputFrame(label, content, ic.EncodeCertificate(state, signature, nil), witness.Encode())
}

// FuzzMessages: a canister certifies whatever messages, and a gateway changes
// the frame of the second. The client takes what the protocol allows, exactly
// as it was certified, and has a reason of its own for everything else.
func FuzzMessages(f *testing.F) {
	key, err := ic.BLSKeyFromSeed([]byte("messages"))
	if err != nil {
		f.Fatal(err)
	}
	verifier, err := ic.NewVerifier(key.PublicKeyDER())
	if err != nil {
		f.Fatal(err)
	}
	identity, err := ic.NewEd25519Identity()
	if err != nil {
		f.Fatal(err)
	}
	signer := fuzzSigner{key, time.Unix(1_800_000_000, 0)}
	me := candid.ClientKey{Principal: "\x01me", Nonce: 7}
	message := func(sequence uint64, service bool, content []byte) []byte {
		return candid.EncodeWebsocketMessage(candid.WebsocketMessage{ClientKey: me, SequenceNum: sequence, Timestamp: 1, IsServiceMessage: service, Content: content})
	}
	service := func(m candid.ServiceMessage) []byte { return candid.EncodeServiceMessage(m) }
	opened := message(1, true, service(candid.ServiceMessage{Kind: candid.OpenMessage, ClientKey: me}))
	other := candid.ClientKey{Principal: "\x02you", Nonce: 7}
	for _, second := range [][]byte{
		message(2, false, candid.EncodeText("hello")),
		message(2, true, service(candid.ServiceMessage{Kind: candid.AckMessage, LastIncoming: 3})),
		message(2, true, service(candid.ServiceMessage{Kind: candid.AckMessage, LastIncoming: 9})),
		message(2, true, service(candid.ServiceMessage{Kind: candid.CloseMessage, Reason: candid.ClosedByApplication})),
		message(2, true, service(candid.ServiceMessage{Kind: candid.OpenMessage, ClientKey: me})),
		message(3, false, nil),
		candid.EncodeWebsocketMessage(candid.WebsocketMessage{ClientKey: other, SequenceNum: 2}),
		[]byte("nothing"),
	} {
		f.Add(opened, second, uint16(0), []byte{})
		f.Add(opened, second, uint16(60), []byte{1})
		f.Add(second, opened, uint16(0), []byte{})
	}
	f.Add(message(1, true, service(candid.ServiceMessage{Kind: candid.OpenMessage, ClientKey: other})), opened, uint16(0), []byte{})
	reasons := []error{ErrMalformed, ErrVerification, ErrSequence, ErrClientKey, ErrService}
	f.Fuzz(func(t *testing.T, first, second []byte, at uint16, change []byte) {
		opt := Options{Canister: testCanister, Identity: identity, Verifier: verifier, Now: func() time.Time { return signer.now }, ReceiveMessages: 4, ReceiveBytes: 1 << 20}
		c := newConn(opt, nil, testGateway)
		defer c.shut()
		c.key = me
		c.checker = checker{verifier: verifier, canister: testCanister, maxAge: time.Minute}
		c.expected = 1
		for sequence := range uint64(3) {
			c.acks.sent(sequence+1, false, signer.now)
		}
		frames := [][]byte{signer.frame(t, "first", first), signer.frame(t, "second", second)}
		changed := frames[1]
		for i, b := range change {
			changed[(int(at)+i)%len(changed)] ^= b
		}
		for i, content := range [][]byte{first, second} {
			before := c.expected
			err := c.frame(frames[i])
			if err == nil {
				c.mustBe(t, content, before)
				continue
			}
			var closed *CanisterClosedError
			if !errors.As(err, &closed) && !slices.ContainsFunc(reasons, func(reason error) bool { return errors.Is(err, reason) }) {
				t.Fatalf("no reason: %v", err)
			}
			break
		}
	})
}

// mustBe looks at what became of an accepted message, the number before.
func (c *Conn) mustBe(t *testing.T, content []byte, before uint64) {
	t.Helper()
	m, err := candid.DecodeWebsocketMessage(content)
	if err != nil || m.ClientKey != c.key || m.SequenceNum != before || c.expected != before+1 {
		t.Fatalf("accepted as message %d: %+v, %v", before, m, err)
	}
	select {
	case <-c.opened:
	default:
		t.Fatal("a message was accepted, but the connection is not open")
	}
	if m.IsServiceMessage {
		return
	}
	got, err := c.ReceiveMessage(context.Background())
	if err != nil || !bytes.Equal(got.Content, m.Content) || got.Sequence != before {
		t.Fatalf("got %+v, %v", got, err)
	}
}
