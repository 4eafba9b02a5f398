package ic

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/asn1"
	"encoding/base64"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"testing"
	"time"

	"github.com/icrelay/icrelay/candid"
	"github.com/icrelay/icrelay/candid/cbor"
)

// jsEnvelopes are requests that the JavaScript libraries signed.
func jsEnvelopes(tb testing.TB) map[string]*candid.Envelope {
	tb.Helper()
	var raw []map[string]string
	readJSON(tb, "../candid/testdata/js/envelopes.json", &raw)
	all := make(map[string]*candid.Envelope)
	for _, m := range raw {
		b := unhex(tb, m["envelope"])
		if m["frame"] != "" {
			b = must(candid.DecodeClientFrame(unhex(tb, m["frame"])))(tb)
		}
		all[m["name"]] = must(candid.DecodeEnvelope(b))(tb)
	}
	return all
}

func TestVerifyEnvelopesOfJS(t *testing.T) {
	for name, e := range jsEnvelopes(t) {
		t.Run(name, func(t *testing.T) {
			noError(t, VerifyEnvelope(e, testTime))
			// As encoded here, it is still the same request.
			noError(t, VerifyEnvelope(must(candid.DecodeEnvelope(e.Encode()))(t), testTime))
			e.SenderSig[10] ^= 1
			equal(t, errors.Is(VerifyEnvelope(e, testTime), ErrSignature), true)
			e.SenderSig[10] ^= 1
			e.IngressExpiry++
			equal(t, errors.Is(VerifyEnvelope(e, testTime), ErrSignature), true)
		})
	}
}

func signedCall(tb testing.TB, id Identity) *candid.Envelope {
	tb.Helper()
	e := NewCall(canisterA, "post", []byte("arg"), testTime)
	noError(tb, Sign(e, id))
	return e
}

func identities(tb testing.TB) map[string]Identity {
	tb.Helper()
	return map[string]Identity{
		"ed25519":   must(NewEd25519Identity())(tb),
		"secp256k1": must(NewSecp256k1Identity())(tb),
		"p256":      must(NewP256Identity())(tb),
	}
}

func nanos(t time.Time) uint64 { return uint64(t.UnixNano()) }

func TestSignAndVerify(t *testing.T) {
	for name, id := range identities(t) {
		t.Run(name, func(t *testing.T) {
			e := signedCall(t, id)
			noError(t, VerifyEnvelope(e, testTime))
			noError(t, CheckExpiry(e, testTime))

			session := must(NewEd25519Identity())(t)
			d := must(Delegate(id, session.PublicKeyDER(), nanos(testTime), canisterB, canisterA))(t)
			e = signedCall(t, NewDelegatedIdentity(id.PublicKeyDER(), []candid.Delegation{d}, session))
			equal(t, e.Sender, id.Principal())
			noError(t, VerifyEnvelope(e, testTime))
		})
	}
	e := signedCall(t, AnonymousIdentity{})
	noError(t, VerifyEnvelope(e, testTime))
	equal(t, e.SenderSig == nil, true)
}

