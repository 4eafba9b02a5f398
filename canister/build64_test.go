//go:build wasm64

package canister_test

import "github.com/icrelay/icrelay/canister"

// relayWasm is the build that all tests here run on: the one for deployment.
func relayWasm() []byte { return canister.Wasm() }
