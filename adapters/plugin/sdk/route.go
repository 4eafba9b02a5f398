package sdk

import "log/slog"

// A Route is a [[route]] of the relay's configuration that names this adapter.
type Route struct {
	Adapter      string               // name of the adapter in the configuration
	Canister     Principal            // empty for a route to any canister
	Gateway      Principal            // in whose name the relay calls canisters
	Canisters    map[string]Principal // the embedded network's canisters by name; empty elsewhere
	RelayVersion string

	// Base is the relay's own adapter that the route is built on, and BaseName
	// what the configuration calls it: "cdk" or "relay".
	Base     *Base
	BaseName string

	Host *Host        // calls canisters
	Log  *slog.Logger // goes to the relay's log

	settings []byte
}
