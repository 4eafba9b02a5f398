package bridge

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/icrelay/icrelay/candid"
	"github.com/icrelay/icrelay/ic"
)

// fuzzCanister is a canister with certified messages, the same in each process.
type fuzzCanister struct {
	id       candid.Principal
	gateway  candid.Principal
	key      *ic.BLSKey
	verifier *ic.Verifier
	now      time.Time
	known    map[string]candid.OutputMessage // by key
}

func newFuzzCanister(f *testing.F) *fuzzCanister {
	f.Helper()
	c := &fuzzCanister{id: "\x00\x00\x00\x00\x00\x00\x00\x07\x01\x01", gateway: "gateway", now: time.Unix(1_800_000_000, 0), known: make(map[string]candid.OutputMessage)}
	var err error
	if c.key, err = ic.BLSKeyFromSeed([]byte("batches")); err != nil {
		f.Fatal(err)
	}
	if c.verifier, err = ic.NewVerifier(c.key.PublicKeyDER()); err != nil {
		f.Fatal(err)
	}
	return c
}

// batch certifies messages of three clients, as an answer to a poll.
func (c *fuzzCanister) batch(f *testing.F, from uint64, count int, at time.Time) Batch {
	f.Helper()
	var b Batch
	var leaves []ic.Entry
	for i := range count {
		nonce := from + uint64(i) //nolint:gosec // small
		client := candid.ClientKey{Principal: candid.Principal(fmt.Sprintf("client %d", i%3)), Nonce: nonce % 2}
		m := candid.OutputMessage{ClientKey: client, Key: fmt.Sprintf("%s_%020d", c.gateway, nonce)}
		m.Content = candid.EncodeWebsocketMessage(candid.WebsocketMessage{
			ClientKey: client, SequenceNum: nonce, Timestamp: nonce, IsServiceMessage: i == 0, Content: candid.EncodeText(fmt.Sprint("message ", nonce)),
		})
		sum := sha256.Sum256(m.Content)
		leaves = append(leaves, ic.Entry{Label: []byte(m.Key), Tree: ic.Leaf(sum[:])})
		b.Messages = append(b.Messages, m)
		c.known[m.Key] = m
	}
	witness := ic.Labeled([]byte("websocket"), ic.LabeledTreeSorted(leaves))
	root := witness.Digest()
	state := ic.LabeledTree(map[string]*ic.HashTree{
		"canister": ic.Labeled(c.id.Bytes(), ic.Labeled([]byte("certified_data"), ic.Leaf(root[:]))),
		"time":     ic.Leaf(ic.EncodeTime(at)),
	})
	signature, err := c.key.SignTree(state)
	if err != nil {
		f.Fatal(err)
	}
	b.Tree, b.Cert = witness.Encode(), ic.EncodeCertificate(state, signature, nil)
	return b
}

// FuzzBatch puts answers to polls together from the parts of certified ones,
// moves messages about, changes bytes of the whole, and decodes and checks what
// comes out as the gateway does. Whatever is accepted holds, for each message,
// exactly what the canister certified for that key, and each client accepts
// the frame that is made of it.
func FuzzBatch(f *testing.F) {
	c := newFuzzCanister(f)
	batches := []Batch{
		c.batch(f, 1, 5, c.now), c.batch(f, 6, 3, c.now.Add(-time.Minute)), c.batch(f, 9, 1, c.now.Add(time.Minute)),
		c.batch(f, 10, 4, c.now.Add(-5*time.Minute)), c.batch(f, 14, 2, c.now.Add(6*time.Minute)),
	}
	none := []byte{}
	for i := range batches {
		f.Add(byte(i), byte(i), byte(i), none, byte(0), uint16(0), none)
		f.Add(byte(i), byte(i+1), byte(i+1), none, byte(0), uint16(0), none)
		f.Add(byte(i), byte(i+1), byte(i), none, byte(0), uint16(0), none)
		for op := range byte(8) {
			f.Add(byte(i), byte(i), byte(i), []byte{op, 0, 1}, byte(0), uint16(0), none)
			f.Add(byte(i), byte(i), byte(i), []byte{op, 1, 0, 7, 1, 2}, byte(0), uint16(0), none)
		}
		for at := uint16(0); at < 1200; at += 97 {
			f.Add(byte(i), byte(i), byte(i), none, byte(2), at, []byte{1})
		}
	}
	f.Fuzz(func(t *testing.T, messages, tree, cert byte, moves []byte, how byte, at uint16, with []byte) {
		part := func(i byte) Batch { return batches[int(i)%len(batches)] }
		b := Batch{Messages: slices.Clone(part(messages).Messages), Tree: part(tree).Tree, Cert: part(cert).Cert}
		for move := range slices.Chunk(moves[:min(len(moves), 60)], 3) {
			if len(move) == 3 {
				rearrange(t, &b, move[0], int(move[1]), int(move[2]), batches)
			}
		}
		reply := change(candid.EncodeOutputMessages(b), how, at, with)
		b, _, refused, err := candid.DecodeOutputMessages(reply)
		if err != nil || refused || len(b.Messages) == 0 {
			return
		}
		checked, err := verify(c.verifier, c.id, b, c.now)
		if err != nil {
			return
		}
		if checkNonces(b.Messages, 1) == nil {
			for i, m := range b.Messages {
				if nonce := mustNonce(m.Key); nonce < 1 || nonce != mustNonce(b.Messages[0].Key)+uint64(i) { //nolint:gosec // small
					t.Fatalf("message %d has the nonce %d", i, nonce)
				}
			}
		}
		for i := range b.Messages {
			c.mustBeCertified(t, checked, &b.Messages[i])
		}
	})
}

