package main

import (
	"math"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
)

// A collection says how much garbage may wait before it is collected. GOGC, if it
// is set, has the last word.
type collection struct {
	share  uint64 // in percent of what lives
	anyway uint64 // bytes, however little lives: else many messages of few clients would mean collecting all the time
}

var (
	// ofGateway: most of what a gateway holds are clients that wait, so that
	// memory, and not CPU, says how many it can have.
	ofGateway = collection{share: 75, anyway: 32 << 20}
	// ofNetwork: it remembers hundreds of thousands of calls, and while it looks through
	// them answers wait. A machine that somebody tries things on has memory.
	ofNetwork = collection{share: 200, anyway: 128 << 20}
	// ofGenerator: it should take as little as possible of the CPU that it shares
	// with what it measures.
	ofGenerator = collection{share: 200, anyway: 256 << 20}
)

// collect is in force from now on.
func collect(c collection) {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(int(c.share)) //nolint:gosec // small
		c.adjust(c.share)
	}
}

// adjust comes back after the next collection, which finds its sentinel.
func (c collection) adjust(percent uint64) {
	sample := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(sample)
	if live := sample[0].Value.Uint64(); live > 0 {
		if wanted := max(c.share, 100*c.anyway/live); wanted != percent {
			percent = wanted
			debug.SetGCPercent(int(min(percent, math.MaxInt32))) //nolint:gosec // it is
		}
	}
	runtime.AddCleanup(new(sentinel), c.adjust, percent)
}

// A sentinel dies at once. It is no tiny object, which would share its memory
// with others.
type sentinel [32]byte
