//go:build !wasm64

package soak

import "github.com/icrelay/icrelay/canister"

// relayWasm is the build of the relay canister that the soak runs on.
func relayWasm() []byte { return canister.Wasm32() }

// upgradeOptions are those of install_code.
func upgradeOptions() any { return nil }
