// Package canister holds the relay canister as built by build.mjs: the Wasm module that the embedded network installs
// as "builtin:relay" and that `relay canister wasm` hands out for other networks, and its Candid interface.
//
// The Motoko sources stand in src. `make canister` rebuilds both files; `make test` fails when they are not byte for
// byte what the sources give.
package canister

import _ "embed" // for the two files below

//go:embed relay.wasm
var wasm []byte

//go:embed relay.did
var did string

// Wasm returns the module: wasm32, not compressed. Its installation argument is a Config of the Candid interface.
// The caller must not change the bytes.
func Wasm() []byte { return wasm }

// Interface returns the Candid interface of the relay canister. The module carries the same interface, without the
// comments, in its public metadata section candid:service.
func Interface() string { return did }