func (c *fuzzCanister) mustBeCertified(t *testing.T, b *checkedBatch, m *candid.OutputMessage) {
	t.Helper()
	want, ok := c.known[m.Key]
	if !ok || m.ClientKey != want.ClientKey || !bytes.Equal(m.Content, want.Content) {
		t.Fatalf("accepted, though the canister did not certify it: %+v", m)
	}
	key, content, cert, tree, err := candid.DecodeOutputFrame(b.frame(m).bytes)
	if err != nil {
		t.Fatal(err)
	}
	own := Batch{Messages: []candid.OutputMessage{{ClientKey: m.ClientKey, Key: key, Content: content}}, Cert: cert, Tree: tree}
	if err := VerifyBatch(c.verifier, c.id, own, c.now); err != nil {
		t.Fatalf("the client of %s would refuse its frame: %v", m.Key, err)
	}
	for other := range c.known {
		if other != m.Key && bytes.Contains(tree, []byte(other)) {
			t.Fatalf("the frame of %s shows %s", m.Key, other)
		}
	}
}

// rearrange makes one change to a batch's messages or witness.
func rearrange(t *testing.T, b *Batch, move byte, x, y int, others []Batch) {
	t.Helper()
	n := len(b.Messages)
	other := others[y%len(others)].Messages
	if n == 0 {
		return
	}
	x, y = x%n, y%n
	m := &b.Messages[x]
	switch move % 8 {
	case 0:
		b.Messages[x], b.Messages[y] = b.Messages[y], b.Messages[x]
	case 1:
		b.Messages = slices.Delete(b.Messages, x, x+1)
	case 2:
		b.Messages = slices.Insert(b.Messages, x, b.Messages[y])
	case 3:
		m.Content = b.Messages[y].Content
	case 4:
		m.ClientKey = b.Messages[y].ClientKey
	case 5:
		m.Key = b.Messages[y].Key
	case 6:
		b.Messages[x] = other[x%len(other)]
	case 7:
		witness, err := ic.DecodeHashTree(b.Tree)
		if err != nil {
			t.Fatal(err)
		}
		b.Tree = witness.Prune(messagePath(m.Key), messagePath(b.Messages[y].Key)).Encode()
	}
}

// change changes some bytes.
func change(b []byte, how byte, at uint16, with []byte) []byte {
	i := int(at) % (len(b) + 1)
	switch how % 4 {
	case 0:
		return slices.Insert(b, i, with...)
	case 1:
		return slices.Delete(b, i, min(i+len(with), len(b)))
	case 2:
		for n := range min(len(with), len(b)-i) {
			b[i+n] ^= with[n]
		}
		return b
	default:
		return append(b[:i], with...)
	}
}

// messagePath is where a message stands in a canister's tree.
func messagePath(key string) [][]byte {
	return [][]byte{websocketLabel, []byte(key)}
}
