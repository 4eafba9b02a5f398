package ic

import (
	"crypto/rand"
	"fmt"
	"math/big"
	"runtime"
	"sync"

	bls "github.com/consensys/gnark-crypto/ecc/bls12-381"
)

// A blsQueue verifies signatures in batches. While one batch is verified, what
// comes meanwhile gathers for the next: alone a signature takes a millisecond, of
// a batch of one key a third of that. Nobody waits for a batch to fill up, and
// whoever asks about a signature that is being verified shares the result.
//
// It has no goroutines: those who ask do the work, one of each batch.
type blsQueue struct {
	mu      sync.Mutex
	known   map[[32]byte]*blsQuestion // waiting, or being verified
	waiting []*blsQuestion
	running int // batches that are being verified
}

// A blsQuestion is whether a signature is right.
type blsQuestion struct {
	id                 [32]byte // of key, message and signature
	key                *blsPublicKey
	message, signature []byte

	turn chan struct{} // holds a token when whoever asked, and waits no more, has to verify the next batch
	done chan struct{} // closed when err is set
	err  error

	sig, hash bls.G1Affine // of the signature and the message
}

// maxBatch bounds how long those in a batch wait for each other.
const maxBatch = 64

// maxBatches is how many batches are verified at once. Fewer and larger ones
// take less CPU, and half of the cores are left for everything else.
func maxBatches() int { return max(1, runtime.GOMAXPROCS(0)/2) }

// verify checks a signature. id must be that of key, message and signature.
func (q *blsQueue) verify(id [32]byte, key *blsPublicKey, message, signature []byte) error {
	q.mu.Lock()
	if other := q.known[id]; other != nil {
		q.mu.Unlock()
		<-other.done
		return other.err
	}
	own := &blsQuestion{id: id, key: key, message: message, signature: signature, turn: make(chan struct{}, 1), done: make(chan struct{})}
	if q.known == nil {
		q.known = make(map[[32]byte]*blsQuestion)
	}
	q.known[id] = own
	q.mu.Unlock()

	err := own.read() // a quarter of the work, which those who ask do at the same time
	q.mu.Lock()
	if err != nil {
		own.err = err
		q.answer(own)
		q.mu.Unlock()
		return err
	}
	if q.running < maxBatches() {
		q.running++
		q.mu.Unlock()
		q.lead(own)
		return own.err
	}
	q.waiting = append(q.waiting, own)
	q.mu.Unlock()

	select { // one or the other: who gets a turn waits no more, so that nobody else answers
	case <-own.done:
	case <-own.turn:
		q.lead(own)
	}
	return own.err
}

// lead verifies a batch of one's own question and those that wait, and gives the
// turn to somebody who waits by then.
func (q *blsQueue) lead(own *blsQuestion) {
	q.mu.Lock()
	others := q.waiting[:min(len(q.waiting), maxBatch-1)]
	q.waiting = q.waiting[len(others):]
	q.mu.Unlock()

	batch := append([]*blsQuestion{own}, others...)
	findWrong(batch)

	q.mu.Lock()
	defer q.mu.Unlock()
	for _, question := range batch {
		q.answer(question)
	}
	if len(q.waiting) == 0 {
		q.waiting = nil
		q.running--
		return
	}
	next := q.waiting[0]
	q.waiting = q.waiting[1:]
	next.turn <- struct{}{}
}

// answer tells everybody who asked. It must be called with mu held.
func (q *blsQueue) answer(question *blsQuestion) {
	delete(q.known, question.id)
	close(question.done)
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

// randomFactor has 128 bits: the chance that wrong signatures cancel out.
func randomFactor() (*big.Int, error) {
	var raw [16]byte
	if _, err := rand.Read(raw[:]); err != nil {
		return nil, err
	}
	return new(big.Int).SetBytes(raw[:]), nil
}
