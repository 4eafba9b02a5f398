package bridge

import (
	"fmt"
	"testing"
	"time"

	"github.com/icrelay/icrelay/candid"
	"github.com/icrelay/icrelay/ic"
)

const benchCanister = candid.Principal("\x00\x00\x00\x00\x00\x00\x00\x07\x01\x01")

// benchBatch is a poll's answer of so many messages, and what verifies it.
func benchBatch(b *testing.B, messages int) (raw []byte, canister candid.Principal, verifier *ic.Verifier) {
	b.Helper()
	key, err := ic.GenerateBLSKey()
	if err != nil {
		b.Fatal(err)
	}
	if verifier, err = ic.NewVerifier(key.PublicKeyDER()); err != nil {
		b.Fatal(err)
	}
	c := &testCanister{id: benchCanister, gateway: candid.SelfAuthenticating([]byte("gateway")), key: key, clients: make(map[candid.ClientKey]uint64)}
	for i := range messages {
		c.enqueue(candid.ClientKey{Principal: candid.SelfAuthenticating([]byte{byte(i)}), Nonce: 1}, false, make([]byte, 100))
	}
	tree, cert := c.certify(c.queue)
	return candid.EncodeOutputMessages(candid.OutputMessages{Messages: c.queue, Tree: tree, Cert: cert}), c.id, verifier
}

// BenchmarkBatch is a batch's way from the poll's answer to the clients' frames:
// decoded, verified (its certificate is known, as that of a canister that has
// not changed is), and a frame made for each message.
func BenchmarkBatch(b *testing.B) {
	for _, messages := range []int{1, 50} {
		b.Run(fmt.Sprint(messages), func(b *testing.B) {
			raw, canister, verifier := benchBatch(b, messages)
			b.ReportAllocs()
			for b.Loop() {
				batch, _, _, err := candid.DecodeOutputMessages(raw)
				if err != nil {
					b.Fatal(err)
				}
				checked, err := verify(verifier, canister, batch, time.Now())
				if err != nil {
					b.Fatal(err)
				}
				for i := range checked.Messages {
					checked.frame(&checked.Messages[i]).release()
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*messages), "ns/message")
		})
	}
}

// BenchmarkClientFrame is what a client's frame goes through before its call:
// decoded, its expiry and signature checked, its request id computed.
func BenchmarkClientFrame(b *testing.B) {
	identity, err := ic.NewEd25519Identity()
	if err != nil {
		b.Fatal(err)
	}
	key := candid.ClientKey{Principal: identity.Principal(), Nonce: 1}
	env := ic.NewCall(benchCanister, methodMessage, candid.EncodeMessageArgs(candid.WebsocketMessage{ClientKey: key, SequenceNum: 1, Content: make([]byte, 100)}), time.Now())
	if err := ic.Sign(env, identity); err != nil {
		b.Fatal(err)
	}
	frame := candid.EncodeClientFrame(env.Encode())
	b.ReportAllocs()
	for b.Loop() {
		env, raw, refused := readEnvelope(frame)
		if refused != nil {
			b.Fatal(refused)
		}
		requestID := env.RequestID()
		if refused := checkEnvelope(env, requestID, nil, time.Now()); refused != nil {
			b.Fatal(refused)
		}
		forAdapter(env, requestID, raw, key)
	}
}
