package ic

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/sha256"
	"encoding/asn1"
	"errors"
	"fmt"
	"math/big"
	"strings"

	"github.com/decred/dcrd/dcrec/secp256k1/v4"
	secpecdsa "github.com/decred/dcrd/dcrec/secp256k1/v4/ecdsa"
	voi "github.com/oasisprotocol/curve25519-voi/primitives/ed25519"
)

// ErrSignature reports a signature that does not match its key and message.
var ErrSignature = errors.New("signature does not match")

// publicKey verifies signatures of one scheme.
type publicKey interface {
	verify(message, signature []byte) error
}

type ecdsaSignature struct{ R, S *big.Int }

// parsePublicKey reads a DER-encoded public key of any scheme of the interface
// specification ("Signatures"). The common schemes have keys of fixed length and
// thus a fixed DER head, which leaves nothing to parse.
func parsePublicKey(der []byte, v *Verifier) (publicKey, error) {
	switch {
	case len(der) == len(ed25519Prefix)+ed25519.PublicKeySize && strings.HasPrefix(string(der), ed25519Prefix):
		return ed25519Key(der[len(ed25519Prefix):]), nil
	case len(der) == len(secp256k1Prefix)+65 && strings.HasPrefix(string(der), secp256k1Prefix):
		point := der[len(secp256k1Prefix):]
		key, err := secp256k1.ParsePubKey(point)
		if err != nil || point[0] != 4 {
			return nil, errors.New("public key: not an uncompressed point on secp256k1")
		}
		return (*secp256k1Key)(key), nil
	case len(der) == len(p256Prefix)+65 && strings.HasPrefix(string(der), p256Prefix):
		return parseP256(der[len(p256Prefix):])
	}
	return parseWrappedKey(der, v)
}

func parseP256(point []byte) (publicKey, error) {
	key, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), point)
	if err != nil {
		return nil, errors.New("public key: not an uncompressed point on P-256")
	}
	return (*p256Key)(key), nil
}

// Object identifiers of keys whose content is of no fixed length.
var (
	oidCOSE     = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 56387, 1, 1}
	oidCanister = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 56387, 1, 2}
)

// subjectPublicKeyInfo is that of RFC 5280, section 4.1.
type subjectPublicKeyInfo struct {
	Algorithm struct {
		OID    asn1.ObjectIdentifier
		Params asn1.RawValue `asn1:"optional"`
	}
	Key asn1.BitString
}

func parseWrappedKey(der []byte, v *Verifier) (publicKey, error) {
	var info subjectPublicKeyInfo
	rest, err := asn1.Unmarshal(der, &info)
	if err != nil || len(rest) != 0 || info.Key.BitLength%8 != 0 {
		return nil, errors.New("public key: not a DER-encoded SubjectPublicKeyInfo")
	}
	switch {
	case info.Algorithm.OID.Equal(oidCOSE):
		return parseCOSE(info.Key.Bytes)
	case info.Algorithm.OID.Equal(oidCanister):
		return parseCanisterKey(info.Key.Bytes, v)
	}
	return nil, fmt.Errorf("public key: scheme %s is not supported", info.Algorithm.OID)
}

type ed25519Key []byte

// zip215 has signatures judged as replicas judge them. What the standard library
// accepts is a part of that.
var zip215 = &voi.Options{Verify: voi.VerifyOptionsZIP_215}

func (k ed25519Key) verify(message, signature []byte) error {
	if !voi.VerifyWithOptions(voi.PublicKey(k), message, signature, zip215) {
		return ErrSignature
	}
	return nil
}

type secp256k1Key secp256k1.PublicKey

func (k *secp256k1Key) verify(message, signature []byte) error {
	if len(signature) != 64 {
		return fmt.Errorf("%w: %d bytes instead of 64", ErrSignature, len(signature))
	}
	var r, s secp256k1.ModNScalar
	if r.SetByteSlice(signature[:32]) || s.SetByteSlice(signature[32:]) || r.IsZero() || s.IsZero() {
		return ErrSignature
	}
	sum := sha256.Sum256(message)
	if !secpecdsa.NewSignature(&r, &s).Verify(sum[:], (*secp256k1.PublicKey)(k)) {
		return ErrSignature
	}
	return nil
}

type p256Key ecdsa.PublicKey

func (k *p256Key) verify(message, signature []byte) error {
	if len(signature) != 64 {
		return fmt.Errorf("%w: %d bytes instead of 64", ErrSignature, len(signature))
	}
	return k.verifyRS(message, new(big.Int).SetBytes(signature[:32]), new(big.Int).SetBytes(signature[32:]))
}

func (k *p256Key) verifyRS(message []byte, r, s *big.Int) error {
	sum := sha256.Sum256(message)
	if !ecdsa.Verify((*ecdsa.PublicKey)(k), sum[:], r, s) {
		return ErrSignature
	}
	return nil
}
