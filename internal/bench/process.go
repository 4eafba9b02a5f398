package bench

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

// usage is what a process has used.
type usage struct {
	at  time.Time
	cpu time.Duration // user and system
	rss int64         // bytes
	// when the process started, since the system came up: another one may get its id
	started time.Duration
}

// ticksPerSecond is the unit of times in /proc, which is the same everywhere
// that Go runs on Linux.
const ticksPerSecond = 100

// readUsage reads what a process has used, where /proc tells.
func readUsage(pid int) (usage, error) {
	u := usage{at: time.Now()}
	dir := "/proc/" + strconv.Itoa(pid)
	stat, err := os.ReadFile(dir + "/stat") //nolint:gosec // a number makes the path
	if err != nil {
		return u, fmt.Errorf("--pid: no such process can be read: %w", err)
	}
	// The name in brackets may contain anything; the state follows it (proc(5)).
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	const state, utime, stime, started = 0, 11, 12, 19
	if len(fields) <= started {
		return u, fmt.Errorf("--pid: %s/stat has another form than expected", dir)
	}
	if fields[state] == "Z" || fields[state] == "X" {
		return u, errors.New("--pid: the process has ended")
	}
	user, err1 := strconv.ParseInt(fields[utime], 10, 64)
	system, err2 := strconv.ParseInt(fields[stime], 10, 64)
	start, err3 := strconv.ParseInt(fields[started], 10, 64)
	status, err4 := os.ReadFile(dir + "/statm") //nolint:gosec // see above
	pages := strings.Fields(string(status))
	if err1 != nil || err2 != nil || err3 != nil || err4 != nil || len(pages) < 2 {
		return u, fmt.Errorf("--pid: %s has another form than expected", dir)
	}
	resident, err := strconv.ParseInt(pages[1], 10, 64)
	if err != nil {
		return u, fmt.Errorf("--pid: %s/statm: %w", dir, err)
	}
	u.cpu = time.Duration(user+system) * time.Second / ticksPerSecond
	u.started = time.Duration(start) * time.Second / ticksPerSecond
	u.rss = resident * int64(os.Getpagesize())
	return u, nil
}

// A gauge reads what one process has used, as long as it is there.
type gauge struct {
	pid int // 0: no process is known

	mu   sync.Mutex
	last *usage // nil: never read
	most int64  // memory
	gone bool   // or another process has the id now
}

// look returns nil if there is nothing to read.
func (g *gauge) look() *usage {
	if g.pid == 0 {
		return nil
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	u, err := readUsage(g.pid)
	if g.gone = g.gone || err != nil || g.last != nil && g.last.started != u.started; g.gone {
		return nil
	}
	g.last, g.most = &u, max(g.most, u.rss)
	return &u
}

// known is the last reading, the most memory of all, and whether the process has gone.
func (g *gauge) known() (last *usage, most int64, gone bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.last, g.most, g.gone
}

// cores is how many CPU cores were busy on average between two looks, NaN without them.
func cores(from, to *usage) float64 {
	if from == nil || to == nil {
		return math.NaN()
	}
	elapsed := to.at.Sub(from.at)
	if elapsed <= 0 {
		return math.NaN()
	}
	return float64(to.cpu-from.cpu) / float64(elapsed)
}

// cpuOf is the CPU between two looks for each of n things, in a unit, NaN without them.
func cpuOf(from, to *usage, n uint64, unit time.Duration) float64 {
	if from == nil || to == nil || n == 0 {
		return math.NaN()
	}
	return float64(to.cpu-from.cpu) / float64(unit) / float64(n)
}
