//go:build wasm64

package soak

import (
	"github.com/icrelay/icrelay/candid"
	"github.com/icrelay/icrelay/canister"
)

// relayWasm is the build of the relay canister that the soak runs on: the one
// for deployment.
func relayWasm() []byte { return canister.Wasm() }

// upgradeOptions are those of install_code: the memory is kept, as the usual
// tools have it.
func upgradeOptions() any {
	return candid.Fields{"wasm_memory_persistence": candid.Tag{Label: "keep"}}
}
