package bench

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// usage is what a process has used.
type usage struct {
	at  time.Time
	cpu time.Duration // user and system
	rss int64         // bytes
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
	const utime, stime = 11, 12
	if len(fields) <= stime {
		return u, fmt.Errorf("--pid: %s/stat has another form than expected", dir)
	}
	user, err1 := strconv.ParseInt(fields[utime], 10, 64)
	system, err2 := strconv.ParseInt(fields[stime], 10, 64)
	status, err3 := os.ReadFile(dir + "/statm") //nolint:gosec // see above
	pages := strings.Fields(string(status))
	if err1 != nil || err2 != nil || err3 != nil || len(pages) < 2 {
		return u, fmt.Errorf("--pid: %s has another form than expected", dir)
	}
	resident, err := strconv.ParseInt(pages[1], 10, 64)
	if err != nil {
		return u, fmt.Errorf("--pid: %s/statm: %w", dir, err)
	}
	u.cpu = time.Duration(user+system) * time.Second / ticksPerSecond
	u.rss = resident * int64(os.Getpagesize())
	return u, nil
}

// cores is how many CPU cores were busy on average between two looks.
func cores(from, to usage) float64 {
	if elapsed := to.at.Sub(from.at); elapsed > 0 {
		return float64(to.cpu-from.cpu) / float64(elapsed)
	}
	return 0
}
