//go:build wasm64 && cgo

package wasm

import (
	"context"
	"errors"
)

// New returns the engine of this build, which runs modules with a 64-bit memory
// on Wasmtime. All others stay with wazero, so that they do here what they do in
// every build.
func New(ctx context.Context, cfg Config) (Engine, error) {
	narrow, err := newWazero(ctx, cfg)
	if err != nil {
		return nil, err
	}
	return &bothEngines{narrow: narrow, wide: newWasmtime(cfg)}, nil
}

type bothEngines struct{ narrow, wide Engine }

// Compile implements Engine.
func (e *bothEngines) Compile(ctx context.Context, binary []byte) (Module, error) {
	m, err := e.narrow.Compile(ctx, binary)
	var is64 *Module64Error
	if errors.As(err, &is64) {
		return e.wide.Compile(ctx, binary)
	}
	return m, err
}

// Close implements Engine.
func (e *bothEngines) Close() error { return errors.Join(e.narrow.Close(), e.wide.Close()) }