func TestVerifyEnvelopeRefuses(t *testing.T) {
	owner, session := must(NewEd25519Identity())(t), must(NewSecp256k1Identity())(t)
	third := must(NewP256Identity())(t)
	far := nanos(testTime.Add(time.Hour))
	delegate := func(from, to Identity, expiration uint64, targets ...candid.Principal) candid.Delegation {
		return must(Delegate(from, to.PublicKeyDER(), expiration, targets...))(t)
	}
	queries := func(from, to Identity) candid.Delegation {
		d := candid.Delegation{Pubkey: to.PublicKeyDER(), Expiration: far, Permissions: "queries"}
		hash := d.Hash()
		d.Signature = must(from.Sign(append([]byte(sepDelegation), hash[:]...)))(t)
		return d
	}
	// chained signs with the last identity in the name of the first.
	chained := func(last Identity, chain ...candid.Delegation) *candid.Envelope {
		return signedCall(t, NewDelegatedIdentity(owner.PublicKeyDER(), chain, last))
	}
	changed := func(change func(*candid.Envelope)) *candid.Envelope {
		e := signedCall(t, owner)
		change(e)
		return e
	}
	long := make([]candid.Delegation, candid.MaxDelegations+1)
	tests := map[string]struct {
		e    *candid.Envelope
		want string // "": valid
		is   error
	}{
		"delegation":            {chained(session, delegate(owner, session, far)), "", nil},
		"two delegations":       {chained(third, delegate(owner, session, far), delegate(session, third, far, canisterA)), "", nil},
		"expires now":           {chained(session, delegate(owner, session, nanos(testTime))), "", nil},
		"expired":               {chained(session, delegate(owner, session, nanos(testTime)-1)), "has expired", ErrDelegation},
		"not for this canister": {chained(session, delegate(owner, session, far, canisterB)), "does not allow this canister", ErrDelegation},
		"no canister at all": {chained(session, func() candid.Delegation {
			d := delegate(owner, session, far)
			d.Targets = []candid.Principal{}
			return d
		}()), "does not allow this canister", ErrDelegation},
		"first has no such":     {chained(third, delegate(owner, session, far, canisterB), delegate(session, third, far, canisterA)), "invalid delegation 1", ErrDelegation},
		"queries only":          {chained(session, queries(owner, session)), "queries only", ErrDelegation},
		"signed by another":     {chained(session, delegate(third, session, far)), "does not match", ErrSignature},
		"broken chain":          {chained(third, delegate(owner, session, far), delegate(owner, third, far)), "invalid delegation 2", ErrDelegation},
		"cycle to the owner":    {chained(owner, delegate(owner, session, far), delegate(session, owner, far)), "back to the sender's key", ErrDelegation},
		"cycle":                 {chained(session, delegate(owner, session, far), delegate(session, third, far), delegate(third, session, far)), "back to an earlier key", ErrDelegation},
		"session not delegated": {chained(third, delegate(owner, session, far)), "request: signature does not match", ErrSignature},
		"too many":              {changed(func(e *candid.Envelope) { e.Delegations = long }), "at most 20", ErrDelegation},
		"another sender":        {changed(func(e *candid.Envelope) { e.Sender = session.Principal() }), "not the owner of the public key", nil},
		"another canister":      {changed(func(e *candid.Envelope) { e.Canister = canisterB }), "request: signature does not match", ErrSignature},
		"another argument":      {changed(func(e *candid.Envelope) { e.Arg = nil }), "request: signature does not match", ErrSignature},
		"no signature":          {changed(func(e *candid.Envelope) { e.SenderSig = nil }), "not signed", nil},
		"no key":                {changed(func(e *candid.Envelope) { e.SenderPubkey = nil }), "not signed", nil},
		"anonymous with a key":  {changed(func(e *candid.Envelope) { e.Sender = candid.Anonymous }), "must not be signed", nil},
		"anonymous, empty chain": {changed(func(e *candid.Envelope) {
			*e = candid.Envelope{Sender: candid.Anonymous, Delegations: []candid.Delegation{}}
		}), "must not be signed", nil},
		"garbage as key": {changed(func(e *candid.Envelope) {
			e.SenderPubkey = []byte("key")
			e.Sender = candid.SelfAuthenticating(e.SenderPubkey)
		}), "not a DER-encoded", nil},
		"a management canister": {changed(func(e *candid.Envelope) { e.Canister = ""; noError(t, Sign(e, owner)) }), "", nil},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			err := VerifyEnvelope(tt.e, testTime)
			if tt.want == "" {
				noError(t, err)
				return
			}
			errorContains(t, err, tt.want)
			if tt.is != nil && !errors.Is(err, tt.is) {
				t.Errorf("%v is not %v", err, tt.is)
			}
		})
	}
}

