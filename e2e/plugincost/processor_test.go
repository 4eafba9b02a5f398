package plugincost

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"sync/atomic"
	"time"
)

// A listener is a log that notes the process which the relay says it has started.
type listener struct {
	slog.Handler
	pid *atomic.Value // string
}

func (l listener) Handle(_ context.Context, r slog.Record) error {
	r.Attrs(func(a slog.Attr) bool {
		if a.Key == "pid" {
			l.pid.Store(a.Value.Resolve().String())
		}
		return true
	})
	return nil
}

func (l listener) Enabled(context.Context, slog.Level) bool { return true }

func (l listener) WithAttrs([]slog.Attr) slog.Handler { return l }

func (l listener) WithGroup(string) slog.Handler { return l }

// processor is the time that this process and another have had of the
// processors, where the system says so (proc(5), "/proc/pid/stat").
func processor(other string) (d time.Duration, known bool) {
	const tick = 10 * time.Millisecond
	for _, pid := range []string{"self", other} {
		stat, err := os.ReadFile("/proc/" + pid + "/stat")
		if err != nil {
			return 0, false
		}
		fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
		if len(fields) < 13 {
			return 0, false
		}
		for _, field := range fields[11:13] { // utime and stime
			var ticks int64
			if _, err := fmt.Sscan(string(field), &ticks); err != nil {
				return 0, false
			}
			d += time.Duration(ticks) * tick
		}
	}
	return d, true
}
