// Package canister holds the relay canister as built by build.mjs, in two builds of the same sources, and its Candid
// interface: the one that `relay canister wasm` hands out for other networks, and the one that the embedded network
// installs as "builtin:relay".
//
// The Motoko sources stand in src. `make canister` rebuilds all three files; `make test` fails when they are not byte
// for byte what the sources give.
package canister

import _ "embed" // for the three files below

//go:embed relay64.wasm
var wasm []byte

//go:embed relay.wasm
var wasm32 []byte

//go:embed relay.did
var did string

// Wasm returns the module for deployment, not compressed: what the Motoko compiler emits by default, with a 64-bit
// memory and enhanced orthogonal persistence, so that an upgrade keeps the memory instead of copying all state through
// stable memory. An upgrade therefore needs the option wasm_memory_persistence = keep, which the usual tools add by
// themselves. The installation argument is a Config of the Candid interface. The caller must not change the bytes.
func Wasm() []byte { return wasm }

// Wasm32 returns the module for the embedded network, which runs 64-bit memories in some builds only: the same
// sources with a 32-bit memory and classical persistence. A canister cannot be upgraded from one of the two modules to
// the other: the attempt is refused, and nothing is lost. The caller must not change the bytes.
func Wasm32() []byte { return wasm32 }

// Interface returns the Candid interface of the relay canister, which is that of both modules. They carry it, without
// the comments, in their public metadata section candid:service.
func Interface() string { return did }
