// Package testalloc measures what code allocates, for tests that hold decoders of
// foreign bytes to a bound.
package testalloc

import (
	"runtime/metrics"
	"testing"
)

// slack is what the runtime counts late, and what other goroutines of a test
// allocate meanwhile.
const slack = 1 << 20

// Within fails the test if f allocates more heap than limit bytes, and some slack.
func Within(t testing.TB, what string, limit int, f func()) {
	t.Helper()
	before := allocated()
	f()
	if used := allocated() - before; used > uint64(limit)+slack { //nolint:gosec // limits are not negative
		t.Errorf("%s allocates %d bytes, at most %d are allowed", what, used, limit)
	}
}

// allocated is the heap that was ever allocated.
func allocated() uint64 {
	samples := [1]metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(samples[:])
	return samples[0].Value.Uint64()
}
