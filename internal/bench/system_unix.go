//go:build unix

package bench

import (
	"fmt"
	"syscall"
	"time"
)

// otherFiles is how many files the process may need beside its sockets.
const otherFiles = 100

// allowFiles makes room for a run's sockets, or says how somebody else can.
func allowFiles(clients int) error {
	need := uint64(clients + otherFiles) //nolint:gosec // positive
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil || limit.Cur >= need {
		return nil //nolint:nilerr // a limit that cannot be read may be high enough
	}
	raised := syscall.Rlimit{Cur: need, Max: max(limit.Max, need)} // beyond Max only root may go
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &raised); err != nil {
		return fmt.Errorf("--clients: %d clients need %d open files, and this process may have %d: run `ulimit -n %d` before, as root if need be, or use fewer clients; the gateway needs as many", clients, need, limit.Max, need)
	}
	return nil
}

// ownUsage is what this process has used. It needs no /proc.
func ownUsage() *usage {
	u := &usage{at: time.Now()}
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		return nil
	}
	u.cpu = time.Duration(used.Utime.Nano() + used.Stime.Nano())
	return u
}
