package ic

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/asn1"
	"errors"
	"fmt"

	"github.com/decred/dcrd/dcrec/secp256k1/v4"
	secpecdsa "github.com/decred/dcrd/dcrec/secp256k1/v4/ecdsa"

	"github.com/icrelay/icrelay/candid"
)

// Identity signs requests. Implementations are safe for concurrent use.
type Identity interface {
	Principal() candid.Principal
	// PublicKeyDER is the SubjectPublicKeyInfo, nil for the anonymous identity.
	PublicKeyDER() []byte
	// Sign signs a message that carries its domain separator.
	Sign(message []byte) ([]byte, error)
}

// AnonymousIdentity sends requests without a signature.
type AnonymousIdentity struct{}

var _ Identity = AnonymousIdentity{}

// Principal returns the anonymous principal.
func (AnonymousIdentity) Principal() candid.Principal { return candid.Anonymous }

// PublicKeyDER returns nil.
func (AnonymousIdentity) PublicKeyDER() []byte { return nil }

// Sign fails: anonymous requests carry no signature.
func (AnonymousIdentity) Sign([]byte) ([]byte, error) {
	return nil, errors.New("the anonymous identity cannot sign")
}

// owner holds what is computed once from a public key.
type owner struct {
	der       []byte
	principal candid.Principal
}

func newOwner(der []byte) owner { return owner{der, candid.SelfAuthenticating(der)} }

// Principal returns the self-authenticating principal of the key.
func (o owner) Principal() candid.Principal { return o.principal }

// PublicKeyDER returns the SubjectPublicKeyInfo. It must not be changed.
func (o owner) PublicKeyDER() []byte { return o.der }

// Ed25519Identity signs with an Ed25519 key.
type Ed25519Identity struct {
	owner
	key ed25519.PrivateKey
}

var _ Identity = (*Ed25519Identity)(nil)

// ed25519Prefix is the DER head of an Ed25519 public key (RFC 8410, section 4).
const ed25519Prefix = "\x30\x2a\x30\x05\x06\x03\x2b\x65\x70\x03\x21\x00"

// NewEd25519Identity makes an identity with a new key.
func NewEd25519Identity() (*Ed25519Identity, error) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("generate identity: %w", err)
	}
	return Ed25519IdentityFromKey(key), nil
}

// Ed25519IdentityFromKey makes an identity of a key.
func Ed25519IdentityFromKey(key ed25519.PrivateKey) *Ed25519Identity {
	public := key.Public().(ed25519.PublicKey) //nolint:forcetypeassert,errcheck // as documented by crypto/ed25519
	return &Ed25519Identity{newOwner(Ed25519PublicKeyDER(public)), key}
}

// Ed25519PublicKeyDER returns the SubjectPublicKeyInfo of a key.
func Ed25519PublicKeyDER(public ed25519.PublicKey) []byte {
	return append([]byte(ed25519Prefix), public...)
}

// Sign returns the 64-byte signature.
func (id *Ed25519Identity) Sign(message []byte) ([]byte, error) {
	return ed25519.Sign(id.key, message), nil
}

// Secp256k1Identity signs with ECDSA on secp256k1.
type Secp256k1Identity struct {
	owner
	key *secp256k1.PrivateKey
}

var _ Identity = (*Secp256k1Identity)(nil)

// secp256k1Prefix is the DER head of an uncompressed public key on secp256k1
// (RFC 5480): id-ecPublicKey, 1.3.132.0.10.
const secp256k1Prefix = "\x30\x56\x30\x10\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x05\x2b\x81\x04\x00\x0a\x03\x42\x00"

// NewSecp256k1Identity makes an identity with a new key.
func NewSecp256k1Identity() (*Secp256k1Identity, error) {
	key, err := secp256k1.GeneratePrivateKey()
	if err != nil {
		return nil, fmt.Errorf("generate identity: %w", err)
	}
	return newSecp256k1Identity(key), nil
}

// Secp256k1IdentityFromScalar makes an identity of a 32-byte secret scalar.
func Secp256k1IdentityFromScalar(scalar []byte) (*Secp256k1Identity, error) {
	var s secp256k1.ModNScalar
	if len(scalar) != 32 || s.SetByteSlice(scalar) || s.IsZero() {
		return nil, errors.New("not a secp256k1 secret key")
	}
	return newSecp256k1Identity(secp256k1.NewPrivateKey(&s)), nil
}

