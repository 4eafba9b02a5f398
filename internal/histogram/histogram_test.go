package histogram

import (
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"
)

// TestBuckets: buckets follow each other without a gap, and none is wider than
// 1/64 of what is in it.
func TestBuckets(t *testing.T) {
	for bucket := range bucketCount - 1 {
		last := highest(bucket)
		if bucketOf(last) != bucket || bucketOf(last+1) != bucket+1 {
			t.Fatalf("bucket %d ends at %d, which is in %d, and its successor in %d", bucket, last, bucketOf(last), bucketOf(last+1))
		}
		if bucket == 0 {
			continue
		}
		if first := highest(bucket-1) + 1; last-first > first/64 {
			t.Fatalf("bucket %d from %d to %d is too wide", bucket, first, last)
		}
	}
	for name, d := range map[string]time.Duration{"negative": -5, "zero": 0} {
		if got := bucketOf(d); got != 0 {
			t.Errorf("%s: bucket %d", name, got)
		}
	}
	for name, d := range map[string]time.Duration{"two hours": 2 * time.Hour, "the longest": math.MaxInt64} {
		if got := bucketOf(d); got != bucketCount-1 {
			t.Errorf("%s: bucket %d", name, got)
		}
	}
}

func TestQuantiles(t *testing.T) {
	var empty Histogram
	if empty.Quantile(.5) != 0 || empty.Max() != 0 || empty.Count() != 0 {
		t.Error("an empty histogram has values")
	}
	values := make([]time.Duration, 20_000)
	random := rand.New(rand.NewPCG(1, 2))
	for i := range values {
		values[i] = time.Duration(math.Exp(random.Float64()*20) * 50) // 50 ns to 24 s
	}
	var h Histogram
	var group sync.WaitGroup
	for part := range slices.Chunk(values, 5000) {
		group.Go(func() {
			for _, v := range part {
				h.Add(v)
			}
		})
	}
	group.Wait()
	slices.Sort(values)
	for _, share := range []float64{0, .1, .5, .9, .99, .999} {
		exact := values[max(0, int(math.Ceil(share*float64(len(values))))-1)]
		if got := h.Quantile(share); got < exact || got-exact > exact/64+1 {
			t.Errorf("%g: %s, exactly %s", share, got, exact)
		}
	}
	if longest := values[len(values)-1]; h.Max() != longest || h.Quantile(1) != longest || h.Count() != uint64(len(values)) {
		t.Errorf("max %s and %s, want %s; %d values", h.Max(), h.Quantile(1), longest, h.Count())
	}
}

// TestQuantileIsTheNearestRank: few values show where a rank is one off.
func TestQuantileIsTheNearestRank(t *testing.T) {
	for name, test := range map[string]struct {
		values int // 1 ns, 2 ns, and so on: each has a bucket of its own
		share  float64
		want   time.Duration
	}{
		"the only one":         {1, .5, 1},
		"half of two":          {2, .5, 1},
		"p99 of 100":           {100, .99, 99},
		"p90 of 10":            {10, .9, 9},
		"between two":          {10, .91, 10},
		"none of them":         {10, 0, 1},
		"all of them":          {10, 1, 10},
		"not exactly a number": {100, .07, 7},
	} {
		t.Run(name, func(t *testing.T) {
			var h Histogram
			for i := range test.values {
				h.Add(time.Duration(i + 1))
			}
			if got := h.Quantile(test.share); got != test.want {
				t.Errorf("got %d, want %d", got, test.want)
			}
		})
	}
}
