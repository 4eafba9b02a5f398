package bridge

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/asn1"
	"encoding/base64"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/icrelay/icrelay/candid"
	"github.com/icrelay/icrelay/candid/cbor"
	"github.com/icrelay/icrelay/ic"
)

// A signer is an identity made of a public key and a function.
type signer struct {
	der  []byte
	sign func(message []byte) ([]byte, error)
}

func (s signer) Principal() candid.Principal         { return candid.SelfAuthenticating(s.der) }
func (s signer) PublicKeyDER() []byte                { return s.der }
func (s signer) Sign(message []byte) ([]byte, error) { return s.sign(message) }

func must[T any](v T, err error) func(*testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// keyInfo is a public key as the interface specification wraps it.
func keyInfo(t *testing.T, oid asn1.ObjectIdentifier, key []byte) []byte {
	t.Helper()
	var info struct {
		Algorithm struct{ OID asn1.ObjectIdentifier }
		Key       asn1.BitString
	}
	info.Algorithm.OID = oid
	info.Key = asn1.BitString{Bytes: key, BitLength: 8 * len(key)}
	return must(asn1.Marshal(info))(t)
}

// passkey is an authenticator of a browser.
func passkey(t *testing.T) ic.Identity {
	t.Helper()
	key := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))(t)
	point := must(key.PublicKey.Bytes())(t)
	cose := append(cbor.AppendMap(nil, 5), 1, 2, 3, 0x26, 0x20, 1, 0x21) // kty EC2, alg ES256, crv P-256, x
	cose = append(cbor.AppendBytes(cose, point[1:33]), 0x22)             // y
	cose = cbor.AppendBytes(cose, point[33:])
	return signer{keyInfo(t, asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 56387, 1, 1}, cose), func(message []byte) ([]byte, error) {
		client := fmt.Sprintf(`{"type":"webauthn.get","challenge":"%s","origin":"https://example.org"}`, base64.RawURLEncoding.EncodeToString(message))
		data, hash := []byte("authenticator data"), sha256.Sum256([]byte(client))
		signed := sha256.Sum256(append(data, hash[:]...))
		signature, err := ecdsa.SignASN1(rand.Reader, key, signed[:])
		b := cbor.AppendBytes(cbor.AppendText(cbor.AppendMap(cbor.AppendSelfDescribe(nil), 3), "authenticator_data"), data)
		b = cbor.AppendText(cbor.AppendText(b, "client_data_json"), client)
		return cbor.AppendBytes(cbor.AppendText(b, "signature"), signature), err
	}}
}

// internetIdentity is a canister that signs for its users, on the network of a key.
func internetIdentity(t *testing.T, network *ic.BLSKey) ic.Identity {
	t.Helper()
	const canister, seed = candid.Principal("\x00\x00\x00\x00\x00\x00\x00\x07\x01\x01"), "user 7"
	key := slices.Concat([]byte{byte(len(canister))}, []byte(canister), []byte(seed))
	return signer{keyInfo(t, asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 56387, 1, 2}, key), func(message []byte) ([]byte, error) {
		user, sum := sha256.Sum256([]byte(seed)), sha256.Sum256(message)
		tree := ic.Labeled([]byte("sig"), ic.Labeled(user[:], ic.Labeled(sum[:], ic.Leaf(nil))))
		root := tree.Digest()
		state := ic.LabeledTree(map[string]*ic.HashTree{
			"canister": ic.Labeled(canister.Bytes(), ic.Labeled([]byte("certified_data"), ic.Leaf(root[:]))),
			"time":     ic.Leaf(ic.EncodeTime(time.Now().Add(-24 * time.Hour))),
		})
		signature, err := network.SignTree(state)
		b := cbor.AppendText(cbor.AppendMap(cbor.AppendSelfDescribe(nil), 2), "certificate")
		b = cbor.AppendBytes(b, ic.EncodeCertificate(state, signature, nil))
		return tree.AppendCBOR(cbor.AppendText(b, "tree")), err
	}}
}

// delegation lets a fresh key sign for an identity.
func delegation(t *testing.T, from ic.Identity, expiry time.Time, targets ...candid.Principal) ic.Identity {
	t.Helper()
	session := must(ic.NewEd25519Identity())(t)
	d := must(ic.Delegate(from, session.PublicKeyDER(), uint64(expiry.UnixNano()), targets...))(t)
	return ic.NewDelegatedIdentity(from.PublicKeyDER(), []candid.Delegation{d}, session)
}

