package ic

import (
	"crypto/sha256"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// TestBLSQueue: whoever asks gets the answer to its own question, and what many
// ask at the same time is answered once.
func TestBLSQueue(t *testing.T) {
	const signatures, askers = 40, 5
	questions := blsQuestions(t, signatures, 2)
	for i := 3; i < signatures; i += 10 {
		questions[i].message = []byte("another")
	}
	questions[5].signature = make([]byte, 48) // no point of the curve
	var q blsQueue
	var wrong atomic.Int32
	var group sync.WaitGroup
	for range askers {
		for i, question := range questions {
			group.Go(func() {
				err := q.verify(sha256.Sum256(append(question.message, question.signature...)), question.key, question.message, question.signature, i%3 == 0)
				if wrong := i%10 == 3; errors.Is(err, errBLSSignature) != wrong || err != nil != (wrong || i == 5) {
					t.Errorf("signature %d: %v", i, err)
				}
				if err != nil {
					wrong.Add(1)
				}
			})
		}
	}
	group.Wait()
	if got := wrong.Load(); got != askers*(1+signatures/10) {
		t.Errorf("%d wrong", got)
	}
	if q.running != 0 || len(q.waiting) != 0 || len(q.known) != 0 {
		t.Errorf("afterwards %d run, %d wait, %d are known", q.running, len(q.waiting), len(q.known))
	}
}

// TestPatience: what is patient waits for gather, or a good batch, or something
// urgent that takes it along.
func TestPatience(t *testing.T) {
	waiter := func(patient bool) *blsWaiter {
		return &blsWaiter{patient: patient, turn: make(chan struct{}, 1), done: make(chan struct{})}
	}
	patients := func(n int) (list []*blsWaiter) {
		for range n {
			list = append(list, waiter(true))
		}
		return list
	}
	for name, test := range map[string]struct {
		ago             time.Duration // since the last batch began
		running, urgent int           // batches
		patients        int
		others          int // urgent ones that wait
		asker           *blsWaiter
		batch           int // that the asker begins, 0 for none
		left            int
	}{
		"patient, long after the last batch": {ago: gather, patients: 3, asker: waiter(true), batch: 4},
		"patient, soon after it":             {ago: 0, patients: 3, asker: waiter(true), batch: 0, left: 4},
		"patient, with many others":          {ago: 0, patients: goodBatch - 1, asker: waiter(true), batch: goodBatch},
		"patient, with too many":             {ago: 0, patients: maxBatch + 5, asker: waiter(true), batch: maxBatch, left: 6},
		"patient, and no core":               {ago: gather, running: maxBatches(), patients: 3, asker: waiter(true), batch: 0, left: 4},
		"urgent":                             {ago: 0, patients: 3, asker: waiter(false), batch: 4},
		"urgent, with many patient ones":     {ago: 0, patients: companions + 2, asker: waiter(false), batch: companions + 1, left: 2},
		"urgent, with others":                {ago: 0, patients: companions + 2, others: 5, asker: waiter(false), batch: companions + 6, left: 2},
		"urgent, while patient ones are run": {ago: 0, running: maxBatches(), asker: waiter(false), batch: 1},
		"urgent, and no core":                {ago: gather, running: maxBatches(), urgent: maxBatches(), asker: waiter(false), batch: 0, left: 1},
	} {
		t.Run(name, func(t *testing.T) {
			q := blsQueue{running: test.running, urgent: test.urgent, began: time.Now().Add(-test.ago)}
			if test.ago == 0 {
				q.began = q.began.Add(time.Hour) // however long this takes
			}
			q.waiting = append(patients(test.patients), test.asker)
			for range test.others {
				q.waiting = append(q.waiting, waiter(false))
			}
			batch := q.begin(test.asker)
			if (batch != nil) != (test.batch > 0) || batch != nil && len(batch.waiters) != test.batch {
				t.Fatalf("begins %+v, want %d", batch, test.batch)
			}
			if len(q.waiting) != test.left {
				t.Errorf("%d are left, want %d", len(q.waiting), test.left)
			}
			if batch == nil {
				return
			}
			if again := q.begin(test.asker); again != nil {
				t.Error("it begins again")
			}
			q.end(batch)
			if q.running != test.running || q.urgent != test.urgent {
				t.Errorf("%d run, %d urgent", q.running, q.urgent)
			}
		})
	}
}

// TestBecomesUrgent: a patient question that somebody else asks urgently is
// answered at once, to both.
func TestBecomesUrgent(t *testing.T) {
	question := blsQuestions(t, 1, 1)[0]
	id := sha256.Sum256(question.message)
	q := blsQueue{began: time.Now().Add(time.Hour)}
	answered := make(chan error, 2)
	ask := func(patient bool) {
		answered <- q.verify(id, question.key, question.message, question.signature, patient)
	}
	go ask(true)
	for waits := false; !waits; {
		q.mu.Lock()
		waits = len(q.waiting) == 1
		q.mu.Unlock()
	}
	select {
	case err := <-answered:
		t.Fatal("it was not patient", err)
	case <-time.After(3 * gather):
	}
	go ask(false)
	for range 2 {
		select {
		case err := <-answered:
			noError(t, err)
		case <-time.After(time.Minute):
			t.Fatal("no answer")
		}
	}
}
