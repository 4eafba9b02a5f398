// Package histogram counts durations within fixed memory.
package histogram

import (
	"math"
	"math/bits"
	"sync/atomic"
	"time"
)

// A Histogram counts durations in buckets that grow with the duration: each is
// at most 1/64 of its value wide. It has a fixed size and takes values from any
// number of goroutines. The zero value is empty.
type Histogram struct {
	buckets [bucketCount]atomic.Uint64
	count   atomic.Uint64
	max     atomic.Int64
}

const (
	subBits     = 6  // 64 buckets for each doubling
	topBits     = 42 // the last bucket takes what is longer than 73 minutes
	bucketCount = (topBits - subBits + 1) << subBits
)

// bucketOf finds a duration's bucket.
func bucketOf(d time.Duration) int {
	v := uint64(max(d, 0)) //nolint:gosec // not negative
	if v < 1<<subBits {
		return int(v) //nolint:gosec // small
	}
	shift := bits.Len64(v) - subBits - 1
	return min(shift<<subBits+int(v>>shift), bucketCount-1) //nolint:gosec // at most 2^(subBits+1) after the shift
}

// highest is the longest duration of a bucket.
func highest(bucket int) time.Duration {
	if bucket < 1<<(subBits+1) {
		return time.Duration(bucket)
	}
	shift := bucket>>subBits - 1
	return time.Duration((bucket&(1<<subBits-1)|1<<subBits)+1)<<shift - 1
}

// Add counts a duration.
func (h *Histogram) Add(d time.Duration) {
	h.buckets[bucketOf(d)].Add(1)
	h.count.Add(1)
	for {
		old := h.max.Load()
		if int64(d) <= old || h.max.CompareAndSwap(old, int64(d)) {
			return
		}
	}
}

// Quantile is the least duration that a share of all values does not exceed (the
// nearest rank: of 100 values p99 is the 99th), rounded up to the end of its bucket.
func (h *Histogram) Quantile(share float64) time.Duration {
	const rounding = 1e-9 // 0.07 of 100 is 7.000000000000001
	wanted := uint64(max(1, math.Ceil(share*float64(h.count.Load())-rounding)))
	seen := uint64(0)
	for i := range h.buckets {
		seen += h.buckets[i].Load()
		if seen >= wanted {
			return min(highest(i), time.Duration(h.max.Load()))
		}
	}
	return time.Duration(h.max.Load())
}

// Max is the longest duration, exactly.
func (h *Histogram) Max() time.Duration { return time.Duration(h.max.Load()) }

// Count is how many durations there were.
func (h *Histogram) Count() uint64 { return h.count.Load() }
