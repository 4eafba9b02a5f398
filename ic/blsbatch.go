package ic

import (
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"math/big"
	"sync"

	bls "github.com/consensys/gnark-crypto/ecc/bls12-381"
)

// A blsQuestion is whether a signature is right.
type blsQuestion struct {
	key                *blsPublicKey
	message, signature []byte
	err                error

	sig, hash bls.G1Affine // of the signature and the message
}

// verifyBatch sets the errors of a batch.
func verifyBatch(batch []*blsQuestion) {
	readable := make([]*blsQuestion, 0, len(batch))
	for _, question := range batch {
		if question.err = question.read(); question.err == nil {
			readable = append(readable, question)
		}
	}
	findWrong(readable)
}

// findWrong sets the errors of questions whose points are read: it halves a
// batch that does not hold until the wrong ones are alone.
func findWrong(batch []*blsQuestion) {
	switch ok, err := holds(batch); {
	case ok:
	case len(batch) == 1:
		if batch[0].err = errBLSSignature; err != nil {
			batch[0].err = fmt.Errorf("BLS signature: %w", err)
		}
	default:
		half := len(batch) / 2
		findWrong(batch[:half])
		findWrong(batch[half:])
	}
}

// read reads the signature, with the check of its subgroup, and hashes the message.
func (question *blsQuestion) read() (err error) {
	question.sig, question.hash, err = blsPoints(question.message, question.signature)
	return err
}

// holds reports whether all signatures of a batch are right. One is if
// e(signature, -g2) * e(hash, key) is one. For many, the product of all these,
// each raised to a random number that nobody knows before, is taken instead; the
// signatures add up to one pairing, and the hashes to one for each key.
func holds(batch []*blsQuestion) (bool, error) {
	if len(batch) == 0 {
		return true, nil
	}
	var signatures bls.G1Jac
	keys := make([]*blsPublicKey, 0, 1)
	hashes := make(map[*blsPublicKey]*bls.G1Jac, 1)
	for _, question := range batch {
		var sig, hash bls.G1Jac
		sig.FromAffine(&question.sig)
		hash.FromAffine(&question.hash)
		if len(batch) > 1 {
			factor, err := randomFactor()
			if err != nil {
				return false, err
			}
			sig.ScalarMultiplication(&sig, factor)
			hash.ScalarMultiplication(&hash, factor)
		}
		signatures.AddAssign(&sig)
		if sum := hashes[question.key]; sum != nil {
			sum.AddAssign(&hash)
			continue
		}
		hashes[question.key] = &hash
		keys = append(keys, question.key)
	}
	points := []bls.G1Affine{*new(bls.G1Affine).FromJacobian(&signatures)}
	scratch := linesPool.Get().(*[]pairingLines) //nolint:forcetypeassert // nothing else is put in
	defer linesPool.Put(scratch)
	lines := append((*scratch)[:0], *negatedGenerator())
	for _, key := range keys {
		points = append(points, *new(bls.G1Affine).FromJacobian(hashes[key]))
		lines = append(lines, key.lines)
	}
	*scratch = lines
	return bls.PairingCheckFixedQ(points, lines)
}

// linesPool has memory for lines: the check of a pairing changes them, and two
// take 96 KB.
var linesPool = sync.Pool{New: func() any { return new([]pairingLines) }}

// randomFactor has 64 bits, as those of Ethereum's clients have: wrong signatures
// cancel each other out once in 2^64 attempts, and each attempt costs an answer of
// the network that its sender is refused for.
func randomFactor() (*big.Int, error) {
	var raw [8]byte
	for {
		if _, err := rand.Read(raw[:]); err != nil {
			return nil, err
		}
		if n := binary.LittleEndian.Uint64(raw[:]); n != 0 {
			return new(big.Int).SetUint64(n), nil
		}
	}
}
