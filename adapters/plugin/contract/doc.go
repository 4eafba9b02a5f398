// Package contract is the code that protoc makes of adapter.proto, the contract
// between the relay and adapters in processes of their own. Authors in Go use
// adapters/plugin/sdk instead. `make proto` makes the code anew, and that of
// examples/plugins/gate with it.
package contract
