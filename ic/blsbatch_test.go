package ic

import (
	"fmt"
	"runtime"
	"testing"
)

// blsQuestions are signatures of several keys, all right.
func blsQuestions(t testing.TB, n, keys int) []*blsQuestion {
	t.Helper()
	questions := make([]*blsQuestion, n)
	pairs := make([]*BLSKey, keys)
	public := make([]*blsPublicKey, keys)
	for i := range pairs {
		pairs[i] = must(BLSKeyFromSeed([]byte{byte(i)}))(t)
		public[i] = must(parseBLSKey(pairs[i].PublicKeyDER()))(t)
	}
	for i := range questions {
		message := fmt.Appendf(nil, "message %d", i)
		questions[i] = &blsQuestion{
			key:       public[i%keys],
			message:   message,
			signature: must(pairs[i%keys].Sign(message))(t),
		}
	}
	return questions
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

// verify checks a signature alone.
func (k *blsPublicKey) verify(message, signature []byte) error {
	question := &blsQuestion{key: k, message: message, signature: signature}
	verifyBatch([]*blsQuestion{question})
	return question.err
}

func TestVerifyBatch(t *testing.T) {
	const n = 9
	swap := func(q []*blsQuestion, i, j int) { q[i].signature, q[j].signature = q[j].signature, q[i].signature }
	for name, test := range map[string]struct {
		keys   int
		damage func(q []*blsQuestion)
		wrong  []int
	}{
		"all right":                        {1, func([]*blsQuestion) {}, nil},
		"of several keys":                  {3, func([]*blsQuestion) {}, nil},
		"one wrong":                        {1, func(q []*blsQuestion) { q[4].message = []byte("another") }, []int{4}},
		"two that add up to the right sum": {1, func(q []*blsQuestion) { swap(q, 2, 7) }, []int{2, 7}},
		"of two keys, swapped":             {2, func(q []*blsQuestion) { swap(q, 0, 1) }, []int{0, 1}},
		"one of another key":               {2, func(q []*blsQuestion) { q[0].key = q[1].key }, []int{0}},
		"one that is no point":             {1, func(q []*blsQuestion) { q[8].signature = make([]byte, 48) }, []int{8}},
		"one too short":                    {1, func(q []*blsQuestion) { q[0].signature = q[0].signature[:47] }, []int{0}},
		"one of infinity":                  {1, func(q []*blsQuestion) { q[3].signature = append([]byte{0xc0}, make([]byte, 47)...) }, []int{3}},
		"all wrong":                        {1, func(q []*blsQuestion) { swap(q, 0, 1); swap(q, 2, 3); swap(q, 4, 5); swap(q, 6, 7); swap(q, 7, 8) }, []int{0, 1, 2, 3, 4, 5, 6, 7, 8}},
	} {
		t.Run(name, func(t *testing.T) {
			questions := blsQuestions(t, n, test.keys)
			test.damage(questions)
			verifyBatch(questions)
			wrong := make(map[int]bool)
			for _, i := range test.wrong {
				wrong[i] = true
			}
			for i, q := range questions {
				if (q.err != nil) != wrong[i] {
					t.Errorf("signature %d: %v, wrong: %t", i, q.err, wrong[i])
				}
				if alone := q.key.verify(q.message, q.signature); (alone != nil) != wrong[i] {
					t.Errorf("signature %d alone: %v, wrong: %t", i, alone, wrong[i])
				}
			}
		})
	}
	verifyBatch(nil)
}

// BenchmarkVerifyBatch: CPU for a signature, by the size of its batch.
func BenchmarkVerifyBatch(b *testing.B) {
	for _, n := range []int{1, 2, 4, 8, 16, 64} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			questions := blsQuestions(b, n, 1)
			runtime.GC()
			for b.Loop() {
				verifyBatch(questions)
			}
			b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N*n), "µs/signature")
		})
	}
}
