//go:build unix

package bridge

import (
	"errors"
	"syscall"
)

// writeNow writes as much as there is room for.
func writeNow(fd uintptr, p []byte) (int, error) {
	for written := 0; ; {
		n, err := syscall.Write(int(fd), p[written:]) //nolint:gosec // a file descriptor
		written += max(n, 0)
		switch {
		case errors.Is(err, syscall.EINTR):
		case errors.Is(err, syscall.EAGAIN):
			return written, nil
		case err != nil || written == len(p):
			return written, err
		}
	}
}
