package ic

import (
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"sync"

	bls "github.com/consensys/gnark-crypto/ecc/bls12-381"
)

// A blsQuestion is whether a signature is right.
type blsQuestion struct {
	key                *blsPublicKey
	message, signature []byte
	err                error

	sig, hash bls.G1Affine // of the signature, and of the message but for clearing the cofactor
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
	keys := make([]*blsPublicKey, 0, 1)
	hashes := make(map[*blsPublicKey]*factored, 1)
	var signatures factored
	for _, question := range batch {
		factor := uint64(1)
		if len(batch) > 1 {
			var err error
			if factor, err = randomFactor(); err != nil {
				return false, err
			}
		}
		signatures.add(&question.sig, factor)
		of := hashes[question.key]
		if of == nil {
			of = new(factored)
			hashes[question.key] = of
			keys = append(keys, question.key)
		}
		of.add(&question.hash, factor)
	}
	sums := []bls.G1Jac{signatures.sum()}
	scratch := linesPool.Get().(*[]pairingLines) //nolint:forcetypeassert // nothing else is put in
	defer linesPool.Put(scratch)
	lines := append((*scratch)[:0], *negatedGenerator())
	for _, key := range keys {
		hash := hashes[key].sum()
		sums = append(sums, *hash.ClearCofactor(&hash))
		lines = append(lines, key.lines)
	}
	*scratch = lines
	return bls.PairingCheckFixedQ(bls.BatchJacobianToAffineG1(sums), lines)
}

// linesPool has memory for lines: the check of a pairing changes them, and two
// take 96 KB.
var linesPool = sync.Pool{New: func() any { return new([]pairingLines) }}

// randomFactor has 64 bits, as those of Ethereum's clients have: wrong signatures
// cancel each other out once in 2^64 attempts, and each attempt costs an answer of
// the network that its sender is refused for.
func randomFactor() (uint64, error) {
	var raw [8]byte
	for {
		if _, err := rand.Read(raw[:]); err != nil {
			return 0, err
		}
		if n := binary.LittleEndian.Uint64(raw[:]); n != 0 {
			return n, nil
		}
	}
}

// factored are points that are multiplied and added up.
type factored struct {
	points  []*bls.G1Affine
	factors []uint64
}

func (f *factored) add(point *bls.G1Affine, factor uint64) {
	f.points = append(f.points, point)
	f.factors = append(f.factors, factor)
}

// sum goes through the factors bit by bit, so that all points share the doubling
// (Straus). Its time tells about factors that nobody needs any more.
func (f *factored) sum() (sum bls.G1Jac) {
	for bit := 63; bit >= 0; bit-- {
		sum.DoubleAssign()
		for i, point := range f.points {
			if f.factors[i]>>bit&1 != 0 {
				sum.AddMixed(point)
			}
		}
	}
	return sum
}
