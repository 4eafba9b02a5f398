package main

import (
	"runtime/debug"
	"testing"
	"time"
)

// TestCollect: with little alive the share grows until the bytes may wait, and
// with much alive it is the one that was asked for.
func TestCollect(t *testing.T) {
	t.Setenv("GOGC", "")
	before := debug.SetGCPercent(100)
	defer debug.SetGCPercent(before)
	share := func() int {
		percent := debug.SetGCPercent(100)
		debug.SetGCPercent(percent)
		return percent
	}
	t.Setenv("GOGC", "100")
	collect(collection{share: 50, anyway: 1 << 40})
	if got := share(); got != 100 {
		t.Errorf("GOGC is set, and still it is %d", got)
	}
	t.Setenv("GOGC", "")
	debug.FreeOSMemory() // something is known to live
	collect(collection{share: 75, anyway: 1})
	if got := share(); got != 75 {
		t.Errorf("got %d", got)
	}
	collect(collection{share: 75, anyway: 4 << 30})
	for end := time.Now().Add(10 * time.Second); share() <= 75; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("little lives, and still the share is that of much")
		}
	}
}
