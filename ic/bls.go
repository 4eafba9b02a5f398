package ic

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"math/big"
	"sync"

	bls "github.com/consensys/gnark-crypto/ecc/bls12-381"
	"github.com/consensys/gnark-crypto/ecc/bls12-381/fp"
	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"
	"github.com/consensys/gnark-crypto/ecc/bls12-381/hash_to_curve"
)

// blsSuite is the ciphersuite's hash-to-curve tag (interface specification,
// "Certificate"): signatures in G1, public keys in G2.
const blsSuite = "BLS_SIG_BLS12381G1_XMD:SHA-256_SSWU_RO_NUL_"

// blsKeyPrefix is the DER head of a BLS public key: SubjectPublicKeyInfo with
// algorithm 1.3.6.1.4.1.44668.5.3.1.2.1 on curve 1.3.6.1.4.1.44668.5.3.2.1.
// As the lengths in it are fixed, a key is this prefix and 96 bytes.
const blsKeyPrefix = "\x30\x81\x82\x30\x1d\x06\x0d\x2b\x06\x01\x04\x01\x82\xdc\x7c\x05\x03\x01\x02\x01" +
	"\x06\x0c\x2b\x06\x01\x04\x01\x82\xdc\x7c\x05\x03\x02\x01\x03\x61\x00"

// Sizes of the compressed points.
const (
	blsKeyLength       = 96
	blsSignatureLength = 48
)

// pairingLines are the precomputed lines of the Miller loop for one point of G2.
type pairingLines = [2][len(bls.LoopCounter) - 1]bls.LineEvaluationAff

var negatedGenerator = sync.OnceValue(func() *pairingLines {
	_, _, _, g2 := bls.Generators()
	g2.Neg(&g2)
	lines := bls.PrecomputeLines(g2)
	return &lines
})

// blsPublicKey verifies signatures of one key. Its lines take 48 KB.
type blsPublicKey struct {
	lines pairingLines
}

// parseBLSKey reads a DER-encoded public key and checks that it lies in the right group.
func parseBLSKey(der []byte) (*blsPublicKey, error) {
	if len(der) != len(blsKeyPrefix)+blsKeyLength || !bytes.HasPrefix(der, []byte(blsKeyPrefix)) {
		return nil, errors.New("not a DER-encoded BLS12-381 public key")
	}
	var point bls.G2Affine
	if _, err := point.SetBytes(der[len(blsKeyPrefix):]); err != nil {
		return nil, fmt.Errorf("BLS public key: %w", err)
	}
	if point.IsInfinity() {
		return nil, errors.New("BLS public key: point at infinity")
	}
	return &blsPublicKey{lines: bls.PrecomputeLines(point)}, nil
}

var errBLSSignature = errors.New("BLS signature does not match")

// blsPoints reads a signature, which must lie in the right group, and hashes its
// message to a point of the curve.
func blsPoints(message, signature []byte) (sig, hash bls.G1Affine, err error) {
	if len(signature) != blsSignatureLength {
		return sig, hash, fmt.Errorf("BLS signature of %d bytes", len(signature))
	}
	if _, err := sig.SetBytes(signature); err != nil { // includes the subgroup check
		return sig, hash, fmt.Errorf("BLS signature: %w", err)
	}
	if hash, err = hashToCurve(message); err != nil {
		return sig, hash, fmt.Errorf("BLS signature: %w", err)
	}
	return sig, hash, nil
}

// hashToCurve is bls.HashToG1 without its last step (RFC 9380, section 3,
// "clear_cofactor"), which multiplies the point by a constant. Sums of points can
// be multiplied by it just as well, once for all of a batch.
func hashToCurve(message []byte) (point bls.G1Affine, err error) {
	u, err := fp.Hash(message, []byte(blsSuite), 2)
	if err != nil {
		return point, err
	}
	var sum bls.G1Jac
	for i := range u {
		mapped := bls.MapToCurve1(&u[i])
		hash_to_curve.G1Isogeny(&mapped.X, &mapped.Y)
		sum.AddMixed(&mapped)
	}
	point.FromJacobian(&sum)
	return point, nil
}

// BLSKey signs certificates. It is for development networks: operations on the
// secret are not of constant time.
type BLSKey struct {
	secret *big.Int
	der    []byte
}

// GenerateBLSKey makes a new key.
func GenerateBLSKey() (*BLSKey, error) {
	secret, err := rand.Int(rand.Reader, new(big.Int).Sub(fr.Modulus(), big.NewInt(1)))
	if err != nil {
		return nil, fmt.Errorf("generate BLS key: %w", err)
	}
	return newBLSKey(secret.Add(secret, big.NewInt(1))), nil
}

// BLSKeyFromSeed derives a key from a seed, for networks and tests that want the
// same key each time.
func BLSKeyFromSeed(seed []byte) (*BLSKey, error) {
	scalars, err := fr.Hash(seed, []byte("icrelay development BLS key"), 1)
	if err != nil {
		return nil, fmt.Errorf("derive BLS key: %w", err)
	}
	secret := new(big.Int)
	scalars[0].BigInt(secret)
	if secret.Sign() == 0 {
		return nil, errors.New("derive BLS key: zero")
	}
	return newBLSKey(secret), nil
}

func newBLSKey(secret *big.Int) *BLSKey {
	var point bls.G2Affine
	point.ScalarMultiplicationBase(secret)
	raw := point.Bytes()
	return &BLSKey{secret: secret, der: append([]byte(blsKeyPrefix), raw[:]...)}
}

// PublicKeyDER returns the DER-encoded public key.
func (k *BLSKey) PublicKeyDER() []byte { return bytes.Clone(k.der) }

// Sign returns the compressed signature of a message, which carries its domain separator.
func (k *BLSKey) Sign(message []byte) ([]byte, error) {
	point, err := bls.HashToG1(message, []byte(blsSuite))
	if err != nil {
		return nil, fmt.Errorf("BLS sign: %w", err)
	}
	point.ScalarMultiplication(&point, k.secret)
	raw := point.Bytes()
	return raw[:], nil
}

// SignTree signs a state tree as a subnet does.
func (k *BLSKey) SignTree(tree *HashTree) ([]byte, error) {
	return k.Sign(stateRootMessage(tree))
}
