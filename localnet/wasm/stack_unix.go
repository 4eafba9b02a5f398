//go:build wasm64 && cgo && unix

package wasm

import "syscall"

// stackSize is how much of a thread's stack WebAssembly may use: half of what
// threads get, and no more than on the Internet Computer (5 MiB). Without a
// limit of the system's, threads get 2 MiB.
func stackSize() int {
	size := uint64(2 << 20)
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_STACK, &limit); err == nil && limit.Cur < 1<<40 {
		size = limit.Cur
	}
	return int(min(max(size/2, 128<<10), 5<<20)) // #nosec G115 -- bounded here
}
