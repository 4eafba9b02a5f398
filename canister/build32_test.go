//go:build !wasm64

package canister_test

import "github.com/icrelay/icrelay/canister"

// relayWasm is the build that all tests here run on: without tags the embedded
// network's, with the tag wasm64 the one for deployment.
func relayWasm() []byte { return canister.Wasm32() }