func TestDelegationsOfReadState(t *testing.T) {
	owner, session := must(NewEd25519Identity())(t), must(NewEd25519Identity())(t)
	d := must(Delegate(owner, session.PublicKeyDER(), nanos(testTime), canisterA))(t)
	e := &candid.Envelope{RequestType: candid.RequestReadState, Paths: [][][]byte{path("time")}, IngressExpiry: nanos(testTime)}
	noError(t, Sign(e, NewDelegatedIdentity(owner.PublicKeyDER(), []candid.Delegation{d}, session)))
	noError(t, VerifyEnvelope(e, testTime))
	noError(t, VerifyEnvelope(e, testTime, WithEffectiveCanister(canisterA)))
	errorContains(t, VerifyEnvelope(e, testTime, WithEffectiveCanister(canisterB)), "does not allow")
}

func TestCheckExpiry(t *testing.T) {
	for name, tt := range map[string]struct {
		expiry uint64
		want   error
	}{
		"now":            {nanos(testTime), ErrExpired},
		"just ahead":     {nanos(testTime) + 1, nil},
		"five minutes":   {nanos(testTime.Add(5 * time.Minute)), nil},
		"as far as can":  {nanos(testTime.Add(MaxExpiryAhead)), nil},
		"one more":       {nanos(testTime.Add(MaxExpiryAhead)) + 1, ErrExpiryTooFar},
		"end of numbers": {1<<64 - 1, ErrExpiryTooFar},
		"zero":           {0, ErrExpired},
	} {
		t.Run(name, func(t *testing.T) {
			err := CheckExpiry(&candid.Envelope{IngressExpiry: tt.expiry}, testTime)
			equal(t, errors.Is(err, tt.want), true)
		})
	}
}

// webauthn is an identity whose key lives in an authenticator.
type webauthn struct {
	owner
	sign func(message []byte) []byte
}

func (w webauthn) Sign(message []byte) ([]byte, error) {
	client := fmt.Sprintf(`{"type":"webauthn.get","challenge":"%s","origin":"https://example.org"}`, base64.RawURLEncoding.EncodeToString(message))
	auth := []byte("authenticator data")
	sum := sha256.Sum256([]byte(client))
	b := cbor.AppendMap(cbor.AppendSelfDescribe(nil), 3)
	b = cbor.AppendBytes(cbor.AppendText(b, "authenticator_data"), auth)
	b = cbor.AppendText(cbor.AppendText(b, "client_data_json"), client)
	return cbor.AppendBytes(cbor.AppendText(b, "signature"), w.sign(append(auth, sum[:]...))), nil
}

// wrapKey puts a key into a SubjectPublicKeyInfo.
func wrapKey(tb testing.TB, oid asn1.ObjectIdentifier, key []byte) []byte {
	tb.Helper()
	var info struct {
		Algorithm struct{ OID asn1.ObjectIdentifier }
		Key       asn1.BitString
	}
	info.Algorithm.OID = oid
	info.Key = asn1.BitString{Bytes: key, BitLength: len(key) * 8}
	return must(asn1.Marshal(info))(tb)
}

func coseHead(n int, kty, alg byte) []byte {
	return append(cbor.AppendMap(nil, n), 1, kty, 3, alg)
}

func webauthnIdentities(tb testing.TB) map[string]Identity {
	tb.Helper()
	ec := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))(tb)
	point := must(ec.PublicKey.Bytes())(tb)
	ecKey := append(coseHead(5, 2, 0x26), 0x20, 1, 0x21) // crv P-256, x
	ecKey = append(cbor.AppendBytes(ecKey, point[1:33]), 0x22)
	ecKey = cbor.AppendBytes(ecKey, point[33:])

	edPublic, ed, err := ed25519.GenerateKey(rand.Reader)
	noError(tb, err)
	edKey := cbor.AppendBytes(append(coseHead(4, 1, 0x27), 0x20, 6, 0x21), edPublic)

	rs := must(rsa.GenerateKey(rand.Reader, 2048))(tb)
	rsKey := append(cbor.AppendMap(nil, 4), 1, 3, 3, 0x39, 0x01, 0x00, 0x20) // RS256 is -257
	rsKey = append(cbor.AppendBytes(rsKey, rs.N.Bytes()), 0x21)
	rsKey = cbor.AppendBytes(rsKey, big.NewInt(int64(rs.E)).Bytes())

	wrap := func(key []byte, sign func([]byte) []byte) Identity {
		return webauthn{newOwner(wrapKey(tb, oidCOSE, key)), sign}
	}
	return map[string]Identity{
		"webauthn p256": wrap(ecKey, func(m []byte) []byte {
			sum := sha256.Sum256(m)
			return must(ecdsa.SignASN1(rand.Reader, ec, sum[:]))(tb)
		}),
		"webauthn ed25519": wrap(edKey, func(m []byte) []byte { return ed25519.Sign(ed, m) }),
		"webauthn rsa": wrap(rsKey, func(m []byte) []byte {
			sum := sha256.Sum256(m)
			return must(rsa.SignPKCS1v15(rand.Reader, rs, crypto.SHA256, sum[:]))(tb)
		}),
	}
}

