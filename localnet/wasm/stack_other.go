//go:build wasm64 && cgo && !unix

package wasm

// stackSize is how much of a thread's stack WebAssembly may use.
func stackSize() int { return 512 << 10 }
