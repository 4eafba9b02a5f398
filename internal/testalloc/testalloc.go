// Package testalloc measures what code allocates, for tests that hold decoders of
// foreign bytes to a bound.
package testalloc

import (
	"runtime"
	"runtime/metrics"
	"testing"
)

// slack is for what other goroutines of a test allocate meanwhile.
const slack = 1 << 20

// Within fails the test if f allocates more heap than limit bytes, and some
// slack. It calls f once, or a second time to measure it again: the cheap
// measurement counts some of what was allocated before.
func Within(t testing.TB, what string, limit int, f func()) {
	t.Helper()
	bound := uint64(limit) + slack //nolint:gosec // limits are not negative
	before := roughly()
	f()
	if roughly()-before <= bound {
		return
	}
	exact := exactly()
	f()
	if used := exactly() - exact; used > bound {
		t.Errorf("%s allocates %d bytes, at most %d are allowed", what, used, limit)
	}
}

// roughly is the heap that was ever allocated, without what the runtime has not
// counted yet.
func roughly() uint64 {
	samples := [1]metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(samples[:])
	return samples[0].Value.Uint64()
}

// exactly is the same, for which everything stops.
func exactly() uint64 {
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return stats.TotalAlloc
}