func TestWebAuthn(t *testing.T) {
	session := must(NewEd25519Identity())(t)
	for name, id := range webauthnIdentities(t) {
		t.Run(name, func(t *testing.T) {
			e := signedCall(t, id)
			noError(t, VerifyEnvelope(e, testTime))
			e.Arg = []byte("another")
			errorContains(t, VerifyEnvelope(e, testTime), "challenge is not the message")
			noError(t, Sign(e, id))
			e.SenderSig[len(e.SenderSig)-1] ^= 1
			equal(t, errors.Is(VerifyEnvelope(e, testTime), ErrSignature), true)

			d := must(Delegate(id, session.PublicKeyDER(), nanos(testTime)))(t)
			noError(t, VerifyEnvelope(signedCall(t, NewDelegatedIdentity(id.PublicKeyDER(), []candid.Delegation{d}, session)), testTime))
		})
	}
}

func TestWebAuthnRefuses(t *testing.T) {
	for name, tt := range map[string]struct {
		key  []byte
		want string
	}{
		"nothing":         {nil, "ends inside"},
		"another alg":     {coseHead(2, 2, 0x27), "not supported"},
		"off the curve":   {cbor.AppendBytes(append(cbor.AppendBytes(append(coseHead(5, 2, 0x26), 0x20, 1, 0x21), make([]byte, 32)), 0x22), make([]byte, 32)), "not an uncompressed point"},
		"short x":         {append(coseHead(4, 1, 0x27), 0x20, 6, 0x21, 0x41, 1), "not an Ed25519 key"},
		"tiny modulus":    {append(cbor.AppendMap(nil, 4), 1, 3, 3, 0x39, 0x01, 0x00, 0x20, 0x41, 7, 0x21, 0x41, 3), "out of range"},
		"duplicate label": {append(cbor.AppendMap(nil, 2), 1, 2, 1, 2), "duplicate parameter"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := parsePublicKey(wrapKey(t, oidCOSE, tt.key), nil)
			errorContains(t, err, tt.want)
		})
	}
	_, err := parsePublicKey(wrapKey(t, asn1.ObjectIdentifier{1, 2, 3}, nil), nil)
	errorContains(t, err, "scheme 1.2.3 is not supported")
}

// canisterSigner is a canister that signs for its users, as Internet Identity does.
type canisterSigner struct {
	owner
	net      *testNet
	canister candid.Principal
	seed     []byte
	layout   layout
	change   func(tree *HashTree) *HashTree // of the canister's tree before it is certified
}

func newCanisterSigner(tb testing.TB, n *testNet, canister candid.Principal) *canisterSigner {
	tb.Helper()
	seed := []byte("user 7")
	key := slices.Concat([]byte{byte(len(canister))}, []byte(canister), seed)
	return &canisterSigner{owner: newOwner(wrapKey(tb, oidCanister, key)), net: n, canister: canister, seed: seed}
}

