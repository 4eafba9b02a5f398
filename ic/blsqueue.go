package ic

import (
	"runtime"
	"slices"
	"sync"
	"time"
)

// A blsQueue verifies signatures in batches. While one batch is verified, what
// comes meanwhile gathers for the next: alone a signature takes a millisecond, of
// a batch of one key a third of that. Whoever asks about a signature that is being
// verified shares the result.
//
// An urgent question waits for nothing but a core, and not for batches of patient
// ones. Those wait until an urgent one takes them along, until a good batch has
// come together, or for gather.
//
// The queue has no goroutines: those who ask do the work, one of each batch.
type blsQueue struct {
	mu      sync.Mutex
	known   map[[32]byte]*blsWaiter // those below, and those that are being read or verified
	waiting []*blsWaiter
	running int       // batches that are being verified
	urgent  int       // of these, with an urgent question
	began   time.Time // when the last one did
}

// A blsWaiter is somebody with a question. Its err is set when done is closed.
type blsWaiter struct {
	blsQuestion
	id      [32]byte // of key, message and signature
	patient bool     // guarded by the queue's mu

	turn chan struct{} // holds a token when it is time to look whether to verify a batch
	done chan struct{}
}

const (
	// maxBatch bounds how long those in a batch wait for each other.
	maxBatch = 64
	// goodBatch is large enough not to wait for more: the fixed cost of a batch is
	// a tenth of what it takes by then.
	goodBatch = 32
	// companions is how many patient questions an urgent one takes along.
	companions = 8
	// gather is how long a patient question waits at most, after a batch has begun.
	gather = 5 * time.Millisecond
)

// maxBatches is how many batches are verified at once. Fewer and larger ones
// take less CPU, and half of the cores are left for everything else.
func maxBatches() int { return max(1, runtime.GOMAXPROCS(0)/2) }

// verify checks a signature. id must be that of key, message and signature.
func (q *blsQueue) verify(id [32]byte, key *blsPublicKey, message, signature []byte, patient bool) error {
	q.mu.Lock()
	if other := q.known[id]; other != nil {
		if !patient && other.patient {
			other.patient = false
			other.wake()
		}
		q.mu.Unlock()
		<-other.done
		return other.err
	}
	own := &blsWaiter{
		blsQuestion: blsQuestion{key: key, message: message, signature: signature},
		id:          id, patient: patient,
		turn: make(chan struct{}, 1), done: make(chan struct{}),
	}
	if q.known == nil {
		q.known = make(map[[32]byte]*blsWaiter)
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
	q.waiting = append(q.waiting, own)
	q.mu.Unlock()
	q.wait(own)
	return own.err
}

// wait returns when a question is answered, by a batch of its own or of others.
func (q *blsQueue) wait(own *blsWaiter) {
	timer := time.NewTimer(gather)
	defer timer.Stop()
	for {
		if batch := q.begin(own); batch != nil {
			findWrong(batch.questions())
			q.end(batch)
			return
		}
		select {
		case <-own.done:
			return
		case <-own.turn:
		case <-timer.C:
			timer.Reset(gather) // whoever runs now may end before it is time
		}
	}
}

// A blsBatch is what is verified together.
type blsBatch struct {
	waiters []*blsWaiter
	urgent  bool // when it began; a patient question can become urgent later
}

// begin returns a batch of one's own question and others that wait, or nil if
// somebody else has taken it, there is no core for it, or it is not time.
func (q *blsQueue) begin(own *blsWaiter) *blsBatch {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !slices.Contains(q.waiting, own) || !q.isTime(own) {
		return nil
	}
	q.running++
	q.began = time.Now()
	batch := &blsBatch{urgent: !own.patient}
	room := maxBatch // for patient questions
	if batch.urgent {
		q.urgent++
		room = companions
	}
	left := q.waiting[:0]
	for _, w := range q.waiting {
		switch {
		case w == own:
		case len(batch.waiters) >= maxBatch-1, w.patient && room == 0:
			left = append(left, w)
			continue
		case w.patient:
			room--
		}
		batch.waiters = append(batch.waiters, w)
	}
	clear(q.waiting[len(left):])
	q.waiting = left
	return batch
}

func (b *blsBatch) questions() []*blsQuestion {
	questions := make([]*blsQuestion, len(b.waiters))
	for i, w := range b.waiters {
		questions[i] = &w.blsQuestion
	}
	return questions
}

// isTime reports whether w may begin a batch. It must be called with mu held.
func (q *blsQueue) isTime(w *blsWaiter) bool {
	if !w.patient {
		return q.urgent < maxBatches()
	}
	return q.running < maxBatches() && (len(q.waiting) >= goodBatch || time.Since(q.began) >= gather)
}

// end answers a batch, and wakes somebody who may begin the next.
func (q *blsQueue) end(batch *blsBatch) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.running--
	if batch.urgent {
		q.urgent--
	}
	for _, w := range batch.waiters {
		q.answer(w)
	}
	for _, w := range q.waiting {
		if q.isTime(w) {
			w.wake()
			return
		}
	}
}

// answer tells everybody who asked. It must be called with mu held.
func (q *blsQueue) answer(w *blsWaiter) {
	delete(q.known, w.id)
	close(w.done)
}

func (w *blsWaiter) wake() {
	select {
	case w.turn <- struct{}{}:
	default:
	}
}