func newSecp256k1Identity(key *secp256k1.PrivateKey) *Secp256k1Identity {
	der := append([]byte(secp256k1Prefix), key.PubKey().SerializeUncompressed()...)
	return &Secp256k1Identity{newOwner(der), key}
}

// Sign returns r and s, 32 bytes each (interface specification, "Ed25519 and ECDSA signatures").
func (id *Secp256k1Identity) Sign(message []byte) ([]byte, error) {
	sum := sha256.Sum256(message)
	sig := secpecdsa.Sign(id.key, sum[:])
	r, s := sig.R(), sig.S()
	rb, sb := r.Bytes(), s.Bytes()
	return append(rb[:], sb[:]...), nil
}

// P256Identity signs with ECDSA on P-256.
type P256Identity struct {
	owner
	key *ecdsa.PrivateKey
}

var _ Identity = (*P256Identity)(nil)

// p256Prefix is the DER head of an uncompressed public key on P-256 (RFC 5480).
const p256Prefix = "\x30\x59\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07\x03\x42\x00"

// NewP256Identity makes an identity with a new key.
func NewP256Identity() (*P256Identity, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("generate identity: %w", err)
	}
	return newP256Identity(key)
}

func newP256Identity(key *ecdsa.PrivateKey) (*P256Identity, error) {
	point, err := key.PublicKey.Bytes()
	if err != nil || len(point) != 65 {
		return nil, errors.New("not a key on P-256")
	}
	return &P256Identity{newOwner(append([]byte(p256Prefix), point...)), key}, nil
}

// Sign returns r and s, 32 bytes each.
func (id *P256Identity) Sign(message []byte) ([]byte, error) {
	sum := sha256.Sum256(message)
	der, err := ecdsa.SignASN1(rand.Reader, id.key, sum[:])
	if err != nil {
		return nil, fmt.Errorf("sign: %w", err)
	}
	sig, err := parseECDSA(der)
	if err != nil {
		return nil, err
	}
	raw := make([]byte, 64)
	sig.R.FillBytes(raw[:32])
	sig.S.FillBytes(raw[32:])
	return raw, nil
}

func parseECDSA(der []byte) (sig ecdsaSignature, err error) {
	rest, err := asn1.Unmarshal(der, &sig)
	if err != nil || len(rest) != 0 {
		return sig, errors.New("not a DER-encoded ECDSA signature")
	}
	return sig, nil
}

// DelegatedIdentity signs with a session key in the name of another key's owner.
type DelegatedIdentity struct {
	Identity                         // signs
	chain        []candid.Delegation // from the owner's key to the session's
	ownerDER     []byte
	ownerOfChain candid.Principal
}

var _ Identity = (*DelegatedIdentity)(nil)

// NewDelegatedIdentity returns an identity that signs with session. The chain
// leads from the owner's public key to the session's; it is not verified here.
func NewDelegatedIdentity(ownerKeyDER []byte, chain []candid.Delegation, session Identity) *DelegatedIdentity {
	return &DelegatedIdentity{session, chain, ownerKeyDER, candid.SelfAuthenticating(ownerKeyDER)}
}

// Principal returns the owner's principal.
func (id *DelegatedIdentity) Principal() candid.Principal { return id.ownerOfChain }

// PublicKeyDER returns the owner's key.
func (id *DelegatedIdentity) PublicKeyDER() []byte { return id.ownerDER }

// Delegations returns the chain.
func (id *DelegatedIdentity) Delegations() []candid.Delegation { return id.chain }

// Delegate signs a delegation from one identity to the holder of a public key.
// expiration is in nanoseconds since 1970; no targets means any canister.
func Delegate(from Identity, toKeyDER []byte, expiration uint64, targets ...candid.Principal) (candid.Delegation, error) {
	d := candid.Delegation{Pubkey: toKeyDER, Expiration: expiration, Targets: targets}
	hash := d.Hash()
	sig, err := from.Sign(append([]byte(sepDelegation), hash[:]...))
	if err != nil {
		return d, fmt.Errorf("delegate: %w", err)
	}
	d.Signature = sig
	return d, nil
}