func (s *canisterSigner) Sign(message []byte) ([]byte, error) {
	seed, sum := sha256.Sum256(s.seed), sha256.Sum256(message)
	t := Labeled([]byte("sig"), Labeled(seed[:], Labeled(sum[:], Leaf(nil))))
	if s.change != nil {
		t = s.change(t)
	}
	digest := t.Digest()
	state := tree(testTime.Add(-30*24*time.Hour), map[string]*HashTree{
		"canister": Labeled([]byte(s.canister), Labeled([]byte("certified_data"), Leaf(digest[:]))),
	})
	b := cbor.AppendMap(cbor.AppendSelfDescribe(nil), 2)
	b = cbor.AppendBytes(cbor.AppendText(b, "certificate"), s.net.certify(state, s.layout))
	return t.AppendCBOR(cbor.AppendText(b, "tree")), nil
}

func TestCanisterSignature(t *testing.T) {
	n := newTestNet(t)
	session := must(NewEd25519Identity())(t)
	delegated := func(s *canisterSigner) *candid.Envelope {
		d := must(Delegate(s, session.PublicKeyDER(), nanos(testTime)))(t)
		return signedCall(t, NewDelegatedIdentity(s.PublicKeyDER(), []candid.Delegation{d}, session))
	}
	good := newCanisterSigner(t, n, canisterA)
	with := WithVerifier(n.verifier())
	noError(t, VerifyEnvelope(delegated(good), testTime, with))
	noError(t, VerifyEnvelope(signedCall(t, good), testTime, with))

	err := VerifyEnvelope(delegated(good), testTime)
	equal(t, errors.Is(err, ErrNeedsRootKey), true)

	cloud := newTestNet(t)
	cloud.kind = "cloud_engine"
	stranger := newTestNet(t)
	stranger.root = must(GenerateBLSKey())(t)
	newLayout := newCanisterSigner(t, n, canisterA)
	newLayout.layout = layoutNew
	noError(t, VerifyEnvelope(delegated(newLayout), testTime, with))
	changed := func(f func(*HashTree) *HashTree) *canisterSigner {
		s := newCanisterSigner(t, n, canisterA)
		s.change = f
		return s
	}
	for name, tt := range map[string]struct {
		s    *canisterSigner
		want string
	}{
		"outside the subnet": {newCanisterSigner(t, n, outsideBoth), "outside the signing subnet"},
		"another root":       {newCanisterSigner(t, stranger, canisterA), "does not match"},
		"cloud engine":       {newCanisterSigner(t, cloud, canisterA), "cloud engines cannot sign"},
		"another message":    {changed(func(*HashTree) *HashTree { return Labeled([]byte("sig"), Empty()) }), "signature does not match"},
		"malformed tree":     {changed(func(t *HashTree) *HashTree { return Fork(t, Labeled([]byte("a"), Leaf(nil))) }), "malformed tree"},
		"pruned":             {changed(func(t *HashTree) *HashTree { return t.Prune() }), "signature does not match"},
	} {
		t.Run(name, func(t *testing.T) {
			err := VerifyEnvelope(delegated(tt.s), testTime, with)
			errorContains(t, err, "canister signature: ")
			errorContains(t, err, tt.want)
		})
	}
	e := signedCall(t, good)
	e.SenderSig = []byte{0xa0}
	errorContains(t, VerifyEnvelope(e, testTime, with), "missing")
}

func BenchmarkVerifyEnvelope(b *testing.B) {
	for name, e := range jsEnvelopes(b) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := VerifyEnvelope(e, testTime); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func FuzzVerifyEnvelope(f *testing.F) {
	n := newTestNet(f)
	for _, e := range jsEnvelopes(f) {
		f.Add(e.Encode())
	}
	for _, id := range webauthnIdentities(f) {
		f.Add(signedCall(f, id).Encode())
	}
	f.Add(signedCall(f, newCanisterSigner(f, n, canisterA)).Encode())
	v := WithVerifier(n.verifier())
	f.Fuzz(func(_ *testing.T, b []byte) {
		if e, err := candid.DecodeEnvelope(b); err == nil {
			_ = VerifyEnvelope(e, testTime, v)
		}
	})
}