// Every kind of signature that the network takes opens a connection and sends
// on it; what the network would not take goes nowhere near it.
func TestSignatures(t *testing.T) {
	b := newBench(t, nil)
	other := must(ic.BLSKeyFromSeed([]byte("another network")))(t)
	soon, past := time.Now().Add(time.Hour), time.Now().Add(-time.Second)
	const elsewhere = candid.Principal("\x00\x00\x00\x00\x00\x00\x00\x09\x01\x01")
	ed25519 := must(ic.NewEd25519Identity())(t)
	tests := []struct {
		name     string
		identity ic.Identity
		part     string // of the refusal; "" for none
	}{
		{"Ed25519", ed25519, ""},
		{"secp256k1", must(ic.NewSecp256k1Identity())(t), ""},
		{"P-256", must(ic.NewP256Identity())(t), ""},
		{"WebAuthn", passkey(t), ""},
		{"Internet Identity", delegation(t, internetIdentity(t, b.canister.key), soon), ""},
		{"Internet Identity for this canister", delegation(t, internetIdentity(t, b.canister.key), soon, elsewhere, b.canister.id), ""},
		{"delegation of a passkey", delegation(t, passkey(t), soon), ""},
		{"delegation of a delegation", func() ic.Identity {
			p := &peer{bench: b, identity: ed25519}
			p.delegate(3, b.canister.id)
			return p.identity
		}(), ""},

		{"Internet Identity of another network", delegation(t, internetIdentity(t, other), soon), "does not match"},
		{"expired delegation", delegation(t, ed25519, past), "has expired"},
		{"delegation for another canister", delegation(t, ed25519, soon, elsewhere), "does not allow this canister"},
		{"delegation of somebody else", func() ic.Identity {
			stranger, session := must(ic.NewEd25519Identity())(t), must(ic.NewEd25519Identity())(t)
			d := must(ic.Delegate(stranger, session.PublicKeyDER(), uint64(soon.UnixNano())))(t)
			return ic.NewDelegatedIdentity(ed25519.PublicKeyDER(), []candid.Delegation{d}, session)
		}(), "does not match"},
		{"key that did not sign", signer{ed25519.PublicKeyDER(), must(ic.NewEd25519Identity())(t).Sign}, "does not match"},
		{"nonsense as a signature", signer{ed25519.PublicKeyDER(), func([]byte) ([]byte, error) { return []byte("nonsense"), nil }}, "signature"},
	}
	refused := uint64(0)
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			on := *b
			on.T = t
			p := on.dial()
			p.identity, p.key.Principal = test.identity, test.identity.Principal()
			p.write(p.sign(p.openEnvelope()))
			if test.part != "" {
				p.closed(CloseNotAllowed, test.part)
				refused++
				on.counted(causeSignature, refused)
				if get(b.canister, func() bool { _, known := b.canister.clients[p.key]; return known }) {
					t.Error("the canister has heard of it")
				}
				return
			}
			if m := p.message(); !m.IsServiceMessage {
				t.Errorf("message = %+v", m)
			}
			before := b.received()
			p.send("x")
			b.eventually("the message arrives", func() bool { return b.received() == before+1 })
		})
	}
}

// A signature is checked for each frame, not for the first only.
func TestSignatureOfMessage(t *testing.T) {
	b := newBench(t, nil)
	p := b.open()
	p.send("mine")
	b.receivedAll(1)
	owner := p.identity
	p.identity = signer{owner.PublicKeyDER(), must(ic.NewEd25519Identity())(t).Sign}
	p.send("forged")
	p.cut(CloseNotAllowed, "signature", causeSignature)
	if n := b.received(); n != 1 {
		t.Errorf("%d messages were forwarded, want 1", n)
	}
}

// Nobody signs for the anonymous principal, so that nobody can be told from another.
func TestAnonymous(t *testing.T) {
	b := newBench(t, nil)
	p := b.dial()
	p.identity, p.key.Principal = ic.AnonymousIdentity{}, candid.Anonymous
	p.write(p.sign(p.openEnvelope()))
	p.cut(CloseRefused, "anonymous", causeAnonymous)
	if len(b.canister.clients) != 0 {
		t.Error("the canister has heard of it")
	}
}

// An envelope without a signature is none.
func TestUnsigned(t *testing.T) {
	b := newBench(t, nil)
	for name, strip := range map[string]func(*candid.Envelope){
		"nothing":      func(e *candid.Envelope) { e.SenderSig, e.SenderPubkey = nil, nil },
		"no signature": func(e *candid.Envelope) { e.SenderSig = nil },
		"no key":       func(e *candid.Envelope) { e.SenderPubkey = nil },
		"empty":        func(e *candid.Envelope) { e.SenderSig = []byte{} },
	} {
		t.Run(name, func(t *testing.T) {
			on := *b
			on.T = t
			p := on.dial()
			env := p.openEnvelope()
			p.sign(env)
			strip(env)
			p.write(candid.EncodeClientFrame(env.Encode()))
			p.closed(CloseNotAllowed, "signature")
		})
	}
	if len(b.canister.clients) != 0 || b.principals() != 0 || b.gateway.opens.count != 0 {
		t.Error("something was created for it")
	}
}
