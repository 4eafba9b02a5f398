//go:build !(wasm64 && cgo)

package wasm

import "context"

// New returns the engine of this build, which is pure Go and runs modules with
// a 32-bit memory.
func New(ctx context.Context, cfg Config) (Engine, error) { return newWazero(ctx, cfg) }
