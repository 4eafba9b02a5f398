package execution

import (
	"math/big"

	"github.com/icrelay/icrelay/candid"
)

// settings are a canister's settings but its controllers (interface
// specification, "IC method create_canister"). Only the environment variables
// and the limit of the Wasm memory have an effect here; the others are kept.
type settings struct {
	computeAllocation   *big.Int
	memoryAllocation    *big.Int
	freezingThreshold   *big.Int
	reservedLimit       *big.Int
	minimumCallCycles   *big.Int
	wasmMemoryLimit     *big.Int
	wasmMemoryThreshold *big.Int
	logMemoryLimit      *big.Int // nil: the network's default
	logVisibility       visibility
	snapshotVisibility  visibility
	statusVisibility    visibility
	environment         []envVar
}

// visibility says who besides the controllers may look at something.
type visibility struct {
	public  bool
	viewers []candid.Principal
	listed  bool // viewers is meant
}

func defaultSettings() settings {
	return settings{
		computeAllocation:   new(big.Int),
		memoryAllocation:    new(big.Int),
		freezingThreshold:   big.NewInt(2_592_000),
		reservedLimit:       big.NewInt(5_000_000_000_000),
		minimumCallCycles:   new(big.Int),
		wasmMemoryLimit:     new(big.Int),
		wasmMemoryThreshold: new(big.Int),
	}
}
