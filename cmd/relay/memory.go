package main

import (
	"os"
	"runtime/debug"
)

// collectSooner has garbage collected when it is three quarters of what lives,
// instead of as much. Most of what a gateway holds are clients that wait, so that
// memory, and not CPU, says how many it can have. GOGC, if it is set, has the
// last word.
func collectSooner() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(75)
	}
}
